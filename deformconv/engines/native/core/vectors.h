// Vectors of 64 bytes: where a processor's registers are smaller, the compiler takes several.

#ifndef DEFORMCONV_VECTORS_H_
#define DEFORMCONV_VECTORS_H_

#include <cstdint>
#include <cstring>

#include "types.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace deformconv {

template <typename A>
using Vector [[gnu::vector_size(64)]] = A;

template <typename T>
[[gnu::always_inline]] inline Vector<Sum<T>> LoadVector(const T* from) {
  Vector<Sum<T>> vector;
  if constexpr (kIsHalf<T>) {
    typedef uint16_t Halves __attribute__((vector_size(32)));
    typedef uint32_t Wholes __attribute__((vector_size(64)));
    Halves halves;
    std::memcpy(&halves, from, sizeof(halves));
    const Wholes bits = __builtin_convertvector(halves, Wholes);
    Wholes made;
    if constexpr (std::is_same<T, BFloat16>::value) {
      made = bits << 16;
    } else {  // as Load does for one of them
      const Wholes rest = bits & 0x7fff, moved = rest << 13;
      Vector<float> finite;
      std::memcpy(&finite, &moved, sizeof(finite));
      finite *= FromBits((127 + 112) << 23);
      std::memcpy(&made, &finite, sizeof(made));
      made |= (bits & 0x8000) << 16;
      made |= (rest >= 0x7c00) ? Wholes{} + 0x7f800000 : Wholes{};
    }
    std::memcpy(&vector, &made, sizeof(vector));
  } else {
    std::memcpy(&vector, from, sizeof(vector));
  }
  return vector;
}

template <typename A>
inline A Total(Vector<A> vector) {
  A sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < static_cast<int>(64 / sizeof(A)); ++i) sum += vector[i];
  return sum;
}

#if defined(__AVX512BF16__)
// Rounded to bfloat16.
inline void StoreVector(Vector<float> values, BFloat16* to) {
  const __m256bh rounded = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(values));
  std::memcpy(to, &rounded, sizeof(rounded));
}
#endif

}  // namespace deformconv

#endif  // DEFORMCONV_VECTORS_H_
