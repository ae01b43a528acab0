// Deformable convolution and its derivatives on TensorFlow's CPU, without a column buffer.
//
// What every tap reads is made for a few output pixels at a time, in a buffer that stays in the cache, and
// multiplied by the kernel from there. The whole buffer, nine times the images for a 3 x 3 kernel, never exists.

#include <vector>

#include "multiply.h"
#include "points.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace deformconv {
namespace {

using namespace tensorflow;  // as operators are written there

using shape_inference::InferenceContext;

constexpr int64_t kBlockBytes = 256 << 10;  // of what the taps read for a few output pixels: half of a small L2 cache

template <typename T>
const T* Data(const Tensor& tensor) {
  return tensor.NumElements() ? static_cast<const T*>(tensor.data()) : nullptr;
}
template <typename T>
T* Data(Tensor* tensor) {
  return tensor->NumElements() ? static_cast<T*>(tensor->data()) : nullptr;
}

int Threads(OpKernelContext* context) { return context->device()->tensorflow_cpu_worker_threads()->num_threads; }

// Calls work(i) for every i below `total`, on all of TensorFlow's threads.
template <typename Work>
void ForEach(OpKernelContext* context, int64_t total, const Work& work) {
  if (total == 0) return;
  const auto one_by_one = thread::ThreadPool::SchedulingParams::Fixed(1);
  context->device()->tensorflow_cpu_worker_threads()->workers->ParallelFor(
      total, one_by_one, [&](int64_t start, int64_t end) {
        for (int64_t i = start; i < end; ++i) work(i);
      });
}

// Rows of output pixels in blocks: how many blocks, and rows in each.
struct Blocks {
  int64_t rows, size;
  Blocks(int64_t all_rows, int64_t bytes_a_row) : rows(all_rows) {
    const int64_t tiles = kBlockBytes / std::max<int64_t>(1, bytes_a_row) / kTileRows;
    size = kTileRows * std::max<int64_t>(1, std::min<int64_t>(tiles, 80));
  }
  int64_t count() const { return (rows + size - 1) / size; }
  int64_t start(int64_t i) const { return i * size; }
  int64_t end(int64_t i) const { return std::min(rows, (i + 1) * size); }
};

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

// Points given outright.
template <typename T>
struct Given {
  const T* coords;  // (batch, rows, groups, taps, 2)
  const Given& row(int64_t) const { return *this; }
  Cell<T> cell(const Sizes& s, int64_t point, int64_t) const {
    return Cell<T>(s, coords[2 * point], coords[2 * point + 1]);
  }
};

// values (rows, taps, channels): what the points of rows [start, end) read.
template <typename T, typename Points>
void ReadRows(const Sizes& s, const Points& points, const T* images, const T* weights, const T* zeros, int64_t start,
              int64_t end, T* values) {
  const int64_t share = s.share();
  for (int64_t row = start; row < end; ++row) {
    const T* image = images + row / s.rows * s.pixels() * s.channels;
    const auto& of_row = points.row(row);
    for (int64_t group = 0; group < s.groups; ++group) {
      for (int64_t tap = 0; tap < s.taps; ++tap) {
        T* to = values + ((row - start) * s.taps + tap) * s.channels + group * share;
        const int64_t point = s.point(row, group, tap);
        const T weight = weights ? weights[point] : T(1);
        Read(of_row.cell(s, point, tap), image + group * share, zeros, weight, share, to);
      }
    }
  }
}

// One thread's part of the derivatives by images and points: some images, or some channels of one.
struct Part {
  int64_t image, begin, count;  // channels [begin, begin + count)
};

// No two threads may add to the same pixel's channel. Where images are few, they share each by its channels.
std::vector<Part> Parts(const Sizes& s, int threads) {
  int64_t parts = 1;
  if (s.batch % threads && s.batch < 4 * threads) parts = std::max<int64_t>(1, std::min<int64_t>(threads, s.channels / 16));
  std::vector<Part> all;
  for (int64_t image = 0; image < s.batch; ++image) {
    for (int64_t i = 0; i < parts; ++i) {
      const int64_t begin = s.channels * i / parts;
      all.push_back({image, begin, s.channels * (i + 1) / parts - begin});
    }
  }
  return all;
}

// The backward pass over rows [start, end) of one part. `upstream` is (rows, taps, part.count).
template <typename T, typename Points>
void BackwardRows(const Sizes& s, const Points& points, const Part& part, const T* images, const T* weights,
                  const T* zeros, const T* upstream, int64_t start, int64_t end, T* images_grad, T* points_grad,
                  T* weights_grad, T* sink) {
  const int64_t first = part.image * s.pixels() * s.channels, share = s.share(), first_group = part.begin / share;
  for (int64_t row = start; row < end; ++row) {
    const auto& of_row = points.row(row);
    for (int64_t group = first_group; group * share < part.begin + part.count; ++group) {
      const int64_t begin = std::max(part.begin, group * share);
      const int64_t count = std::min(part.begin + part.count, (group + 1) * share) - begin;
      for (int64_t tap = 0; tap < s.taps; ++tap) {
        const int64_t point = s.point(row, group, tap);
        const T weight = weights ? weights[point] : T(1);
        const T* up = upstream + ((row - start) * s.taps + tap) * part.count + begin - part.begin;
        const Cell<T> cell = of_row.cell(s, point, tap);
        Differentiate(cell, images + first + begin, zeros, weight, up, count, points_grad + 2 * point,
                      points_grad + 2 * point + 1, weights ? weights_grad + point : nullptr);
        Write(cell, up, weight, count, images_grad + first + begin, sink);
      }
    }
  }
}

// Gradients of points. Where several threads share an image by its channels, each but the first has a copy of its
// own to add to; they are summed at the end.
template <typename T>
struct PointsGrad {
  int64_t points, copies;
  T *coords, *weights;  // the sums; no weights: null
  std::vector<T> more_coords, more_weights;

