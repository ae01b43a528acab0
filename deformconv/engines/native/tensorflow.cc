// TensorFlow's operators: their shapes, what must fit together, memory for the results, its threads.

#include "absl/strings/str_join.h"
#include "core/run.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace deformconv {
namespace {

using namespace tensorflow;  // as operators are written there

using shape_inference::InferenceContext;

class Workers : public Parallel {
 public:
  explicit Workers(OpKernelContext* context) : of_(context->device()->tensorflow_cpu_worker_threads()) {}
  int threads() const override { return of_->num_threads; }
  void run(int64_t total, const std::function<void(int64_t)>& work) const override {
    if (total == 0) return;
    const auto one_by_one = thread::ThreadPool::SchedulingParams::Fixed(1);
    of_->workers->ParallelFor(total, one_by_one, [&](int64_t start, int64_t end) {
      for (int64_t i = start; i < end; ++i) work(i);
    });
  }

 private:
  const DeviceBase::CpuWorkerThreads* of_;
};

Type TypeOf(DataType type) {
  switch (type) {
    case DT_DOUBLE: return Type::kFloat64;
    case DT_BFLOAT16: return Type::kBFloat16;
    case DT_HALF: return Type::kFloat16;
    default: return Type::kFloat32;
  }
}

// Runs an operation of the core on the inputs of a TensorFlow operator. Input 2, the weights, may be empty: then all are
// one.
void RunOp(OpKernelContext* context, Op op, const Numbers& numbers) {
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  for (int i = 0; i < context->num_inputs(); ++i) {
    const Tensor& tensor = context->input(i);
    inputs.push_back(i == 2 && tensor.NumElements() == 0 ? nullptr : tensor.data());
  }
  for (int i = 0; i < context->num_outputs(); ++i) outputs.push_back(context->mutable_output(i)->data());
  Run(op, TypeOf(context->input(0).dtype()), numbers, inputs.data(), outputs.data(), Workers(context));
}

// Ends the operator with what is wrong; false, for its caller to return.
bool Refuse(OpKernelContext* context, const std::string& message) {
  context->CtxFailure(absl::InvalidArgumentError(message));
  return false;
}

bool DoNotFit(OpKernelContext* context, int count) {
  std::string shapes;
  for (int i = 0; i < count; ++i) absl::StrAppend(&shapes, i ? ", " : "", context->input(i).shape().DebugString());
  return Refuse(context, absl::StrCat("tensors of ", shapes, " do not fit together"));
}

// Whether there are weights: one empty axis stands for none.
bool AreThere(const Tensor& weights) { return weights.dims() != 1; }

// Whether the first sizes of an argument are the expected ones. Python has checked what a graph knew when it was made,
// names and all; the rest is known here.
bool Fits(OpKernelContext* context, const char* name, const Tensor& tensor, const std::vector<int64_t>& expected,
          const char* what) {
  bool fit = tensor.dims() >= static_cast<int>(expected.size());
  for (size_t i = 0; fit && i < expected.size(); ++i) fit = tensor.dim_size(i) == expected[i];
  return fit || Refuse(context, absl::StrCat("`", name, "` must have ", what, " (", absl::StrJoin(expected, ", "),
                                             "); received shape ", tensor.shape().DebugString()));
}

// Allocates outputs with the shapes of these inputs.
bool AllocateLike(OpKernelContext* context, std::initializer_list<int> inputs) {
  int output = 0;
  for (int input : inputs) {
    Tensor* made = nullptr;
    const absl::Status status = context->allocate_output(output++, context->input(input).shape(), &made);
    if (!status.ok()) {
      context->CtxFailure(status);
      return false;
    }
  }
  return true;
}

#define COMMON_INPUTS                                                                      \
  Attr("T: {float, double, bfloat16, half}").Attr("P: {float, double}").Input("images: T") \
      .Input("points: P").Input("weights: T")

REGISTER_OP("DeformAggregate").COMMON_INPUTS.Output("values: T").SetShapeFn([](InferenceContext* c) {
  const auto &images = c->input(0), &points = c->input(1);
  c->set_output(0, c->MakeShape({c->Dim(points, 0), c->Dim(points, 1), c->Dim(images, 3)}));
  return absl::OkStatus();
});

const auto of_first_three = [](InferenceContext* c) {
  for (int i = 0; i < 3; ++i) c->set_output(i, c->input(i));
  return absl::OkStatus();
};

REGISTER_OP("DeformAggregateGrad").COMMON_INPUTS.Input("upstream: T")
    .Output("images_grad: T").Output("points_grad: P").Output("weights_grad: T").SetShapeFn(of_first_three);

REGISTER_OP("DeformConv").COMMON_INPUTS.Input("kernel: T").Input("geometry: int64").Attr("groups: int = 1")
    .Output("outputs: T").SetShapeFn([](InferenceContext* c) {
      const auto& points = c->input(1);
      c->set_output(0, c->MakeShape({c->Dim(points, 0), c->Dim(points, 1), c->Dim(points, 2), c->Dim(c->input(3), 1)}));
      return absl::OkStatus();
    });

REGISTER_OP("DeformConvPointsGrad").COMMON_INPUTS.Input("kernel: T").Input("upstream: T").Input("geometry: int64")
    .Attr("groups: int = 1")
    .Output("images_grad: T").Output("points_grad: P").Output("weights_grad: T").SetShapeFn(of_first_three);

REGISTER_OP("DeformConvKernelGrad").COMMON_INPUTS.Input("kernel: T").Input("upstream: T").Input("geometry: int64")
    .Attr("groups: int = 1")
    .Output("kernel_grad: T").SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->input(3));
      return absl::OkStatus();
    });

