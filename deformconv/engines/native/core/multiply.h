// A matrix product for operands that are in the cache already: no packing, sums held in registers.
//
// A library would first copy both operands into an order of its own. Here the left one was made a moment ago, for
// this product alone, and a few rows of it are needed at a time; copying it would cost as much as making it.

#ifndef DEFORMCONV_MULTIPLY_H_
#define DEFORMCONV_MULTIPLY_H_

#include <algorithm>
#include <cstdint>

#include "types.h"

namespace deformconv {

// A tile of sums fills three quarters of x86's vector registers; what is left holds the operands.
#if defined(__AVX512F__)
constexpr int kTileBytes = 4 * 64;
#elif defined(__AVX__)
constexpr int kTileBytes = 2 * 32;
#else
constexpr int kTileBytes = 2 * 16;
#endif
constexpr int kTileRows = 6;
constexpr int64_t kCacheBytes = 1 << 20;  // half of a large L2 cache
constexpr int64_t kPieceDepth = 384;

enum class Left { kAsIs, kTransposed };

// c (ROWS, COLUMNS) = a (ROWS, depth) * b (depth, COLUMNS); `*_row` is the distance from one row to the next.
// A transposed `a` lies in memory as (depth, ROWS). Into::kSum adds to what is in c.
template <Left LEFT, Into INTO, int ROWS, int COLUMNS, typename T>
void MultiplyTile(const T* a, int64_t a_row, const T* b, int64_t b_row, int64_t depth, T* c, int64_t c_row) {
  T sum[ROWS][COLUMNS] = {};
  for (int64_t k = 0; k < depth; ++k) {
    for (int i = 0; i < ROWS; ++i) {
      const T factor = LEFT == Left::kAsIs ? a[i * a_row + k] : a[k * a_row + i];
#pragma omp simd
      for (int j = 0; j < COLUMNS; ++j) sum[i][j] += factor * b[k * b_row + j];
    }
  }
  for (int i = 0; i < ROWS; ++i) {
#pragma omp simd
    for (int j = 0; j < COLUMNS; ++j) c[i * c_row + j] = INTO == Into::kSum ? c[i * c_row + j] + sum[i][j] : sum[i][j];
  }
}

// The same for all rows and a tile's columns.
template <Left LEFT, Into INTO, int COLUMNS, typename T>
void MultiplyColumns(const T* a, int64_t a_row, const T* b, int64_t b_row, int64_t depth, T* c, int64_t c_row,
                     int64_t rows) {
  const int64_t next = LEFT == Left::kAsIs ? a_row : 1;
  int64_t i = 0;
  for (; i + kTileRows <= rows; i += kTileRows) {
    MultiplyTile<LEFT, INTO, kTileRows, COLUMNS>(a + i * next, a_row, b, b_row, depth, c + i * c_row, c_row);
  }
  for (; i < rows; ++i) MultiplyTile<LEFT, INTO, 1, COLUMNS>(a + i * next, a_row, b, b_row, depth, c + i * c_row, c_row);
}

// The same for all columns.
template <Left LEFT, Into INTO, typename T>
void MultiplyPiece(const T* a, int64_t a_row, const T* b, int64_t b_row, T* c, int64_t c_row, int64_t rows,
                   int64_t depth, int64_t columns) {
  constexpr int kWide = kTileBytes / sizeof(T), kNarrow = kWide / 4;
  int64_t j = 0;
  for (; j + kWide <= columns; j += kWide) {
    MultiplyColumns<LEFT, INTO, kWide>(a, a_row, b + j, b_row, depth, c + j, c_row, rows);
  }
  for (; j + kNarrow <= columns; j += kNarrow) {
    MultiplyColumns<LEFT, INTO, kNarrow>(a, a_row, b + j, b_row, depth, c + j, c_row, rows);
  }
  for (; j < columns; ++j) MultiplyColumns<LEFT, INTO, 1>(a, a_row, b + j, b_row, depth, c + j, c_row, rows);
}

// c (rows, columns) = a (rows, depth) * b (depth, columns). A `b` that is too large for the cache is taken in pieces.
template <Left LEFT, Into INTO, typename T>
void Multiply(const T* a, int64_t a_row, const T* b, int64_t b_row, T* c, int64_t c_row, int64_t rows, int64_t depth,
              int64_t columns) {
  const bool fits = depth * b_row * static_cast<int64_t>(sizeof(T)) <= kCacheBytes;
  const int64_t piece = fits ? depth : kPieceDepth, next = LEFT == Left::kAsIs ? 1 : a_row;
  MultiplyPiece<LEFT, INTO>(a, a_row, b, b_row, c, c_row, rows, std::min(depth, piece), columns);
  for (int64_t k = piece; k < depth; k += piece) {
    const int64_t count = std::min(depth - k, piece);
    MultiplyPiece<LEFT, Into::kSum>(a + k * next, a_row, b + k * b_row, b_row, c, c_row, rows, count, columns);
  }
}

}  // namespace deformconv

#endif  // DEFORMCONV_MULTIPLY_H_
