// The one entrance for all bindings: which operation, which type, how large, from where, to where.

#ifndef DEFORMCONV_RUN_H_
#define DEFORMCONV_RUN_H_

#include "aggregate.h"
#include "convolve.h"
#include "convolve_grad.h"

namespace deformconv {

enum class Op : int32_t { kAggregate, kAggregateGrad, kConvolve, kConvolvePointsGrad, kConvolveKernelGrad };
enum class Type : int32_t { kFloat32, kFloat64, kBFloat16, kFloat16 };

// In this order, as 64-bit integers; `aggregate` needs the first seven.
struct Numbers {
  int64_t batch, height, width, channels, rows, offset_groups, taps;
  int64_t filters, groups;
  Geometry geometry;
};
constexpr int kAggregateNumbers = 7, kConvolveNumbers = sizeof(Numbers) / sizeof(int64_t);

// Inputs of each operation, in order; coordinates and offsets are float for half types:
//     aggregate           images, coords, weights (or null)             -> values
//     its gradients       and upstream                                  -> those by images, coords, weights
//     convolve            images, offsets, weights (or null), kernel    -> outputs
//     by points           and upstream                                  -> those by images, offsets, weights
//     by the kernel       and upstream                                  -> that by the kernel
template <typename T>
void RunTyped(Op op, const Numbers& n, const void* const* inputs, void* const* outputs, const Parallel& parallel) {
  const Sizes s{n.batch, n.height, n.width, n.channels, n.rows, n.offset_groups, n.taps};
  const auto in = [&](int i) { return static_cast<const T*>(inputs[i]); };
  const auto out = [&](int i) { return static_cast<T*>(outputs[i]); };
  const auto* points = static_cast<const Sum<T>*>(inputs[1]);
  if (op == Op::kAggregate) return Aggregate<T>(parallel, s, in(0), points, in(2), out(0));
  if (op == Op::kAggregateGrad) {
    auto* coords_grad = static_cast<Sum<T>*>(outputs[1]);
    return AggregateGrad<T>(parallel, s, in(0), points, in(2), in(3), out(0), coords_grad, out(2));
  }
  const Convolution<T> conv{s, n.geometry, n.groups, n.filters, in(0), points, in(2), in(3)};
  if (op == Op::kConvolve) return Convolve(parallel, conv, out(0));
  if (op == Op::kConvolveKernelGrad) return ConvolveKernelGrad(parallel, conv, in(4), out(0));
  ConvolvePointsGrad(parallel, conv, in(4), out(0), static_cast<Sum<T>*>(outputs[1]), out(2));
}

inline void Run(Op op, Type type, const Numbers& numbers, const void* const* inputs, void* const* outputs,
                const Parallel& parallel) {
  switch (type) {
    case Type::kFloat32: return RunTyped<float>(op, numbers, inputs, outputs, parallel);
    case Type::kFloat64: return RunTyped<double>(op, numbers, inputs, outputs, parallel);
    case Type::kBFloat16: return RunTyped<BFloat16>(op, numbers, inputs, outputs, parallel);
    case Type::kFloat16: return RunTyped<Half>(op, numbers, inputs, outputs, parallel);
  }
}

}  // namespace deformconv

#endif  // DEFORMCONV_RUN_H_
