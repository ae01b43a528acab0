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

namespace deformconv {

// The sizes of one call.
struct Sizes {
  int64_t batch, height, width, channels;  // of the images
  int64_t rows, groups, taps;              // of the points of one image
  int64_t share() const { return channels / groups; }
  int64_t pixels() const { return height * width; }
  int64_t points() const { return groups * taps; }  // of one row
};

// Where each point of a row lies. Their cells are found for all points of the row at once: a processor does this for
// as many of them as its vectors have places.
template <typename A>
struct Cells {
  enum State : int32_t { kInside, kOutside, kNaN };
  Buffer<int32_t> state;
  Buffer<int32_t> pixel[4];  // top left, top right, bottom left, bottom right; -1 outside
  Buffer<A> fy, fx;          // the point's place between them

  explicit Cells(int64_t points) : state(points), fy(points), fx(points) {
    for (auto& one : pixel) one.resize(points);
  }

  // `place(i, &y, &x)` says where point `i` lies.
  template <typename Place>
  void find(const Sizes& s, int64_t points, const Place& place) {
    const int32_t height = s.height, width = s.width;
    int32_t *__restrict a = pixel[0].data(), *__restrict b = pixel[1].data(), *__restrict c = pixel[2].data(),
            *__restrict d = pixel[3].data(), *__restrict states = state.data();
    A *__restrict to_fy = fy.data(), *__restrict to_fx = fx.data();
#pragma omp simd
    for (int64_t i = 0; i < points; ++i) {
      A y, x;
      place(i, &y, &x);
      // At -1 the value is zero, but its right-hand derivative is not.
      const bool in = (y >= -1) & (y < height) & (x >= -1) & (x < width), nan = (y != y) | (x != x);
      const A inside_y = in ? y : A(0), inside_x = in ? x : A(0);
      const A floor_y = std::floor(inside_y), floor_x = std::floor(inside_x);
      const int32_t top = static_cast<int32_t>(floor_y), left = static_cast<int32_t>(floor_x);
      const int32_t corner = top * width + left;
      const bool up = in & (top >= 0), down = in & (top + 1 < height), west = left >= 0, east = left + 1 < width;
      a[i] = up & west ? corner : -1;
      b[i] = up & east ? corner + 1 : -1;
      c[i] = down & west ? corner + width : -1;
      d[i] = down & east ? corner + width + 1 : -1;
      to_fy[i] = inside_y - floor_y;
      to_fx[i] = inside_x - floor_x;
      states[i] = in ? kInside : nan ? kNaN : kOutside;
    }
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

// What each corner of point `i` counts, times `weight`.
template <typename A>
inline void Shares(const Cells<A>& cells, int64_t i, A weight, A (&w)[4]) {
  const A fy = cells.fy[i], fx = cells.fx[i];
  for (int k = 0; k < 4; ++k) w[k] = weight * ((k / 2 ? fy : 1 - fy) * (k % 2 ? fx : 1 - fx));
}

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

// to[0..count) = weight * (the image at point `i`), or added to it. `stride`: from one pixel to the next; `zeros` holds
// `count` zeros.
template <Into INTO, typename T, typename A>
[[gnu::always_inline]] inline void Read(const Cells<A>& cells, int64_t i, const T* image, int64_t stride, const T* zeros,
                                        A weight, int64_t count, A* __restrict to) {
  if (cells.state[i] != Cells<A>::kInside) {
    const bool nan = cells.state[i] == Cells<A>::kNaN;
    if (nan || INTO == Into::kNew) std::fill_n(to, count, nan ? std::numeric_limits<A>::quiet_NaN() : A(0));
    return;
  }
  const Corners<T, A> corners(cells, i, image, stride, zeros);
  A w[4];
  Shares(cells, i, weight, w);
  const T *a = corners.from[0], *b = corners.from[1], *c = corners.from[2], *d = corners.from[3];
  const A wa = w[0], wb = w[1], wc = w[2], wd = w[3];
  Counted(count, [&](auto many) __attribute__((always_inline)) {
#pragma omp simd
    for (int64_t j = 0; j < many; ++j) {
      const A value = wa * Load(a[j]) + wb * Load(b[j]) + wc * Load(c[j]) + wd * Load(d[j]);
      to[j] = INTO == Into::kSum ? to[j] + value : value;
    }
  });
}

// The transpose of Read: image at point `i` += weight * values. What falls outside goes into `sink`, 4 * `count` long.
template <typename A>
[[gnu::always_inline]] inline void Write(const Cells<A>& cells, int64_t i, const A* __restrict values, A weight,
                                         int64_t count, A* image, int64_t stride, A* sink) {
  if (cells.state[i] != Cells<A>::kInside) return;
  A* to[4];
  A w[4];
  for (int k = 0; k < 4; ++k) to[k] = cells.pixel[k][i] < 0 ? sink + k * count : image + cells.pixel[k][i] * stride;
  Shares(cells, i, weight, w);
  A *__restrict a = to[0], *__restrict b = to[1], *__restrict c = to[2], *__restrict d = to[3];
  const A wa = w[0], wb = w[1], wc = w[2], wd = w[3];
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

// As many numbers as a vector has places, read from memory.
template <typename A>
using Vector [[gnu::vector_size(64)]] = A;

template <typename T>
[[gnu::always_inline]] inline Vector<Sum<T>> LoadVector(const T* from) {
  Vector<Sum<T>> vector;
  if constexpr (kIsHalf<T>) {
    alignas(64) float values[16];
#pragma omp simd
    for (int i = 0; i < 16; ++i) values[i] = Load(from[i]);
    std::memcpy(&vector, values, sizeof(vector));
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

// The derivatives of sum(upstream * weight * value) of point `i` by y, x and, unless null, the weight, added to those.
template <typename T, typename A>
[[gnu::always_inline]] inline void Differentiate(const Cells<A>& cells, int64_t i, const T* image, int64_t stride,
                                                 const T* zeros, A weight, const A* upstream, int64_t count, A* by_y,
                                                 A* by_x, A* by_weight) {
  if (cells.state[i] != Cells<A>::kInside) {
    if (cells.state[i] == Cells<A>::kNaN && by_weight) *by_weight = std::numeric_limits<A>::quiet_NaN();
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
