// TensorFlow's CPU operators of this package. One file to compile: its headers take most of the time.

#include "convolve.h"
#include "sample.h"

namespace deformconv {
namespace {

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
