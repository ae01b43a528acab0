// The product of two bfloat16 matrices by instructions that multiply pairs and add up in float, on processors with them.

#ifndef DEFORMCONV_MULTIPLY_PAIRS_H_
#define DEFORMCONV_MULTIPLY_PAIRS_H_

#include "buffer.h"
#include "multiply.h"
#include "types.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>

namespace deformconv {

constexpr int kPairColumns = 16;  // of one vector

// The right side (depth, columns) of a product, `row` from one row to the next, with every two rows interleaved.
inline Buffer<uint32_t> Pairs(const BFloat16* from, int64_t row, int64_t depth, int64_t columns) {
  Buffer<uint32_t> pairs(depth / 2 * columns);
  for (int64_t k = 0; k < depth / 2; ++k) {
    for (int64_t j = 0; j < columns; ++j) {
      pairs[k * columns + j] = from[2 * k * row + j].bits | static_cast<uint32_t>(from[(2 * k + 1) * row + j].bits) << 16;
    }
  }
  return pairs;
}

inline __m512bh AsPairs(__m512i vector) { return reinterpret_cast<__m512bh>(vector); }

template <int ROWS, int VECTORS>
void MultiplyPairsTile(const BFloat16* a, int64_t a_row, const uint32_t* b, int64_t columns, int64_t depth, float* c,
                       int64_t c_row) {
  __m512 sum[ROWS][VECTORS] = {};
  for (int64_t k = 0; k < depth / 2; ++k) {
    __m512i right[VECTORS];
    for (int v = 0; v < VECTORS; ++v) right[v] = _mm512_loadu_si512(b + k * columns + v * kPairColumns);
    for (int i = 0; i < ROWS; ++i) {
      int32_t pair;
      std::memcpy(&pair, a + i * a_row + 2 * k, sizeof(pair));
      const __m512bh left = AsPairs(_mm512_set1_epi32(pair));
      for (int v = 0; v < VECTORS; ++v) sum[i][v] = _mm512_dpbf16_ps(sum[i][v], left, AsPairs(right[v]));
    }
  }
  for (int i = 0; i < ROWS; ++i) {
    for (int v = 0; v < VECTORS; ++v) _mm512_storeu_ps(c + i * c_row + v * kPairColumns, sum[i][v]);
  }
}

template <int VECTORS>
void MultiplyPairsColumns(const BFloat16* a, int64_t a_row, const uint32_t* b, int64_t columns, int64_t depth, float* c,
                          int64_t c_row, int64_t rows) {
  int64_t i = 0;
  for (; i + kTileRows <= rows; i += kTileRows) {
    MultiplyPairsTile<kTileRows, VECTORS>(a + i * a_row, a_row, b, columns, depth, c + i * c_row, c_row);
  }
  for (; i < rows; ++i) MultiplyPairsTile<1, VECTORS>(a + i * a_row, a_row, b, columns, depth, c + i * c_row, c_row);
}

// c (rows, columns) = a (rows, depth) * b; depth is even, and columns fill vectors.
inline void MultiplyPairs(const BFloat16* a, int64_t a_row, const uint32_t* b, float* c, int64_t c_row, int64_t rows,
                          int64_t depth, int64_t columns) {
  int64_t j = 0;
  for (; j + 4 * kPairColumns <= columns; j += 4 * kPairColumns) {
    MultiplyPairsColumns<4>(a, a_row, b + j, columns, depth, c + j, c_row, rows);
  }
  for (; j < columns; j += kPairColumns) {
    MultiplyPairsColumns<1>(a, a_row, b + j, columns, depth, c + j, c_row, rows);
  }
}

}  // namespace deformconv

#endif

#endif  // DEFORMCONV_MULTIPLY_PAIRS_H_
