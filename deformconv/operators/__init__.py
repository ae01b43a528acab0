"""Deformable operators as pure functions of tensors. Conventions: see `reference`, which defines them."""

from deformconv.operators.deform_conv import deform_conv2d
from deformconv.operators.roi_pool import deform_roi_pool2d

__all__ = ["deform_conv2d", "deform_roi_pool2d"]
