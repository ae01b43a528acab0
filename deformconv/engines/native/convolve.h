// The convolution and its derivatives, without a column buffer.
//
// images (b, h, w, c), offsets (b, h', w', groups * taps * 2), weights (b, h', w', groups * taps) or (0), kernel
// (taps * c, filters), outputs (b, h', w', filters); geometry: strides, zeros before the image, dilation, all (y, x),
// the kernel's width, and (h', w').
//
// What every tap reads is made for a few output pixels at a time, in a buffer that stays in the cache, and
// multiplied by the kernel from there. The whole buffer, nine times the images for a 3 x 3 kernel, never exists.

#ifndef DEFORMCONV_CONVOLVE_H_
#define DEFORMCONV_CONVOLVE_H_

#include "rows.h"

namespace deformconv {
namespace {

// Points of a convolution: the taps of the regular grid plus the offsets. `row(i)` is the row's own part, made once.
template <typename T>
struct Grid {
  const T* offsets;  // (batch, rows, groups, taps, 2)
  int64_t stride_y, stride_x, pad_y, pad_x, rows, out_width;
  std::vector<T> tap_y, tap_x;

  Grid(const T* given, const Tensor& geometry, const Sizes& s, int64_t width)
      : offsets(given), rows(s.rows), out_width(width), tap_y(s.taps), tap_x(s.taps) {
    const int64_t* g = Data<int64_t>(geometry);
    stride_y = g[0], stride_x = g[1], pad_y = g[2], pad_x = g[3];
    for (int64_t tap = 0; tap < s.taps; ++tap) tap_y[tap] = tap / g[6] * g[4], tap_x[tap] = tap % g[6] * g[5];
  }
  struct Row {
    const Grid& grid;
    T y, x;
    Cell<T> cell(const Sizes& s, int64_t point, int64_t tap) const {
      const T* offset = grid.offsets + 2 * point;
      return Cell<T>(s, y + grid.tap_y[tap] + offset[0], x + grid.tap_x[tap] + offset[1]);
    }
  };
  Row row(int64_t i) const {
    const int64_t pixel = i % rows;
    return {*this, T(pixel / out_width * stride_y - pad_y), T(pixel % out_width * stride_x - pad_x)};
  }
};

REGISTER_OP("DeformConv")
    .Attr("T: {float, double}")
    .Input("images: T")
    .Input("offsets: T")
    .Input("weights: T")
    .Input("kernel: T")
    .Input("geometry: int64")
    .Output("outputs: T")
    .SetShapeFn([](InferenceContext* c) {
      const auto& offsets = c->input(1);
      c->set_output(0, c->MakeShape({c->Dim(offsets, 0), c->Dim(offsets, 1), c->Dim(offsets, 2), c->Dim(c->input(3), 1)}));
      return absl::OkStatus();
    });

REGISTER_OP("DeformConvPointsGrad")
    .Attr("T: {float, double}")
    .Input("images: T")
    .Input("offsets: T")
    .Input("weights: T")
    .Input("kernel: T")
    .Input("geometry: int64")
    .Input("upstream: T")
    .Output("images_grad: T")
    .Output("offsets_grad: T")
    .Output("weights_grad: T")
    .SetShapeFn([](InferenceContext* c) {
      for (int i = 0; i < 3; ++i) c->set_output(i, c->input(i));
      return absl::OkStatus();
    });

REGISTER_OP("DeformConvKernelGrad")
    .Attr("T: {float, double}")
    .Input("images: T")
    .Input("offsets: T")
    .Input("weights: T")
    .Input("kernel: T")
    .Input("geometry: int64")
    .Input("upstream: T")
    .Output("kernel_grad: T")
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->input(3));
      return absl::OkStatus();
    });

// What the three operators have in common: their first five inputs, checked.
template <typename T>
struct Convolution {
  Sizes s;
  int64_t out_height, out_width, filters;
  const T *images, *offsets, *weights, *kernel;
  const Tensor* geometry;
  bool good = false;

