// What tensors hold, and what is computed with: half precision is read and written as it is, and summed in float.

#ifndef DEFORMCONV_TYPES_H_
#define DEFORMCONV_TYPES_H_

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace deformconv {

struct BFloat16 {
  uint16_t bits;
};
struct Half {
  uint16_t bits;
};

template <typename T>
constexpr bool kIsHalf = std::is_same<T, BFloat16>::value || std::is_same<T, Half>::value;

// Whether a result replaces what is there or is added to it.
enum class Into { kNew, kSum };

// The type of sums, coordinates and their derivatives.
template <typename T>
using Sum = typename std::conditional<kIsHalf<T>, float, T>::type;

inline float FromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}
inline uint32_t ToBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

inline float Load(float value) { return value; }
inline double Load(double value) { return value; }
inline float Load(BFloat16 value) { return FromBits(static_cast<uint32_t>(value.bits) << 16); }
inline float Load(Half value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000) << 16, rest = value.bits & 0x7fff;
  // The exponents' biases differ by 112: a product moves them, and makes whole numbers of those below the least.
  const uint32_t finite = ToBits(FromBits(rest << 13) * FromBits((127 + 112) << 23));
  return FromBits(sign | (rest >= 0x7c00 ? finite | 0x7f800000 : finite));
}

// To the nearest, in a tie to the even one.
inline void Store(float value, float* to) { *to = value; }
inline void Store(double value, double* to) { *to = value; }
inline void Store(float value, BFloat16* to) {
  const uint32_t bits = ToBits(value);
  const bool nan = (bits & 0x7fffffff) > 0x7f800000;
  to->bits = static_cast<uint16_t>(nan ? bits >> 16 | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline void Store(float value, Half* to) {
  const uint32_t bits = ToBits(value), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
  const uint32_t normal = (rest + 0xfff + (rest >> 13 & 1) - (112 << 23)) >> 13;
  // Half a unit of 2^-24 is what a sum with 0.5 rounds to.
  const uint32_t small = ToBits(FromBits(rest) + 0.5f) - 0x3f000000;
  const uint32_t large = rest > 0x7f800000 ? 0x7e00 : 0x7c00;  // NaN, infinity
  to->bits = static_cast<uint16_t>(sign | (rest >= 0x477ff000 ? large : rest < 0x38800000 ? small : normal));
}

}  // namespace deformconv

#endif  // DEFORMCONV_TYPES_H_
