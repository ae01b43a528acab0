// The convolution, without a column buffer.
//
// What every tap reads is made for a few output pixels at a time, in a buffer that stays in the cache, and
// multiplied by the kernel from there. The whole buffer, nine times the images for a 3 x 3 kernel, never exists.

#ifndef DEFORMCONV_CONVOLVE_H_
#define DEFORMCONV_CONVOLVE_H_

#include "convolution.h"
#include "convolve_pairs.h"

namespace deformconv {

// One row of a depthwise convolution: to (channels * made) = sum over taps of values (taps, channels) * kernel
// (taps, channels * made).
template <typename A>
void Weigh(const A* values, const A* kernel, int64_t taps, int64_t channels, int64_t made, A* __restrict to) {
  for (int64_t tap = 0; tap < taps; ++tap, values += channels, kernel += channels * made) {
    for (int64_t part = 0; part < made; ++part) {
#pragma omp simd
      for (int64_t i = 0; i < channels; ++i) {
        const A product = values[i] * kernel[i * made + part];
        to[i * made + part] = tap ? to[i * made + part] + product : product;
      }
    }
  }
}

// Rows of a depthwise convolution that makes one filter of each channel, without a buffer between reading and weighing.
template <typename T, typename A, typename Points>
void DepthwiseRows(const Convolution<T>& conv, const Points& points, const A* kernel, const T* zeros, int64_t start,
                   int64_t end, Cells<A>* cells, A* outputs) {
  const Sizes& s = conv.s;
  for (int64_t row = start; row < end; ++row, outputs += s.channels) {
    points.find(row, cells);
    cells->weigh(s.points(), conv.weights ? conv.weights + row * s.points() : nullptr);
    const T* image = conv.images + row / s.rows * s.pixels() * s.channels;
    for (int64_t group = 0; group < s.groups; ++group) {
      const int64_t begin = group * s.share();
      ReadSum<true>(*cells, group * s.taps, s.taps, image + begin, s.channels, zeros, s.share(), kernel + begin, s.channels,
              outputs + begin);
    }
  }
}

template <typename T>
void Convolve(const Parallel& parallel, const Convolution<T>& conv, T* outputs) {
  using A = Sum<T>;
  const Sizes& s = conv.s;
#if defined(__AVX512BF16__)
  if constexpr (std::is_same<T, BFloat16>::value) {
    const bool pairs = conv.seen() % 2 == 0 && conv.made() % kPairColumns == 0;
    if (pairs) return ConvolvePairs(parallel, conv, outputs);
  }
#endif
  const Grid<A> grid(s, conv.geometry, conv.offsets);
  const Kernel<T> kernel(conv);
  const Buffer<T> zeros(s.share(), T{});
  const Blocks blocks = conv.blocks(conv.all_rows(), s.channels);
  const Planes planes(s, blocks.size, 0, s.channels, conv.planes());
  const int64_t filters = conv.filters, made = conv.made();
  parallel.run(blocks.count(), [&](int64_t block) {
    static thread_local Buffer<A> values, sums;
    Cells<A> cells(s.points());
    const int64_t start = blocks.start(block), rows = blocks.end(block) - start;
    A* to;
    if constexpr (kIsHalf<T>) {
      sums.resize(rows * filters);
      to = sums.data();
    } else {
      to = outputs + start * filters;
    }
    if (conv.depthwise() && made == 1) {
      DepthwiseRows(conv, grid, kernel.data(), zeros.data(), start, start + rows, &cells, to);
    } else {
      values.resize(planes.size());
      ReadRows(s, grid, planes, conv.images, conv.weights, zeros.data(), start, start + rows, &cells, values.data());
      for (int64_t row = 0; conv.depthwise() && row < rows; ++row) {
        Weigh(values.data() + row * planes.depth(), kernel.data(), s.taps, s.channels, made, to + row * filters);
      }
      for (int64_t group = 0; !conv.depthwise() && group < conv.groups; ++group) {
        Multiply<Left::kAsIs, Into::kNew>(values.data() + planes.plane(group), planes.depth(),
                                          kernel.data() + group * made, filters, to + group * made, filters, rows,
                                          planes.depth(), made);
      }
    }
    if constexpr (kIsHalf<T>) {
      for (int64_t i = 0; i < rows * filters; ++i) Store(sums[i], outputs + start * filters + i);
    }
  });
}

}  // namespace deformconv

#endif  // DEFORMCONV_CONVOLVE_H_