bool AggregateNumbers(OpKernelContext* context, Numbers* n) {
  const Tensor &images = context->input(0), &points = context->input(1), &weights = context->input(2);
  const int64_t groups = points.dims() == 5 ? points.dim_size(2) : 0;
  if (images.dims() != 4 || !groups || points.dim_size(4) != 2 || images.dim_size(3) % groups || !images.dim_size(3) ||
      (AreThere(weights) && weights.dims() != 4)) {
    return DoNotFit(context, 3);
  }
  const std::vector<int64_t> of_points{points.dim_size(0), points.dim_size(1), groups, points.dim_size(3)};
  if (!Fits(context, "coords", points, {images.dim_size(0)}, "the batch size of `images`,") ||
      (AreThere(weights) && !Fits(context, "weights", weights, of_points, "one value a point,"))) {
    return false;
  }
  *n = {images.dim_size(0), images.dim_size(1), images.dim_size(2), images.dim_size(3),
        points.dim_size(1), groups, points.dim_size(3)};
  return true;
}

class AggregateOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    Numbers n = {};
    if (!AggregateNumbers(context, &n)) return;
    Tensor* values = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, {n.batch, n.rows, n.channels}, &values));
    RunOp(context, Op::kAggregate, n);
  }
};

class AggregateGradOp : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    Numbers n = {};
    if (!AggregateNumbers(context, &n) || !AllocateLike(context, {0, 1, 2})) return;
    if (context->input(3).NumElements() != n.batch * n.rows * n.channels) return void(DoNotFit(context, 4));
    RunOp(context, Op::kAggregateGrad, n);
  }
};

