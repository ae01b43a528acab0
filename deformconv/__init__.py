"""Deformable convolution for Keras 3: the operators as functions, the layers that own weights, the NumPy reference."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deformconv import reference
    from deformconv.export import export_onnx
    from deformconv.layers import (
        ConvOffset2D,
        DCNv3,
        DCNv4,
        DeformableConv2D,
        DeformableRoIPooling2D,
        SpatialTransformer,
    )
    from deformconv.operators import deform_conv2d, deform_roi_pool2d
    from deformconv.sampling import bilinear_sample

__all__ = [
    "ConvOffset2D",
    "DCNv3",
    "DCNv4",
    "DeformableConv2D",
    "DeformableRoIPooling2D",
    "SpatialTransformer",
    "bilinear_sample",
    "deform_conv2d",
    "deform_roi_pool2d",
    "export_onnx",
    "reference",
]
__version__ = "0.1.0"

# Each name's module is imported when the name is first asked for: Keras and its engine take seconds to import, and
# the command line's --help needs neither.
_MODULES = {
    "ConvOffset2D": "deformconv.layers",
    "DCNv3": "deformconv.layers",
    "DCNv4": "deformconv.layers",
    "DeformableConv2D": "deformconv.layers",
    "DeformableRoIPooling2D": "deformconv.layers",
    "SpatialTransformer": "deformconv.layers",
    "bilinear_sample": "deformconv.sampling",
    "deform_conv2d": "deformconv.operators",
    "deform_roi_pool2d": "deformconv.operators",
    "export_onnx": "deformconv.export",
}


def __getattr__(name):
    if name == "reference":
        return import_module("deformconv.reference")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'deformconv' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
