"""Keras layers: thin, they own weights and call `operators` and `sampling`."""

from deformconv.layers.conv_offset import ConvOffset2D
from deformconv.layers.deformable_conv import DeformableConv2D

__all__ = ["ConvOffset2D", "DeformableConv2D"]
