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
#include <type_traits>

#include "buffer.h"
#include "types.h"
#include "vectors.h"

namespace deformconv {

// The sizes of one call.
struct Sizes {
  int64_t batch, height, width, channels;  // of the images
  int64_t rows, groups, taps;              // of the points of one image
  int64_t share() const { return channels / groups; }
  int64_t pixels() const { return height * width; }
  int64_t points() const { return groups * taps; }  // of one row
};

enum State : int32_t { kInside, kOutside, kNaN };

// The cells of points that lie at `coords` (points, 2), seen from (row_y + to_y[i], row_x + to_x[i]): the four pixels
// around each, top left, top right, bottom left, bottom right, or -1 outside the image; and its place between them.
// A loop over plain pointers, so that it is done for as many points at once as a vector has places.
template <typename A>
[[gnu::noinline]] void FindCells(int64_t points, int32_t height, int32_t width, const A* __restrict coords, A row_y,
                                 const A* __restrict to_y, A row_x, const A* __restrict to_x, int32_t* __restrict state,
                                 int32_t* __restrict a, int32_t* __restrict b, int32_t* __restrict c,
                                 int32_t* __restrict d, A* __restrict fy, A* __restrict fx) {
#pragma omp simd
  for (int64_t i = 0; i < points; ++i) {
    const A y = row_y + to_y[i] + coords[2 * i], x = row_x + to_x[i] + coords[2 * i + 1];
    // At -1 the value is zero, but its right-hand derivative is not.
    const bool in = (y >= -1) & (y < height) & (x >= -1) & (x < width), nan = (y != y) | (x != x);
    // Held near the image, so that every number below is one; of those outside none is used.
    const A below = y > -1 ? y : A(-1), after = x > -1 ? x : A(-1);
    const A near_y = below < height ? below : A(height), near_x = after < width ? after : A(width);
    const A floor_y = std::floor(near_y), floor_x = std::floor(near_x);
    const int32_t top = static_cast<int32_t>(floor_y), left = static_cast<int32_t>(floor_x);
    const int32_t corner = top * width + left;
    const bool up = in & (top >= 0), down = in & (top + 1 < height), west = in & (left >= 0), east = in & (left + 1 < width);
    a[i] = up & west ? corner : -1;
    b[i] = up & east ? corner + 1 : -1;
    c[i] = down & west ? corner + width : -1;
    d[i] = down & east ? corner + width + 1 : -1;
    fy[i] = near_y - floor_y;
    fx[i] = near_x - floor_x;
    state[i] = in ? kInside : nan ? kNaN : kOutside;
  }
}

// What each of the four pixels counts, times the points' weights, unless these are null. Those of an undefined point are
// undefined.
template <typename T, typename A>
[[gnu::noinline]] void WeighCells(int64_t points, const T* __restrict weights, const int32_t* __restrict state,
                                  const A* __restrict fy, const A* __restrict fx, A* __restrict a, A* __restrict b,
                                  A* __restrict c, A* __restrict d) {
  const auto weigh = [=](const auto& weight_of) __attribute__((always_inline)) {
#pragma omp simd
    for (int64_t i = 0; i < points; ++i) {
      const A weight = state[i] == kNaN ? std::numeric_limits<A>::quiet_NaN() : weight_of(i), y = fy[i], x = fx[i];
      a[i] = weight * ((1 - y) * (1 - x));
      b[i] = weight * ((1 - y) * x);
      c[i] = weight * (y * (1 - x));
      d[i] = weight * (y * x);
    }
  };
  if (weights) weigh([=](int64_t i) { return A(Load(weights[i])); });
  else weigh([](int64_t) { return A(1); });
}

// Where the points of one row lie.
template <typename A>
struct Cells {
  Buffer<int32_t> state, pixel[4];
  Buffer<A> fy, fx, share[4];

