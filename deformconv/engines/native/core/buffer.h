// Memory that starts where a cache line does: a vector that straddles two of them takes twice as long to load.

#ifndef DEFORMCONV_BUFFER_H_
#define DEFORMCONV_BUFFER_H_

#include <cstddef>
#include <new>
#include <vector>

namespace deformconv {

template <typename T>
struct CacheLines {
  using value_type = T;
  static constexpr std::align_val_t kLine{64};
  CacheLines() = default;
  template <typename U>
  CacheLines(const CacheLines<U>&) {}
  T* allocate(size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), kLine)); }
  void deallocate(T* memory, size_t) { ::operator delete(memory, kLine); }
  bool operator==(const CacheLines&) const { return true; }
  bool operator!=(const CacheLines&) const { return false; }
};
template <typename T>
using Buffer = std::vector<T, CacheLines<T>>;

}  // namespace deformconv

#endif  // DEFORMCONV_BUFFER_H_
