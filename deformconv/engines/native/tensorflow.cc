// TensorFlow's operators: their shapes, what must fit together, memory for the results, its threads.

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

bool DoNotFit(OpKernelContext* context, int count) {
  std::string shapes;
  for (int i = 0; i < count; ++i) absl::StrAppend(&shapes, i ? ", " : "", context->input(i).shape().DebugString());
  context->CtxFailure(absl::InvalidArgumentError(absl::StrCat("tensors of ", shapes, " do not fit together")));
  return false;
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
  if (images.dims() != 4 || !groups || points.dim_size(4) != 2 || images.dim_size(0) != points.dim_size(0) ||
      images.dim_size(3) % groups || !images.dim_size(3) ||
      (weights.NumElements() && weights.NumElements() * 2 != points.NumElements())) {
    return DoNotFit(context, 3);
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
    if (!Fits(context, &n)) return;
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
  bool Fits(OpKernelContext* context, Numbers* n) const {
    const int last = context->num_inputs() - 1;
    const Tensor &x = context->input(0), &o = context->input(1), &w = context->input(2), &k = context->input(3);
    const Tensor& geometry = context->input(last);
    if (x.dims() != 4 || o.dims() != 4 || k.dims() != 2 || geometry.NumElements() != 9) return DoNotFit(context, last);
    const int64_t channels = x.dim_size(3), seen = channels / groups_, taps = seen ? k.dim_size(0) / seen : 0;
    const int64_t filters = k.dim_size(1);
    std::memcpy(&n->geometry, geometry.data(), sizeof(Geometry));
    const Geometry& g = n->geometry;
    // oneDNN, which makes the offsets, gives those of an empty batch the wrong shape.
    const bool empty = x.dim_size(0) == 0;
    const int64_t offset_groups = empty ? 1 : taps ? o.dim_size(3) / (2 * taps) : 0;
    const bool fit = empty || (o.dim_size(0) == x.dim_size(0) && offset_groups * taps * 2 == o.dim_size(3) &&
                               channels % offset_groups == 0 && o.dim_size(1) == g.out_height &&
                               o.dim_size(2) == g.out_width &&
                               (w.NumElements() == 0 || w.NumElements() * 2 == o.NumElements()));
    if (!offset_groups || channels % groups_ || filters % groups_ || taps * seen != k.dim_size(0) ||
        g.kernel_width < 1 || !fit) {
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
