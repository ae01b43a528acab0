// What is given to a convolution, and where its points lie.
//
// images (b, h, w, c), offsets (b, h', w', offset groups * taps * 2), weights (b, h', w', offset groups * taps) or null,
// kernel (taps * c / groups, filters), outputs (b, h', w', filters).

#ifndef DEFORMCONV_CONVOLUTION_H_
#define DEFORMCONV_CONVOLUTION_H_

#include "parallel.h"
#include "rows.h"

namespace deformconv {

struct Geometry {
  int64_t stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x, kernel_width, out_height, out_width;
};

// Points of a convolution: the taps of the regular grid plus the offsets.
template <typename A>
struct Grid {
  const Sizes& s;
  const Geometry& g;
  const A* offsets;  // (batch, rows, groups, taps, 2)
  Buffer<A> tap_y, tap_x;  // of each point of a row

  Grid(const Sizes& sizes, const Geometry& geometry, const A* given)
      : s(sizes), g(geometry), offsets(given), tap_y(s.points()), tap_x(s.points()) {
    for (int64_t i = 0; i < s.points(); ++i) {
      tap_y[i] = i % s.taps / g.kernel_width * g.dilation_y;
      tap_x[i] = i % s.taps % g.kernel_width * g.dilation_x;
    }
  }
  void find(int64_t row, Cells<A>* cells) const {
    const int64_t pixel = row % s.rows;
    const A row_y = pixel / g.out_width * g.stride_y - g.pad_y, row_x = pixel % g.out_width * g.stride_x - g.pad_x;
    cells->find(s, offsets + 2 * row * s.points(), row_y, tap_y.data(), row_x, tap_x.data());
  }
};

// What is given to a convolution.
template <typename T>
struct Convolution {
  Sizes s;
  Geometry geometry;
  int64_t groups, filters;
  const T* images;
  const Sum<T>* offsets;
  const T *weights, *kernel;

  int64_t seen() const { return s.channels / groups; }      // channels of one filter
  int64_t made() const { return filters / groups; }         // filters of one group
  int64_t all_rows() const { return s.batch * s.rows; }
  // One channel each: there is nothing to multiply, only to weigh and to add.
  bool depthwise() const { return seen() == 1 && groups > 1; }
  int64_t planes() const { return depthwise() ? 1 : groups; }
  Blocks blocks(int64_t rows, int64_t channels) const {
    const int64_t size = sizeof(Sum<T>);
    return Blocks(rows, s.taps * channels * size, s.taps * seen() * filters * size * channels / std::max<int64_t>(1, s.channels));
  }
};

// The kernel as sums are made with it.
template <typename T>
class Kernel {
 public:
  explicit Kernel(const Convolution<T>& conv) {
    if constexpr (kIsHalf<T>) {
      copy_.resize(conv.s.taps * conv.seen() * conv.filters);
      for (size_t i = 0; i < copy_.size(); ++i) copy_[i] = Load(conv.kernel[i]);
      data_ = copy_.data();
    } else {
      data_ = conv.kernel;
    }
  }
  const Sum<T>* data() const { return data_; }

 private:
  const Sum<T>* data_;
  Buffer<Sum<T>> copy_;
};

// Rows of a tensor (rows, columns) in the type of sums: themselves, or a copy in `buffer`.
template <typename T>
const Sum<T>* InSums(const T* from, int64_t count, Buffer<Sum<T>>* buffer) {
  if constexpr (kIsHalf<T>) {
    buffer->resize(count);
    for (int64_t i = 0; i < count; ++i) (*buffer)[i] = Load(from[i]);
    return buffer->data();
  } else {
    return from;
  }
}

}  // namespace deformconv

#endif  // DEFORMCONV_CONVOLUTION_H_