  explicit Cells(int64_t points) : state(points), fy(points), fx(points) {
    for (auto& one : pixel) one.resize(points);
    for (auto& one : share) one.resize(points);
  }
  void find(const Sizes& s, const A* coords, A row_y, const A* to_y, A row_x, const A* to_x) {
    FindCells<A>(s.points(), s.height, s.width, coords, row_y, to_y, row_x, to_x, state.data(), pixel[0].data(),
                 pixel[1].data(), pixel[2].data(), pixel[3].data(), fy.data(), fx.data());
  }
  template <typename T>
  void weigh(int64_t points, const T* weights) {
    WeighCells<T, A>(points, weights, state.data(), fy.data(), fx.data(), share[0].data(), share[1].data(),
                     share[2].data(), share[3].data());
  }
};

// The four pixels of one point, each from the first of the channels that are asked for.
template <typename T, typename A>
struct Corners {
  const T* from[4];
  Corners(const Cells<A>& cells, int64_t i, const T* image, int64_t stride, const T* zeros) {
    for (int k = 0; k < 4; ++k) from[k] = cells.pixel[k][i] < 0 ? zeros : image + cells.pixel[k][i] * stride;
  }
};

// Calls work(count), for usual counts with the number known while the program is compiled.
template <typename Work>
[[gnu::always_inline]] inline void Counted(int64_t count, const Work& work) {
  switch (count) {
    case 8: return work(std::integral_constant<int64_t, 8>());
    case 16: return work(std::integral_constant<int64_t, 16>());
    case 32: return work(std::integral_constant<int64_t, 32>());
    case 64: return work(std::integral_constant<int64_t, 64>());
    default: return work(count);
  }
}

// to[0..count) = the image at point `i`, weighed. `stride`: from one pixel to the next; `zeros` holds
// `count` zeros.
template <typename T, typename A, typename V>
[[gnu::always_inline]] inline void Read(const Cells<A>& cells, int64_t i, const T* image, int64_t stride, const T* zeros,
                                        int64_t count, V* __restrict to) {
  const Corners<T, A> corners(cells, i, image, stride, zeros);
  const T *a = corners.from[0], *b = corners.from[1], *c = corners.from[2], *d = corners.from[3];
  const A wa = cells.share[0][i], wb = cells.share[1][i], wc = cells.share[2][i], wd = cells.share[3][i];
#if defined(__AVX512BF16__)
  if constexpr (std::is_same<V, BFloat16>::value) {
    constexpr int kPlaces = 16;
    int64_t j = 0;
    for (; j + kPlaces <= count; j += kPlaces) {
      StoreVector(wa * LoadVector(a + j) + wb * LoadVector(b + j) + wc * LoadVector(c + j) + wd * LoadVector(d + j), to + j);
    }
    for (; j < count; ++j) Store(wa * Load(a[j]) + wb * Load(b[j]) + wc * Load(c[j]) + wd * Load(d[j]), to + j);
    return;
  }
#endif
  Counted(count, [&](auto many) __attribute__((always_inline)) {
#pragma omp simd
    for (int64_t j = 0; j < many; ++j) {
      Store(wa * Load(a[j]) + wb * Load(b[j]) + wc * Load(c[j]) + wd * Load(d[j]), to + j);
    }
  });
}

// The same as ReadSum, for the channels of so many vectors, whose sums stay in registers.
template <bool KERNEL, int VECTORS, typename T, typename A>
[[gnu::always_inline]] inline void SumVectors(const Cells<A>& cells, int64_t i, int64_t taps, const T* image,
                                              int64_t stride, const T* zeros, const A* kernel, int64_t kernel_row,
                                              A* to) {
  constexpr int kPlaces = 64 / sizeof(A);
  Vector<A> sums[VECTORS] = {};
  for (int64_t tap = i; tap < i + taps; ++tap, kernel += KERNEL ? kernel_row : 0) {
    const Corners<T, A> corners(cells, tap, image, stride, zeros);
    const A wa = cells.share[0][tap], wb = cells.share[1][tap], wc = cells.share[2][tap], wd = cells.share[3][tap];
    for (int v = 0; v < VECTORS; ++v) {
      const auto at = [&](int corner) { return LoadVector(corners.from[corner] + v * kPlaces); };
      const Vector<A> value = wa * at(0) + wb * at(1) + wc * at(2) + wd * at(3);
      if constexpr (KERNEL) sums[v] += LoadVector(kernel + v * kPlaces) * value;
      else sums[v] += value;
    }
  }
  std::memcpy(to, sums, sizeof(sums));
}
// to[0..count) = the sum of what points [i, i + taps) read, weighed; with KERNEL each tap times its row of the kernel,
// whose rows are `kernel_row` apart.
template <bool KERNEL, typename T, typename A>
[[gnu::always_inline]] inline void ReadSum(const Cells<A>& cells, int64_t i, int64_t taps, const T* image, int64_t stride,
                                           const T* zeros, int64_t count, const A* kernel, int64_t kernel_row, A* to) {
  constexpr int kPlaces = 64 / sizeof(A);
  int64_t at = 0;
  const auto next = [&](auto vectors) __attribute__((always_inline)) {
    for (constexpr int kMany = decltype(vectors)::value; at + kMany * kPlaces <= count; at += kMany * kPlaces) {
      SumVectors<KERNEL, kMany>(cells, i, taps, image + at, stride, zeros, KERNEL ? kernel + at : nullptr, kernel_row,
                                to + at);
    }
  };
  next(std::integral_constant<int, 4>());
  next(std::integral_constant<int, 1>());
  if (at == count) return;
  std::fill_n(to + at, count - at, A(0));
  for (int64_t tap = i; tap < i + taps; ++tap, kernel += KERNEL ? kernel_row : 0) {
    const Corners<T, A> corners(cells, tap, image, stride, zeros);
    const T *a = corners.from[0], *b = corners.from[1], *c = corners.from[2], *d = corners.from[3];
    const A wa = cells.share[0][tap], wb = cells.share[1][tap], wc = cells.share[2][tap], wd = cells.share[3][tap];
    for (int64_t j = at; j < count; ++j) {
      const A value = wa * Load(a[j]) + wb * Load(b[j]) + wc * Load(c[j]) + wd * Load(d[j]);
      to[j] += KERNEL ? kernel[j] * value : value;
    }
  }
}

// The transpose of Read: image at point `i` += values, weighed. What falls outside goes into `sink`, 4 * `count` long.
template <typename A>
[[gnu::always_inline]] inline void Write(const Cells<A>& cells, int64_t i, const A* __restrict values, int64_t count,
                                         A* image, int64_t stride, A* sink) {
  if (cells.state[i] != kInside) return;
  A* to[4];
  for (int k = 0; k < 4; ++k) to[k] = cells.pixel[k][i] < 0 ? sink + k * count : image + cells.pixel[k][i] * stride;
  A *__restrict a = to[0], *__restrict b = to[1], *__restrict c = to[2], *__restrict d = to[3];
  const A wa = cells.share[0][i], wb = cells.share[1][i], wc = cells.share[2][i], wd = cells.share[3][i];
  Counted(count, [&](auto many) __attribute__((always_inline)) {
#pragma omp simd
    for (int64_t j = 0; j < many; ++j) {
      a[j] += wa * values[j];
      b[j] += wb * values[j];
      c[j] += wc * values[j];
      d[j] += wd * values[j];
    }
  });
}

// The derivatives of sum(upstream * weight * value) of point `i` by y, x and, unless null, the weight, added to those.
template <typename T, typename A>
[[gnu::always_inline]] inline void Differentiate(const Cells<A>& cells, int64_t i, const T* image, int64_t stride,
                                                 const T* zeros, A weight, const A* upstream, int64_t count, A* by_y,
                                                 A* by_x, A* by_weight) {
  if (cells.state[i] != kInside) {
    if (cells.state[i] == kNaN && by_weight) *by_weight = std::numeric_limits<A>::quiet_NaN();
    return;
  }
  const Corners<T, A> corners(cells, i, image, stride, zeros);
  const T *a = corners.from[0], *b = corners.from[1], *c = corners.from[2], *d = corners.from[3];
  const A fy = cells.fy[i], fx = cells.fx[i], gy = 1 - fy, gx = 1 - fx;
  // The upstream gradient seen through each corner, in as many sums as a vector has places: they are added up once,
  // and only in the combinations that are needed.
  constexpr int kPlaces = 64 / sizeof(A);
  const int64_t whole = count / kPlaces * kPlaces;
  A y = 0, x = 0, value = 0;
  if (whole) {
    Vector<A> sa = {}, sb = {}, sc = {}, sd = {};
    for (int64_t j = 0; j < whole; j += kPlaces) {
      const Vector<A> up = LoadVector(upstream + j);
      sa += up * LoadVector(a + j);
      sb += up * LoadVector(b + j);
      sc += up * LoadVector(c + j);
      sd += up * LoadVector(d + j);
    }
    y = Total<A>(gx * (sc - sa) + fx * (sd - sb));
    x = Total<A>(gy * (sb - sa) + fy * (sd - sc));
    if (by_weight) value = Total<A>(gy * (gx * sa + fx * sb) + fy * (gx * sc + fx * sd));
  }
  for (int64_t j = whole; j < count; ++j) {
    const A up = upstream[j], pa = Load(a[j]), pb = Load(b[j]), pc = Load(c[j]), pd = Load(d[j]);
    y += up * (gx * (pc - pa) + fx * (pd - pb));
    x += up * (gy * (pb - pa) + fy * (pd - pc));
    value += up * (gy * (gx * pa + fx * pb) + fy * (gx * pc + fx * pd));
  }
  *by_y += weight * y;
  *by_x += weight * x;
  if (by_weight) *by_weight += value;
}

}  // namespace deformconv

#endif  // DEFORMCONV_POINTS_H_
