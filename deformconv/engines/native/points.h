// Points between pixels: where they lie, what they read, and the derivatives of that.
//
// Coordinates are (y, x) in pixels, centres at integers; outside the image is zero; neighbours are floor and floor + 1.
// Points come in rows, one row for each output pixel: (groups, taps) of them. Each group reads its own share of the
// channels. A weight multiplies the value of its point; without weights all are one.

#ifndef DEFORMCONV_POINTS_H_
#define DEFORMCONV_POINTS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace deformconv {

// The sizes of one call.
struct Sizes {
  int64_t batch, height, width, channels;  // of the images
  int64_t rows, groups, taps;              // of the points of one image
  int64_t share() const { return channels / groups; }
  int64_t pixels() const { return height * width; }
  // Where the point is in a tensor (batch, rows, groups, taps); `row` counts through the batch.
  int64_t point(int64_t row, int64_t group, int64_t tap) const { return (row * groups + group) * taps + tap; }
};

// The four pixels around a point and the point's place between them.
template <typename T>
struct Cell {
  bool outside, nan;
  int64_t corner[4];  // top left, top right, bottom left, bottom right: offsets into the image, or -1 outside
  T fy, fx;

  Cell(const Sizes& s, T y, T x) {
    nan = std::isnan(y) || std::isnan(x);
    // At -1 the value is zero, but its right-hand derivative is not.
    outside = !(y >= -1 && y < s.height && x >= -1 && x < s.width);
    if (outside) return;
    const T floor_y = std::floor(y), floor_x = std::floor(x);
    fy = y - floor_y, fx = x - floor_x;
    const int64_t top = static_cast<int64_t>(floor_y), left = static_cast<int64_t>(floor_x);
    for (int i = 0; i < 4; ++i) {
      const int64_t row = top + i / 2, column = left + i % 2;
      const bool inside = row >= 0 && row < s.height && column >= 0 && column < s.width;
      corner[i] = inside ? (row * s.width + column) * s.channels : -1;
    }
  }
  T weight(int i) const { return (i / 2 ? fy : 1 - fy) * (i % 2 ? fx : 1 - fx); }
};

// to[0..count) = weight * (the image at the cell). `zeros` holds `count` zeros.
template <typename T>
[[gnu::always_inline]] inline void Read(const Cell<T>& cell, const T* image, const T* zeros, T weight, int64_t count, T* __restrict to) {
  if (cell.outside) {
    std::fill_n(to, count, cell.nan ? std::numeric_limits<T>::quiet_NaN() : T(0));
    return;
  }
  const T* from[4];
  T w[4];
  for (int i = 0; i < 4; ++i) {
    from[i] = cell.corner[i] < 0 ? zeros : image + cell.corner[i];
    w[i] = weight * cell.weight(i);
  }
  const T *a = from[0], *b = from[1], *c = from[2], *d = from[3];
  const T wa = w[0], wb = w[1], wc = w[2], wd = w[3];
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) to[i] = wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i];
}

// The transpose of Read: image at the cell += weight * values. What falls outside goes into `sink`, 4 * `count` long.
template <typename T>
[[gnu::always_inline]] inline void Write(const Cell<T>& cell, const T* __restrict values, T weight, int64_t count, T* image, T* sink) {
  if (cell.outside) return;
  T* to[4];
  T w[4];
  for (int i = 0; i < 4; ++i) {
    to[i] = cell.corner[i] < 0 ? sink + i * count : image + cell.corner[i];
    w[i] = weight * cell.weight(i);
  }
  T *__restrict a = to[0], *__restrict b = to[1], *__restrict c = to[2], *__restrict d = to[3];
  const T wa = w[0], wb = w[1], wc = w[2], wd = w[3];
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    a[i] += wa * values[i];
    b[i] += wb * values[i];
    c[i] += wc * values[i];
    d[i] += wd * values[i];
  }
}

// The derivatives of sum(upstream * weight * value) by y, x and, unless null, the weight, added to those numbers.
template <typename T>
[[gnu::always_inline]] inline void Differentiate(const Cell<T>& cell, const T* image, const T* zeros, T weight, const T* upstream, int64_t count,
                   T* by_y, T* by_x, T* by_weight) {
  if (cell.outside) {
    if (cell.nan && by_weight) *by_weight = std::numeric_limits<T>::quiet_NaN();
    return;
  }
  const T* from[4];
  for (int i = 0; i < 4; ++i) from[i] = cell.corner[i] < 0 ? zeros : image + cell.corner[i];
  const T *a = from[0], *b = from[1], *c = from[2], *d = from[3];
  const T fy = cell.fy, fx = cell.fx, gy = 1 - fy, gx = 1 - fx;
  // The upstream gradient seen through each corner, in as many sums as a vector has places: they are added up once,
  // and only in the combinations that are needed.
  typedef T Vector __attribute__((vector_size(64)));
  constexpr int kPlaces = 64 / sizeof(T);
  const auto load = [](const T* from) {
    Vector vector;
    std::memcpy(&vector, from, sizeof(Vector));
    return vector;
  };
  Vector sa = {}, sb = {}, sc = {}, sd = {};
  const int64_t whole = count / kPlaces * kPlaces;
  for (int64_t i = 0; i < whole; i += kPlaces) {
    const Vector up = load(upstream + i);
    sa += up * load(a + i);
    sb += up * load(b + i);
    sc += up * load(c + i);
    sd += up * load(d + i);
  }
  const auto total = [](Vector vector) {
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < kPlaces; ++i) sum += vector[i];
    return sum;
  };
  T y = total(gx * (sc - sa) + fx * (sd - sb));
  T x = total(gy * (sb - sa) + fy * (sd - sc));
  T value = by_weight ? total(gy * (gx * sa + fx * sb) + fy * (gx * sc + fx * sd)) : 0;
  for (int64_t i = whole; i < count; ++i) {
    y += upstream[i] * (gx * (c[i] - a[i]) + fx * (d[i] - b[i]));
    x += upstream[i] * (gy * (b[i] - a[i]) + fy * (d[i] - c[i]));
    value += upstream[i] * (gy * (gx * a[i] + fx * b[i]) + fy * (gx * c[i] + fx * d[i]));
  }
  *by_y += weight * y;
  *by_x += weight * x;
  if (by_weight) *by_weight += value;
}

}  // namespace deformconv

#endif  // DEFORMCONV_POINTS_H_
