// A plain C function: no framework's header. PyTorch calls it through ctypes, on the threads of PyTorch's OpenMP pool;
// without OpenMP, on threads started for the call.

#include <atomic>
#include <thread>

#include "core/run.h"

namespace {

class Threads : public deformconv::Parallel {
 public:
  explicit Threads(int count) : count_(count) {}
  int threads() const override { return count_; }
  void run(int64_t total, const std::function<void(int64_t)>& work) const override {
#if defined(_OPENMP)
#pragma omp parallel for schedule(dynamic, 1) num_threads(count_) if (total > 1)
    for (int64_t i = 0; i < total; ++i) work(i);
#else
    std::atomic<int64_t> next{0};
    const auto take = [&] {
      for (int64_t i = next++; i < total; i = next++) work(i);
    };
    std::vector<std::thread> others;
    for (int64_t i = 1; i < std::min<int64_t>(count_, total); ++i) others.emplace_back(take);
    take();
    for (auto& other : others) other.join();
#endif
  }

 private:
  int count_;
};

}  // namespace

extern "C" void deformconv_run(int32_t op, int32_t type, const int64_t* numbers, const void* const* inputs,
                               void* const* outputs, int32_t threads) {
  deformconv::Numbers all = {};
  const bool aggregate = op <= static_cast<int32_t>(deformconv::Op::kAggregateGrad);
  std::memcpy(&all, numbers, sizeof(int64_t) * (aggregate ? deformconv::kAggregateNumbers : deformconv::kConvolveNumbers));
  deformconv::Run(static_cast<deformconv::Op>(op), static_cast<deformconv::Type>(type), all, inputs, outputs,
                  Threads(threads));
}
