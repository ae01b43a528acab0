// Reading at given points: images (b, h, w, c), coords (b, rows, groups, taps, 2), values (b, rows, taps, c).

#ifndef DEFORMCONV_SAMPLE_H_
#define DEFORMCONV_SAMPLE_H_

#include "rows.h"

namespace deformconv {
namespace {

// Points given outright.
template <typename T>
struct Given {
  const T* coords;  // (batch, rows, groups, taps, 2)
  const Given& row(int64_t) const { return *this; }
  Cell<T> cell(const Sizes& s, int64_t point, int64_t) const {
    return Cell<T>(s, coords[2 * point], coords[2 * point + 1]);
  }
};

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

}  // namespace
}  // namespace deformconv

#endif  // DEFORMCONV_SAMPLE_H_