  explicit Convolution(OpKernelContext* context) {
    const Tensor &x = context->input(0), &o = context->input(1), &w = context->input(2), &k = context->input(3);
    geometry = &context->input(4);
    const bool shaped = x.dims() == 4 && o.dims() == 4 && k.dims() == 2 && geometry->NumElements() == 9;
    const int64_t taps = shaped && x.dim_size(3) ? k.dim_size(0) / x.dim_size(3) : 0;
    int64_t groups = taps ? o.dim_size(3) / (2 * taps) : 0;
    // oneDNN, which makes the offsets, gives those of an empty batch the wrong shape.
    const bool empty = shaped && x.dim_size(0) == 0;
    if (empty) groups = 1;
    if (!groups || !(empty || (x.dim_size(0) == o.dim_size(0) && taps * x.dim_size(3) == k.dim_size(0) &&
                               groups * taps * 2 == o.dim_size(3) && x.dim_size(3) % groups == 0 &&
                               o.dim_size(1) == Data<int64_t>(*geometry)[7] && o.dim_size(2) == Data<int64_t>(*geometry)[8] &&
                               (w.NumElements() == 0 || w.NumElements() * 2 == o.NumElements())))) {
      context->CtxFailure(absl::InvalidArgumentError(
          absl::StrCat("images ", x.shape().DebugString(), ", offsets ", o.shape().DebugString(), ", weights ",
                       w.shape().DebugString(), " and kernel ", k.shape().DebugString(), " do not fit together")));
      return;
    }
    out_height = Data<int64_t>(*geometry)[7], out_width = Data<int64_t>(*geometry)[8], filters = k.dim_size(1);
    s = {x.dim_size(0), x.dim_size(1), x.dim_size(2), x.dim_size(3), out_height * out_width, groups, taps};
    images = Data<T>(x), offsets = Data<T>(o), weights = Data<T>(w), kernel = Data<T>(k);
    good = true;
  }
  Grid<T> grid() const { return Grid<T>(offsets, *geometry, s, out_width); }
  int64_t depth() const { return s.taps * s.channels; }
  int64_t all_rows() const { return s.batch * s.rows; }
  Blocks blocks(int64_t rows) const { return Blocks(rows, depth() * sizeof(T), depth() * filters * sizeof(T)); }
};

template <typename T>
class DeformConv : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    const Convolution<T> conv(context);
    if (!conv.good) return;
    const Sizes& s = conv.s;
    Tensor* outputs = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, {s.batch, conv.out_height, conv.out_width, conv.filters}, &outputs));
    if (outputs->NumElements() == 0) return;
    const Grid<T> grid = conv.grid();
    const Buffer<T> zeros(s.share(), T(0));
    const Blocks blocks = conv.blocks(conv.all_rows());
    ForEach(context, blocks.count(), [&](int64_t i) {
      static thread_local Buffer<T> values;
      values.resize(blocks.size * conv.depth());
      const int64_t rows = blocks.end(i) - blocks.start(i);
      ReadRows<T>(s, grid, conv.images, conv.weights, zeros.data(), blocks.start(i), blocks.end(i), values.data());
      T* to = Data<T>(outputs) + blocks.start(i) * conv.filters;
      Multiply<Left::kAsIs, Into::kNew>(values.data(), conv.depth(), conv.kernel, conv.filters, to, conv.filters, rows,
                            conv.depth(), conv.filters);
    });
  }
};

template <typename T>
class DeformConvPointsGrad : public OpKernel {
 public:
  using OpKernel::OpKernel;

  static Buffer<T> Transposed(const Convolution<T>& conv, const Part& part) {
    const int64_t depth = conv.s.taps * part.count;
    Buffer<T> kernel(conv.filters * depth);
    for (int64_t j = 0; j < depth; ++j) {
      const int64_t row = j / part.count * conv.s.channels + part.begin + j % part.count;
      for (int64_t i = 0; i < conv.filters; ++i) kernel[i * depth + j] = conv.kernel[row * conv.filters + i];
    }
    return kernel;
  }

