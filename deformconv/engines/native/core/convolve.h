// The convolution and its derivatives, without a column buffer.
//
// images (b, h, w, c), offsets (b, h', w', offset groups * taps * 2), weights (b, h', w', offset groups * taps) or null,
// kernel (taps * c / groups, filters), outputs (b, h', w', filters).
//
// What every tap reads is made for a few output pixels at a time, in a buffer that stays in the cache, and
// multiplied by the kernel from there. The whole buffer, nine times the images for a 3 x 3 kernel, never exists.

#ifndef DEFORMCONV_CONVOLVE_H_
#define DEFORMCONV_CONVOLVE_H_

#include "multiply_bfloat16.h"
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
    return Blocks(rows, s.taps * channels * size, s.taps * seen() * filters * size * channels / s.channels);
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

// The upstream gradient at one tap: to (channels) = sum over its filters of upstream * kernel, both (channels, made).
template <typename A>
void WeighBack(const A* upstream, const A* kernel, int64_t channels, int64_t made, A* __restrict to) {
  for (int64_t part = 0; part < made; ++part) {
#pragma omp simd
    for (int64_t i = 0; i < channels; ++i) {
      const A product = upstream[i * made + part] * kernel[i * made + part];
      to[i] = part ? to[i] + product : product;
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

#if defined(__AVX512BF16__)
// The convolution in bfloat16 throughout: what the taps read is rounded, as a column buffer of that type would hold it.
inline void ConvolvePairs(const Parallel& parallel, const Convolution<BFloat16>& conv, BFloat16* outputs) {
  const Sizes& s = conv.s;
  const Grid<float> grid(s, conv.geometry, conv.offsets);
  const Buffer<BFloat16> zeros(s.share(), BFloat16{});
  const Blocks blocks = conv.blocks(conv.all_rows(), s.channels);
  const Planes planes(s, blocks.size, 0, s.channels, conv.groups);
  const int64_t filters = conv.filters, made = conv.made();
  std::vector<Buffer<uint32_t>> kernels;
  for (int64_t group = 0; group < conv.groups; ++group) {
    kernels.push_back(Pairs(conv.kernel + group * made, filters, planes.depth(), made));
  }
  parallel.run(blocks.count(), [&](int64_t block) {
    static thread_local Buffer<BFloat16> values;
    static thread_local Buffer<float> sums;
    const int64_t start = blocks.start(block), rows = blocks.end(block) - start;
    values.resize(planes.size());
    sums.resize(rows * filters);
    Cells<float> cells(s.points());
    ReadRows(s, grid, planes, conv.images, conv.weights, zeros.data(), start, start + rows, &cells, values.data());
    for (int64_t group = 0; group < conv.groups; ++group) {
      MultiplyPairs(values.data() + planes.plane(group), planes.depth(), kernels[group].data(),
                    sums.data() + group * made, filters, rows, planes.depth(), made);
    }
    for (int64_t i = 0; i < rows * filters; i += kPairColumns) {
      StoreVector(LoadVector(sums.data() + i), outputs + start * filters + i);
    }
  });
}
#endif

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

// The kernel of a part, transposed, so that the upstream gradient times it is the gradient at the taps: for each plane
// (made, taps, width). Of a depthwise convolution as it is, the part's channels alone: (taps, width, made).
template <typename T>
Buffer<Sum<T>> Transposed(const Convolution<T>& conv, const Kernel<T>& kernel, const Part& part, const Planes& planes) {
  const int64_t made = conv.made(), depth = planes.depth(), seen = conv.seen();
  Buffer<Sum<T>> transposed(planes.count * depth * made);
  for (int64_t plane = 0; plane < planes.count; ++plane) {
    for (int64_t j = 0; j < depth; ++j) {
      const int64_t tap = j / planes.width, channel = part.begin + plane * planes.width + j % planes.width;
      const Sum<T>* row = kernel.data() + (tap * seen + channel % seen) * conv.filters + channel / seen * made;
      for (int64_t i = 0; i < made; ++i) {
        transposed[conv.depthwise() ? j * made + i : (plane * made + i) * depth + j] = row[i];
      }
    }
  }
  return transposed;
}

template <typename T>
void ConvolvePointsGrad(const Parallel& parallel, const Convolution<T>& conv, const T* upstream, T* images_grad,
                        Sum<T>* offsets_grad, T* weights_grad) {
  using A = Sum<T>;
  const Sizes& s = conv.s;
  const Grid<A> grid(s, conv.geometry, conv.offsets);
  const Kernel<T> kernel(conv);
  const Buffer<T> zeros(s.channels, T{});
  const std::vector<Part> parts = Parts(s, parallel.threads(), conv.groups > 1 ? conv.seen() : 1);
  if (parts.empty()) return;  // no image
  PointsGrad<T> sums(s, parts.size(), offsets_grad, conv.weights ? weights_grad : nullptr);
  const int64_t filters = conv.filters, made = conv.made();
  struct Share {
    Blocks blocks;
    Planes planes;
    Buffer<A> kernel;
  };
  std::vector<Share> shares;  // of the channels
  for (int64_t i = 0; i < sums.copies(); ++i) {
    const Blocks blocks = conv.blocks(s.rows, parts[i].count);
    const Planes planes(s, blocks.size, parts[i].begin, parts[i].count,
                        conv.depthwise() || conv.groups == 1 ? 1 : parts[i].count / conv.seen());
    shares.push_back({blocks, planes, Transposed(conv, kernel, parts[i], planes)});
  }
  parallel.run(parts.size(), [&](int64_t number) {
    const Part& part = parts[number];
    const Share& share = shares[number % sums.copies()];
    const Planes& planes = share.planes;
    ImageGrad<T> image_grad(s, part, images_grad);
    Cells<A> cells(s.points());
    Buffer<A> sink(4 * part.count);
    static thread_local Buffer<A> seen, above;  // the upstream gradient at the taps
    seen.resize(planes.size());
    for (int64_t block = 0; block < share.blocks.count(); ++block) {
      const int64_t start = part.image * s.rows + share.blocks.start(block);
      const int64_t rows = share.blocks.end(block) - share.blocks.start(block);
      const A* up = InSums(upstream + start * filters, rows * filters, &above) + part.begin / conv.seen() * made;
      if (conv.depthwise()) {
        for (int64_t row = 0; row < rows; ++row) {
          A* to = seen.data() + row * planes.depth();
          for (int64_t tap = 0; tap < s.taps; ++tap, to += planes.width) {
            WeighBack(up + row * filters, share.kernel.data() + tap * planes.width * made, planes.width, made, to);
          }
        }
      } else {
        for (int64_t plane = 0; plane < planes.count; ++plane) {
          Multiply<Left::kAsIs, Into::kNew>(up + plane * made, filters,
                                            share.kernel.data() + plane * made * planes.depth(), planes.depth(),
                                            seen.data() + planes.plane(plane), planes.depth(), rows, made,
                                            planes.depth());
        }
      }
      const auto upstream_of = [&](const Piece& piece, int64_t row, int64_t tap) {
        return seen.data() + planes.at(piece, row, tap);
      };
      BackwardRows<T>(s, grid, part, planes.pieces, conv.images, conv.weights, zeros.data(), start, start + rows,
                      upstream_of, &image_grad, &cells, sums.coords(number % sums.copies()),
                      sums.weights(number % sums.copies()), sink.data());
    }
    image_grad.finish();
  });
  sums.finish();
}

template <typename T>
void ConvolveKernelGrad(const Parallel& parallel, const Convolution<T>& conv, const T* upstream, T* kernel_grad) {
  using A = Sum<T>;
  const Sizes& s = conv.s;
  const int64_t filters = conv.filters, made = conv.made(), size = s.taps * conv.seen() * filters;
  const Grid<A> grid(s, conv.geometry, conv.offsets);
  const Buffer<T> zeros(s.share(), T{});
  const Blocks blocks = conv.blocks(conv.all_rows(), s.channels);
  const Planes planes(s, blocks.size, 0, s.channels, conv.planes());
  const int64_t threads = std::min<int64_t>(parallel.threads(), blocks.count());
  std::vector<Buffer<A>> sums(threads);
  parallel.run(threads, [&](int64_t thread) {
    Buffer<A>& sum = sums[thread];
    sum.assign(size, A(0));
    Buffer<A> values(planes.size()), above;
    Cells<A> cells(s.points());
    for (int64_t block = blocks.count() * thread / threads; block < blocks.count() * (thread + 1) / threads; ++block) {
      const int64_t start = blocks.start(block), rows = blocks.end(block) - start;
      ReadRows(s, grid, planes, conv.images, conv.weights, zeros.data(), start, start + rows, &cells, values.data());
      const A* up = InSums(upstream + start * filters, rows * filters, &above);
      if (conv.depthwise()) {
        for (int64_t row = 0; row < rows; ++row, up += filters) {
          const A* read = values.data() + row * planes.depth();
          for (int64_t tap = 0; tap < s.taps; ++tap) {
            A* to = sum.data() + tap * filters;
            for (int64_t part = 0; part < made; ++part) {
#pragma omp simd
              for (int64_t i = 0; i < s.channels; ++i) {
                to[i * made + part] += read[tap * s.channels + i] * up[i * made + part];
              }
            }
          }
        }
      } else {
        for (int64_t group = 0; group < conv.groups; ++group) {
          Multiply<Left::kTransposed, Into::kSum>(values.data() + planes.plane(group), planes.depth(),
                                                  up + group * made, filters, sum.data() + group * made, filters,
                                                  planes.depth(), rows, made);
        }
      }
    }
  });
  for (int64_t i = 0; i < size; ++i) {
    A total = 0;
    for (const Buffer<A>& one : sums) total += one[i];
    Store(total, kernel_grad + i);
  }
}

}  // namespace deformconv

#endif  // DEFORMCONV_CONVOLVE_H_
