"""Deformable convolution for Keras 3: the operators as functions, the layers that own weights, the NumPy reference."""

from deformconv import reference
from deformconv.layers import ConvOffset2D, DeformableConv2D
from deformconv.operators import deform_conv2d
from deformconv.sampling import bilinear_sample

__all__ = ["ConvOffset2D", "DeformableConv2D", "bilinear_sample", "deform_conv2d", "reference"]
__version__ = "0.1.0"
