// The weighted sum of what points read, group by group:
//
//     values (b, rows, c) = sum over taps of weights (b, rows, groups, taps) * images (b, h, w, c) at coords (..., 2)
//
// Without weights all are one; with one tap that is plain sampling.

#ifndef DEFORMCONV_AGGREGATE_H_
#define DEFORMCONV_AGGREGATE_H_

#include "parallel.h"
#include "rows.h"

namespace deformconv {

// Points given outright.
template <typename A>
struct Given {
  const Sizes& s;
  const A* coords;  // (batch, rows, groups, taps, 2)
  Buffer<A> origin;

  Given(const Sizes& sizes, const A* given) : s(sizes), coords(given), origin(s.points(), A(0)) {}
  void find(int64_t row, Cells<A>* cells) const {
    cells->find(s, coords + 2 * row * s.points(), 0, origin.data(), 0, origin.data());
  }
};

// What pixel `pixel` of the image has in one channel, `at` being the channel's place in the first pixel; outside: zero.
template <typename T>
[[gnu::always_inline]] inline Sum<T> Single(const T* image, int32_t pixel, int32_t stride, int32_t at) {
  const Sum<T> value = Load(image[(pixel < 0 ? 0 : pixel) * stride + at]);
  return pixel < 0 ? Sum<T>(0) : value;
}

// A row of groups that have a single channel each. Their points are read side by side: one at a time, finding a point
// would cost far more than its four numbers.
template <typename T, typename A>
void ReadSingles(const Sizes& s, const Cells<A>& cells, const T* image, A* __restrict to) {
  const int32_t stride = s.channels, taps = s.taps, groups = s.groups;
  const int32_t *__restrict a = cells.pixel[0].data(), *__restrict b = cells.pixel[1].data(),
                *__restrict c = cells.pixel[2].data(), *__restrict d = cells.pixel[3].data();
  const A *__restrict wa = cells.share[0].data(), *__restrict wb = cells.share[1].data(),
          *__restrict wc = cells.share[2].data(), *__restrict wd = cells.share[3].data();
  const auto read = [&](int32_t tap, auto every, auto into) __attribute__((always_inline)) {
#pragma omp simd
    for (int32_t group = 0; group < groups; ++group) {
      const int32_t i = group * every + tap;
      const A value = wa[i] * Single(image, a[i], stride, group) + wb[i] * Single(image, b[i], stride, group) +
                      wc[i] * Single(image, c[i], stride, group) + wd[i] * Single(image, d[i], stride, group);
      to[group] = into ? to[group] + value : value;
    }
  };
  if (taps == 1) return read(0, std::integral_constant<int32_t, 1>(), std::false_type());
  read(0, taps, std::false_type());
  for (int32_t tap = 1; tap < taps; ++tap) read(tap, taps, std::true_type());
}

// Whether each group has a single channel, and places in an image fit the 32 bits that are gathered by.
inline bool HasSingles(const Sizes& s) {
  return s.share() == 1 && s.pixels() > 0 && s.pixels() * s.channels < (int64_t{1} << 31);
}

template <typename T>
void Aggregate(const Parallel& parallel, const Sizes& s, const T* images, const Sum<T>* coords, const T* weights,
               T* values) {
  using A = Sum<T>;
  const Given<A> points(s, coords);
  const Buffer<T> zeros(s.share(), T{});
  const Blocks blocks(s.batch * s.rows, s.taps * (s.channels + 16) * sizeof(T));
  const bool singles = HasSingles(s);
  parallel.run(blocks.count(), [&](int64_t block) {
    Cells<A> cells(s.points());
    Buffer<A> sums(s.channels);
    for (int64_t row = blocks.start(block); row < blocks.end(block); ++row) {
      const T* image = images + row / s.rows * s.pixels() * s.channels;
      const T* of_row = weights ? weights + row * s.points() : nullptr;
      T* to = values + row * s.channels;
      A* into = sums.data();
      if constexpr (!kIsHalf<T>) into = to;
      points.find(row, &cells);
      cells.weigh(s.points(), of_row);
      if (singles) {
        ReadSingles(s, cells, image, into);
      } else {
        for (int64_t group = 0; group < s.groups; ++group) {
          ReadSum<false, T, A>(cells, group * s.taps, s.taps, image + group * s.share(), s.channels, zeros.data(), s.share(),
                        nullptr, 0, into + group * s.share());
        }
      }
      if constexpr (kIsHalf<T>) {
        for (int64_t i = 0; i < s.channels; ++i) Store(sums[i], to + i);
      }
    }
  });
}

// The way back for a row of groups with a single channel each; those of the part.
template <typename T, typename A>
void BackwardSingles(const Sizes& s, const Cells<A>& cells, const Part& part, const T* image, const T* weights,
                     const A* __restrict upstream, A* __restrict image_grad, int64_t image_grad_stride,
                     A* __restrict coords_grad, A* __restrict weights_grad) {
  const int32_t stride = s.channels, taps = s.taps, begin = part.begin, count = part.count, to = image_grad_stride;
  const int32_t *__restrict a = cells.pixel[0].data(), *__restrict b = cells.pixel[1].data(),
                *__restrict c = cells.pixel[2].data(), *__restrict d = cells.pixel[3].data(),
                *__restrict states = cells.state.data();
  const A *__restrict from_y = cells.fy.data(), *__restrict from_x = cells.fx.data();
  const auto back = [&](int32_t tap, const auto& weight) __attribute__((always_inline)) {
#pragma omp simd
    for (int32_t j = 0; j < count; ++j) {
      const int32_t at = begin + j, i = at * taps + tap;
      const A pa = Single(image, a[i], stride, at), pb = Single(image, b[i], stride, at),
              pc = Single(image, c[i], stride, at), pd = Single(image, d[i], stride, at);
      const A fy = from_y[i], fx = from_x[i], gy = 1 - fy, gx = 1 - fx;
      const bool inside = states[i] == kInside;
      const A up = inside ? weight(i) * upstream[j] : A(0);
      coords_grad[2 * i] += up * (gx * (pc - pa) + fx * (pd - pb));
      coords_grad[2 * i + 1] += up * (gy * (pb - pa) + fy * (pd - pc));
    }
    if (weights_grad) {
#pragma omp simd
      for (int32_t j = 0; j < count; ++j) {
        const int32_t at = begin + j, i = at * taps + tap;
        const A pa = Single(image, a[i], stride, at), pb = Single(image, b[i], stride, at),
                pc = Single(image, c[i], stride, at), pd = Single(image, d[i], stride, at);
        const A fy = from_y[i], fx = from_x[i], gy = 1 - fy, gx = 1 - fx;
        const A value = upstream[j] * (gy * (gx * pa + fx * pb) + fy * (gx * pc + fx * pd));
        weights_grad[i] += states[i] == kNaN ? std::numeric_limits<A>::quiet_NaN() : value;
      }
    }
  };
  for (int32_t tap = 0; tap < taps; ++tap) {
    if (weights) back(tap, [=](int32_t i) { return A(Load(weights[i])); });
    else back(tap, [](int32_t) { return A(1); });
    // Each group adds to a channel of its own: no two of them meet.
    for (int k = 0; k < 4; ++k) {
      const int32_t* __restrict pixel = cells.pixel[k].data();
      const A* __restrict share = cells.share[k].data();
#pragma omp simd
      for (int32_t j = 0; j < count; ++j) {
        const int32_t i = (begin + j) * taps + tap;
        if (pixel[i] >= 0) image_grad[pixel[i] * to + j] += share[i] * upstream[j];
      }
    }
  }
}

template <typename T>
void AggregateGrad(const Parallel& parallel, const Sizes& s, const T* images, const Sum<T>* coords, const T* weights,
                   const T* upstream, T* images_grad, Sum<T>* coords_grad, T* weights_grad) {
  using A = Sum<T>;
  const Given<A> points(s, coords);
  const Buffer<T> zeros(s.channels, T{});
  const std::vector<Part> parts = Parts(s, parallel.threads());
  PointsGrad<T> sums(s, parts.size(), coords_grad, weights ? weights_grad : nullptr);
  const bool singles = HasSingles(s);
  parallel.run(parts.size(), [&](int64_t number) {
    const Part& part = parts[number];
    ImageGrad<T> image_grad(s, part, images_grad);
    A *by_coords = sums.coords(number % sums.copies()), *by_weights = sums.weights(number % sums.copies());
    const Planes planes(s, 1, part.begin, part.count, 1);
    Cells<A> cells(s.points());
    Buffer<A> up(part.count), sink(4 * part.count);
    for (int64_t row = part.image * s.rows; row < (part.image + 1) * s.rows; ++row) {
      for (int64_t i = 0; i < part.count; ++i) up[i] = Load(upstream[row * s.channels + part.begin + i]);
      if (singles) {
        const int64_t first = row * s.points();
        points.find(row, &cells);
        cells.weigh(s.points(), weights ? weights + first : nullptr);
        BackwardSingles(s, cells, part, images + part.image * s.pixels() * s.channels,
                        weights ? weights + first : nullptr, up.data(), image_grad.data(), image_grad.stride(),
                        by_coords + 2 * first, by_weights ? by_weights + first : nullptr);
        continue;
      }
      const auto upstream_of = [&](const Piece& piece, int64_t, int64_t) { return up.data() + piece.place; };
      BackwardRows<T>(s, points, part, planes.pieces, images, weights, zeros.data(), row, row + 1, upstream_of,
                      &image_grad, &cells, by_coords, by_weights, sink.data());
    }
    image_grad.finish();
  });
  sums.finish();
}

}  // namespace deformconv

#endif  // DEFORMCONV_AGGREGATE_H_
