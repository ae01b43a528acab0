"""Deformable operators as pure functions of tensors. Conventions: see `reference`, which defines them."""

from deformconv.operators.deform_conv import deform_conv2d

__all__ = ["deform_conv2d"]
