"""Keras layers: thin, they own weights and call `operators` and `sampling`."""

from deformconv.layers.conv_offset import ConvOffset2D
from deformconv.layers.dcnv3 import DCNv3
from deformconv.layers.dcnv4 import DCNv4
from deformconv.layers.deformable_conv import DeformableConv2D
from deformconv.layers.roi_pooling import DeformableRoIPooling2D
from deformconv.layers.spatial_transformer import SpatialTransformer

__all__ = ["ConvOffset2D", "DCNv3", "DCNv4", "DeformableConv2D", "DeformableRoIPooling2D", "SpatialTransformer"]
