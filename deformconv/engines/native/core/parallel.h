// How work is shared out among the threads of whoever calls: an engine's own pool.

#ifndef DEFORMCONV_PARALLEL_H_
#define DEFORMCONV_PARALLEL_H_

#include <cstdint>
#include <functional>

namespace deformconv {

class Parallel {
 public:
  virtual ~Parallel() = default;
  virtual int threads() const = 0;
  // Calls work(i) once for every i below `total`, on all threads, and returns when all are done.
  virtual void run(int64_t total, const std::function<void(int64_t)>& work) const = 0;
};

}  // namespace deformconv

#endif  // DEFORMCONV_PARALLEL_H_
