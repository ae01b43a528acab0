// JAX's handler: one for all operations, called by XLA's runtime, on the threads of XLA's own pool.

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>

#include "core/run.h"
#include "xla/ffi/api/ffi.h"

namespace deformconv {
namespace {

namespace ffi = xla::ffi;

// The parts of one call. A task that starts late finds it alive, and no part left.
struct Shared {
  Shared(int64_t count, const std::function<void(int64_t)>* given) : total(count), work(given) {}

  void take() {
    for (int64_t i = next++; i < total; i = next++) {
      (*work)(i);
      if (++done == total) {
        std::lock_guard<std::mutex> lock(mutex);
        last.notify_one();
      }
    }
  }
  void wait() {
    std::unique_lock<std::mutex> lock(mutex);
    last.wait(lock, [&] { return done == total; });
  }

  const int64_t total;
  const std::function<void(int64_t)>* const work;  // the caller's: gone once all parts are done
  std::atomic<int64_t> next{0}, done{0};
  std::mutex mutex;
  std::condition_variable last;
};

class Pool : public Parallel {
 public:
  explicit Pool(ffi::ThreadPool pool) : pool_(pool), threads_(std::max<int64_t>(pool.num_threads(), 1)) {}
  int threads() const override { return threads_; }

  // The calling thread is one of the pool's, perhaps, and the others may all be callers like it. So it takes part, and
  // waits for no task to start: only for parts that another thread has already begun.
  void run(int64_t total, const std::function<void(int64_t)>& work) const override {
    const auto shared = std::make_shared<Shared>(total, &work);
    for (int64_t i = 1; i < std::min<int64_t>(threads_, total); ++i) pool_.Schedule([shared] { shared->take(); });
    shared->take();
    if (total) shared->wait();
  }

 private:
  mutable ffi::ThreadPool pool_;
  int64_t threads_;
};

ffi::ErrorOr<Type> TypeOf(ffi::DataType type) {
  switch (type) {
    case ffi::DataType::F32: return Type::kFloat32;
    case ffi::DataType::F64: return Type::kFloat64;
    case ffi::DataType::BF16: return Type::kBFloat16;
    case ffi::DataType::F16: return Type::kFloat16;
    default: return ffi::Unexpected(ffi::Error::InvalidArgument("no kernel computes in this type"));
  }
}

// Which operation it is, and all sizes, come from whoever made the call: shapes are known, and checked, by then.
ffi::Error Handle(ffi::ThreadPool pool, int32_t op, bool weighted, ffi::Span<const int64_t> numbers,
                  ffi::RemainingArgs args, ffi::RemainingRets results) {
  Numbers all = {};
  std::memcpy(&all, numbers.begin(), std::min(numbers.size() * sizeof(int64_t), sizeof(all)));
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  ffi::ErrorOr<Type> type = ffi::Unexpected(ffi::Error::InvalidArgument("there are no tensors"));
  for (size_t i = 0; i < args.size(); ++i) {
    const auto tensor = args.get<ffi::AnyBuffer>(i);
    if (tensor.has_error()) return tensor.error();
    if (i == 0) type = TypeOf(tensor->element_type());
    if (i == 2 && !weighted) inputs.push_back(nullptr);
    inputs.push_back(tensor->untyped_data());
  }
  for (size_t i = 0; i < results.size(); ++i) {
    auto tensor = results.get<ffi::AnyBuffer>(i);
    if (tensor.has_error()) return tensor.error();
    outputs.push_back((*tensor)->untyped_data());
  }
  if (type.has_error()) return type.error();
  inputs.resize(std::max<size_t>(inputs.size(), 3));
  outputs.resize(std::max<size_t>(outputs.size(), 3));
  Run(static_cast<Op>(op), *type, all, inputs.data(), outputs.data(), Pool(pool));
  return ffi::Error::Success();
}

}  // namespace
}  // namespace deformconv

XLA_FFI_DEFINE_HANDLER_SYMBOL(deformconv_handler, deformconv::Handle,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Attr<int32_t>("op")
                                  .Attr<bool>("weighted")
                                  .Attr<xla::ffi::Span<const int64_t>>("numbers")
                                  .RemainingArgs()
                                  .RemainingRets());