// The three operators of the convolution; in the two of its gradients input 4 is the gradient that comes from above.
template <Op OP>
class ConvolveOp : public OpKernel {
 public:
  explicit ConvolveOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("groups", &groups_));
  }

  void Compute(OpKernelContext* context) override {
    Numbers n = {};
    if (!Check(context, &n)) return;
    if (OP == Op::kConvolve) {
      Tensor* outputs = nullptr;
      const Geometry& g = n.geometry;
      OP_REQUIRES_OK(context, context->allocate_output(0, {n.batch, g.out_height, g.out_width, n.filters}, &outputs));
    } else if (OP == Op::kConvolvePointsGrad ? !AllocateLike(context, {0, 1, 2}) : !AllocateLike(context, {3})) {
      return;
    }
    RunOp(context, OP, n);
  }

 private:
  bool Check(OpKernelContext* context, Numbers* n) const {
    const int last = context->num_inputs() - 1;
    const Tensor &x = context->input(0), &o = context->input(1), &w = context->input(2), &k = context->input(3);
    const Tensor& geometry = context->input(last);
    if (x.dims() != 4 || o.dims() != 4 || k.dims() != 2 || geometry.NumElements() != 9 ||
        (AreThere(w) && w.dims() != 4)) {
      return DoNotFit(context, last);
    }
    std::memcpy(&n->geometry, geometry.data(), sizeof(Geometry));
    const Geometry& g = n->geometry;
    if (g.out_height < 1 || g.out_width < 1) {
      return Refuse(context, absl::StrCat(
          "`inputs` must be at least as large as the dilated kernel, padding included; received height and width (",
          x.dim_size(1), ", ", x.dim_size(2), "), the output's would be (", g.out_height, ", ", g.out_width,
          "). padding=\"same\" takes any size."));
    }
    // oneDNN, which makes the offsets, gives those of an empty batch the wrong shape.
    const bool empty = x.dim_size(0) == 0 && o.NumElements() == 0 && w.NumElements() == 0;
    if (!empty) {
      const std::vector<int64_t> of_output{x.dim_size(0), g.out_height, g.out_width};
      const char* what = "batch, height and width of the output,";
      if (!Fits(context, "offsets", o, of_output, what) || (AreThere(w) && !Fits(context, "mask", w, of_output, what))) {
        return false;
      }
    }
    const int64_t channels = x.dim_size(3), seen = channels / groups_, taps = seen ? k.dim_size(0) / seen : 0;
    const int64_t filters = k.dim_size(1), offset_groups = empty ? 1 : taps ? o.dim_size(3) / (2 * taps) : 0;
    const bool fit = empty || (offset_groups && offset_groups * taps * 2 == o.dim_size(3) &&
                               channels % offset_groups == 0 && (!AreThere(w) || w.dim_size(3) * 2 == o.dim_size(3)));
    if (!fit || channels % groups_ || filters % groups_ || taps * seen != k.dim_size(0) || g.kernel_width < 1) {
      return DoNotFit(context, last);
    }
    const int64_t rows = g.out_height * g.out_width;
    if (OP != Op::kConvolve && context->input(4).NumElements() != x.dim_size(0) * rows * filters) {
      return DoNotFit(context, last);
    }
    *n = {x.dim_size(0), x.dim_size(1), x.dim_size(2), channels, rows, offset_groups, taps, filters, groups_, g};
    return true;
  }

  int64_t groups_;
};

#define REGISTER(name, kernel, t, p) \
  REGISTER_KERNEL_BUILDER(Name(name).Device(DEVICE_CPU).TypeConstraint<t>("T").TypeConstraint<p>("P"), kernel);
#define REGISTER_ALL(name, kernel)         \
  REGISTER(name, kernel, float, float)     \
  REGISTER(name, kernel, double, double)   \
  REGISTER(name, kernel, bfloat16, float)  \
  REGISTER(name, kernel, Eigen::half, float)
REGISTER_ALL("DeformAggregate", AggregateOp)
REGISTER_ALL("DeformAggregateGrad", AggregateGradOp)
REGISTER_ALL("DeformConv", ConvolveOp<Op::kConvolve>)
REGISTER_ALL("DeformConvPointsGrad", ConvolveOp<Op::kConvolvePointsGrad>)
REGISTER_ALL("DeformConvKernelGrad", ConvolveOp<Op::kConvolveKernelGrad>)

}  // namespace
}  // namespace deformconv