  void Compute(OpKernelContext* context) override {
    const Convolution<T> conv(context);
    if (!conv.good) return;
    const Sizes& s = conv.s;
    Tensor* grads[3];
    for (int i = 0; i < 3; ++i) {
      OP_REQUIRES_OK(context, context->allocate_output(i, context->input(i).shape(), &grads[i]));
      if (i) Clear<T>(grads[i]);
    }
    const std::vector<Part> parts = Parts(s, Threads(context));
    // Each thread clears the images that it adds to; those of no point must be cleared too.
    if (conv.all_rows() == 0) return Clear<T>(grads[0]);
    const T* upstream = Data<T>(context->input(5));
    T *by_images = Data<T>(grads[0]), *by_offsets = Data<T>(grads[1]), *by_weights = Data<T>(grads[2]);
    const Grid<T> grid = conv.grid();
    const Buffer<T> zeros(s.channels, T(0));
    PointsGrad<T> sums(s, parts.size(), by_offsets, conv.weights ? by_weights : nullptr);
    std::vector<Buffer<T>> kernels;  // transposed, one for each share of the channels: (filters, taps, the share)
    for (int64_t i = 0; i < sums.copies; ++i) kernels.push_back(Transposed(conv, parts[i]));
    ForEach(context, parts.size(), [&](int64_t i) {
      const Part& part = parts[i];
      T* image = by_images + part.image * s.pixels() * s.channels;
      for (int64_t pixel = 0; pixel < s.pixels(); ++pixel) {
        std::fill_n(image + pixel * s.channels + part.begin, part.count, T(0));
      }
      Buffer<T> sink(4 * part.count);
      const int64_t depth = s.taps * part.count;
      const Buffer<T>& kernel = kernels[i % sums.copies];
      const Blocks blocks(s.rows, depth * sizeof(T), kernel.size() * sizeof(T));
      static thread_local Buffer<T> seen;  // the upstream gradient at the taps: (rows, taps, the part's channels)
      seen.resize(blocks.size * depth);
      for (int64_t block = 0; block < blocks.count(); ++block) {
        const int64_t start = part.image * s.rows + blocks.start(block), end = part.image * s.rows + blocks.end(block);
        Multiply<Left::kAsIs, Into::kNew>(upstream + start * conv.filters, conv.filters, kernel.data(), depth, seen.data(), depth,
                              end - start, conv.filters, depth);
        BackwardRows<T>(s, grid, part, conv.images, conv.weights, zeros.data(), seen.data(), start, end, by_images,
                        sums.coords_of(i % sums.copies), sums.weights_of(i % sums.copies), sink.data());
      }
    });
    sums.add_up();
  }
};

template <typename T>
class DeformConvKernelGrad : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    const Convolution<T> conv(context);
    if (!conv.good) return;
    const Sizes& s = conv.s;
    Tensor* kernel_grad = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, context->input(3).shape(), &kernel_grad));
    Clear<T>(kernel_grad);
    const T* upstream = Data<T>(context->input(5));
    const Grid<T> grid = conv.grid();
    const Buffer<T> zeros(s.share(), T(0));
    const Blocks blocks = conv.blocks(conv.all_rows());
    const int64_t threads = std::min<int64_t>(Threads(context), blocks.count());
    std::vector<Buffer<T>> sums(threads);
    ForEach(context, threads, [&](int64_t i) {
      sums[i].assign(conv.depth() * conv.filters, T(0));
      Buffer<T> values(blocks.size * conv.depth());
      for (int64_t block = blocks.count() * i / threads; block < blocks.count() * (i + 1) / threads; ++block) {
        const int64_t start = blocks.start(block), end = blocks.end(block);
        ReadRows<T>(s, grid, conv.images, conv.weights, zeros.data(), start, end, values.data());
        Multiply<Left::kTransposed, Into::kSum>(values.data(), conv.depth(), upstream + start * conv.filters, conv.filters,
                                    sums[i].data(), conv.filters, conv.depth(), end - start, conv.filters);
      }
    });
    T* sum = Data<T>(kernel_grad);
    for (const Buffer<T>& one : sums) {
      for (size_t i = 0; i < one.size(); ++i) sum[i] += one[i];
    }
  }
};

}  // namespace
}  // namespace deformconv

#endif  // DEFORMCONV_CONVOLVE_H_