  PointsGrad(const Sizes& s, int64_t parts, T* coords_sum, T* weights_sum)
      : points(s.batch * s.rows * s.groups * s.taps),
        copies(s.batch ? parts / s.batch : 1),
        coords(coords_sum),
        weights(weights_sum),
        more_coords((copies - 1) * points * 2),
        more_weights(weights_sum ? (copies - 1) * points : 0) {}
  T* coords_of(int64_t copy) { return copy ? more_coords.data() + (copy - 1) * points * 2 : coords; }
  T* weights_of(int64_t copy) { return copy && weights ? more_weights.data() + (copy - 1) * points : weights; }
  void add_up() {
    for (int64_t copy = 1; copy < copies; ++copy) {
      for (int64_t i = 0; i < 2 * points; ++i) coords[i] += coords_of(copy)[i];
      for (int64_t i = 0; weights && i < points; ++i) weights[i] += weights_of(copy)[i];
    }
  }
};

template <typename T>
void Clear(Tensor* tensor) {
  std::fill_n(Data<T>(tensor), tensor->NumElements(), T(0));
}

// ---- Reading at given points: images (b, h, w, c), coords (b, rows, groups, taps, 2), values (b, rows, taps, c)

REGISTER_OP("DeformSample")
    .Attr("T: {float, double}")
    .Input("images: T")
    .Input("coords: T")
    .Output("values: T")
    .SetShapeFn([](InferenceContext* c) {
      const auto &images = c->input(0), &coords = c->input(1);
      c->set_output(0, c->MakeShape({c->Dim(coords, 0), c->Dim(coords, 1), c->Dim(coords, 3), c->Dim(images, 3)}));
      return absl::OkStatus();
    });

REGISTER_OP("DeformSampleGrad")
    .Attr("T: {float, double}")
    .Input("images: T")
    .Input("coords: T")
    .Input("upstream: T")
    .Output("images_grad: T")
    .Output("coords_grad: T")
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->input(0));
      c->set_output(1, c->input(1));
      return absl::OkStatus();
    });

