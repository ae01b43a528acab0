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
  void find(int64_t row, Cells<A>* cells) const {
    const A* of_row = coords + 2 * row * s.points();
    cells->find(s, s.points(), [=](int64_t i, A* y, A* x) __attribute__((always_inline)) {
      *y = of_row[2 * i];
      *x = of_row[2 * i + 1];
    });
  }
};

// A row of groups that have a single channel each. Their points are read side by side: one at a time, finding a point
// would cost far more than its four numbers.
template <typename T, typename A>
void ReadSingles(const Sizes& s, const Cells<A>& cells, const T* image, const T* weights, A* __restrict to) {
  for (int64_t tap = 0; tap < s.taps; ++tap) {
#pragma omp simd
    for (int64_t group = 0; group < s.groups; ++group) {
      const int64_t i = group * s.taps + tap;
      const A fy = cells.fy[i], fx = cells.fx[i], gy = 1 - fy, gx = 1 - fx;
      A read[4];
      for (int k = 0; k < 4; ++k) {
        const int32_t pixel = cells.pixel[k][i];
        const A value = Load(image[std::max(pixel, 0) * static_cast<int32_t>(s.channels) + group]);
        read[k] = pixel < 0 ? A(0) : value;
      }
      A value = gy * gx * read[0] + gy * fx * read[1] + fy * gx * read[2] + fy * fx * read[3];
      value = cells.state[i] == Cells<A>::kNaN ? std::numeric_limits<A>::quiet_NaN() : value;
      if (weights) value *= A(Load(weights[i]));
      to[group] = tap ? to[group] + value : value;
    }
  }
}

// Whether offsets into one image fit the 32 bits that are gathered by.
inline bool HasSingles(const Sizes& s) {
  return s.share() == 1 && s.pixels() > 0 && s.pixels() * s.channels < (int64_t{1} << 31);
}

template <typename T>
void Aggregate(const Parallel& parallel, const Sizes& s, const T* images, const Sum<T>* coords, const T* weights,
               T* values) {
  using A = Sum<T>;
  const Given<A> points{s, coords};
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
      if (singles) {
        ReadSingles(s, cells, image, of_row, into);
      } else {
        for (int64_t group = 0; group < s.groups; ++group) {
          const T* from = image + group * s.share();
          A* sum = into + group * s.share();
          for (int64_t i = group * s.taps; i < (group + 1) * s.taps; ++i) {
            const A weight = of_row ? A(Load(of_row[i])) : A(1);
            if (i == group * s.taps) Read<Into::kNew>(cells, i, from, s.channels, zeros.data(), weight, s.share(), sum);
            else Read<Into::kSum>(cells, i, from, s.channels, zeros.data(), weight, s.share(), sum);
          }
        }
      }
      if constexpr (kIsHalf<T>) {
        for (int64_t i = 0; i < s.channels; ++i) Store(sums[i], to + i);
      }
    }
  });
}

// The way back for a row of groups with a single channel each, `begin` being the first of them.
template <typename T, typename A>
void BackwardSingles(const Sizes& s, const Cells<A>& cells, const Part& part, const T* image, const T* weights,
                     const A* upstream, A* image_grad, int64_t stride, A* coords_grad, A* weights_grad) {
  for (int64_t tap = 0; tap < s.taps; ++tap) {
    // Each group adds to a channel of its own: no two of them meet.
#pragma omp simd
    for (int64_t j = 0; j < part.count; ++j) {
      const int64_t group = part.begin + j, i = group * s.taps + tap;
      const A fy = cells.fy[i], fx = cells.fx[i], gy = 1 - fy, gx = 1 - fx;
      A read[4];
      for (int k = 0; k < 4; ++k) {
        const int32_t pixel = cells.pixel[k][i];
        const A value = Load(image[std::max(pixel, 0) * static_cast<int32_t>(s.channels) + group]);
        read[k] = pixel < 0 ? A(0) : value;
      }
      const A weight = weights ? A(Load(weights[i])) : A(1), up = upstream[j];
      const A inside = cells.state[i] == Cells<A>::kInside ? weight * up : A(0);
      coords_grad[2 * i] += cells.state[i] == Cells<A>::kInside
                                ? inside * (gx * (read[2] - read[0]) + fx * (read[3] - read[1])) : A(0);
      coords_grad[2 * i + 1] += cells.state[i] == Cells<A>::kInside
                                    ? inside * (gy * (read[1] - read[0]) + fy * (read[3] - read[2])) : A(0);
      if (weights_grad) {
        const A value = up * (gy * (gx * read[0] + fx * read[1]) + fy * (gx * read[2] + fx * read[3]));
        weights_grad[i] += cells.state[i] == Cells<A>::kNaN ? std::numeric_limits<A>::quiet_NaN() : value;
      }
    }
    for (int k = 0; k < 4; ++k) {
#pragma omp simd
      for (int64_t j = 0; j < part.count; ++j) {
        const int64_t i = (part.begin + j) * s.taps + tap;
        const int32_t pixel = cells.pixel[k][i];
        const A weight = weights ? A(Load(weights[i])) : A(1), fy = cells.fy[i], fx = cells.fx[i];
        const A share = weight * upstream[j] * (k / 2 ? fy : 1 - fy) * (k % 2 ? fx : 1 - fx);
        if (pixel >= 0) image_grad[pixel * static_cast<int32_t>(stride) + j] += share;
      }
    }
  }
}

template <typename T>
void AggregateGrad(const Parallel& parallel, const Sizes& s, const T* images, const Sum<T>* coords, const T* weights,
                   const T* upstream, T* images_grad, Sum<T>* coords_grad, T* weights_grad) {
  using A = Sum<T>;
  const Given<A> points{s, coords};
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
