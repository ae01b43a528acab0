// The derivatives of the convolution: by images, offsets and weights in one pass, by the kernel in another.

#ifndef DEFORMCONV_CONVOLVE_GRAD_H_
#define DEFORMCONV_CONVOLVE_GRAD_H_

#include "convolution.h"

namespace deformconv {

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
    static thread_local Buffer<A> at_taps, above;  // the upstream gradient there, and as it comes, in the type of sums
    at_taps.resize(planes.size());
    for (int64_t block = 0; block < share.blocks.count(); ++block) {
      const int64_t start = part.image * s.rows + share.blocks.start(block);
      const int64_t rows = share.blocks.end(block) - share.blocks.start(block);
      const A* up = InSums(upstream + start * filters, rows * filters, &above) + part.begin / conv.seen() * made;
      if (conv.depthwise()) {
        for (int64_t row = 0; row < rows; ++row) {
          A* to = at_taps.data() + row * planes.depth();
          for (int64_t tap = 0; tap < s.taps; ++tap, to += planes.width) {
            WeighBack(up + row * filters, share.kernel.data() + tap * planes.width * made, planes.width, made, to);
          }
        }
      } else {
        for (int64_t plane = 0; plane < planes.count; ++plane) {
          Multiply<Left::kAsIs, Into::kNew>(up + plane * made, filters,
                                            share.kernel.data() + plane * made * planes.depth(), planes.depth(),
                                            at_taps.data() + planes.plane(plane), planes.depth(), rows, made,
                                            planes.depth());
        }
      }
      const auto upstream_of = [&](const Piece& piece, int64_t row, int64_t tap) {
        return at_taps.data() + planes.at(piece, row, tap);
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

#endif  // DEFORMCONV_CONVOLVE_GRAD_H_