bool SampleSizes(OpKernelContext* context, Sizes* s) {
  const Tensor &images = context->input(0), &coords = context->input(1);
  if (images.dims() != 4 || coords.dims() != 5 || images.dim_size(0) != coords.dim_size(0) || !coords.dim_size(2) ||
      images.dim_size(3) % coords.dim_size(2)) {
    context->CtxFailure(absl::InvalidArgumentError(absl::StrCat("images ", images.shape().DebugString(), " and coords ",
                                                coords.shape().DebugString(), " do not fit together")));
    return false;
  }
  *s = {images.dim_size(0), images.dim_size(1), images.dim_size(2), images.dim_size(3),
        coords.dim_size(1), coords.dim_size(2), coords.dim_size(3)};
  return true;
}

template <typename T>
class DeformSample : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    Sizes s;
    if (!SampleSizes(context, &s)) return;
    Tensor* values = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, {s.batch, s.rows, s.taps, s.channels}, &values));
    if (values->NumElements() == 0) return;
    const Given<T> points{Data<T>(context->input(1))};
    const T* images = Data<T>(context->input(0));
    const Buffer<T> zeros(s.share(), T(0));
    const Blocks blocks(s.batch * s.rows, s.taps * (s.channels + 16) * sizeof(T));
    ForEach(context, blocks.count(), [&](int64_t i) {
      T* to = Data<T>(values) + blocks.start(i) * s.taps * s.channels;
      ReadRows<T>(s, points, images, nullptr, zeros.data(), blocks.start(i), blocks.end(i), to);
    });
  }
};

template <typename T>
class DeformSampleGrad : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    Sizes s;
    if (!SampleSizes(context, &s)) return;
    Tensor *images_grad = nullptr, *coords_grad = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, context->input(0).shape(), &images_grad));
    OP_REQUIRES_OK(context, context->allocate_output(1, context->input(1).shape(), &coords_grad));
    Clear<T>(images_grad), Clear<T>(coords_grad);
    if (context->input(2).NumElements() == 0) return;
    const Given<T> points{Data<T>(context->input(1))};
    const T *images = Data<T>(context->input(0)), *upstream = Data<T>(context->input(2));
    const Buffer<T> zeros(s.channels, T(0));
    const std::vector<Part> parts = Parts(s, Threads(context));
    PointsGrad<T> grads(s, parts.size(), Data<T>(coords_grad), nullptr);
    ForEach(context, parts.size(), [&](int64_t i) {
      const Part& part = parts[i];
      Buffer<T> sink(4 * part.count);
      Buffer<T> some;  // the upstream gradient of the part's channels, a row at a time
      if (part.count < s.channels) some.resize(s.taps * part.count);
      for (int64_t row = part.image * s.rows; row < (part.image + 1) * s.rows; ++row) {
        const T* up = upstream + row * s.taps * s.channels;
        for (int64_t tap = 0; !some.empty() && tap < s.taps; ++tap) {
          std::copy_n(up + tap * s.channels + part.begin, part.count, some.data() + tap * part.count);
        }
        BackwardRows<T>(s, points, part, images, nullptr, zeros.data(), some.empty() ? up : some.data(), row, row + 1,
                        Data<T>(images_grad), grads.coords_of(i % grads.copies), nullptr, sink.data());
      }
    });
    grads.add_up();
  }
};

// ---- The convolution: images (b, h, w, c), offsets (b, h', w', groups * taps * 2), weights (b, h', w', groups * taps)
// or (0), kernel (taps * c, filters), outputs (b, h', w', filters); geometry: strides, zeros before the image, dilation,
// all (y, x), the kernel's width, and (h', w').

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
  Blocks blocks(int64_t rows) const { return Blocks(rows, depth() * sizeof(T)); }
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
      const Blocks blocks(s.rows, depth * sizeof(T));
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

#define REGISTER(op)                                                                           \
  REGISTER_KERNEL_BUILDER(Name(#op).Device(DEVICE_CPU).TypeConstraint<float>("T"), op<float>); \
  REGISTER_KERNEL_BUILDER(Name(#op).Device(DEVICE_CPU).TypeConstraint<double>("T"), op<double>);
REGISTER(DeformSample)
REGISTER(DeformSampleGrad)
REGISTER(DeformConv)
REGISTER(DeformConvPointsGrad)
REGISTER(DeformConvKernelGrad)

}  // namespace
}  // namespace deformconv
