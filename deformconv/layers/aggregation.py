"""What DCNv3 and DCNv4 share: each pixel gathers its surroundings, group by group, with weights of its own."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from deformconv import engines
from deformconv.arguments import AxisPadding, check_count, check_padding, output_size, pair
from deformconv.conventions import tap_count
from deformconv.engines.empty import of_any_batch
from deformconv.engines.precision import full_precision
from deformconv.layers.layout import MapLayer
from deformconv.layers.precision import at_least_float32
from deformconv.operators.aggregate import deform_aggregate2d
from deformconv.types import Config, DataFormat, Identifier, Padding, Pair, Shape, Tensor


class DenseInOrder(keras.layers.Dense):
    """A dense layer with the authors' weights, whose channels come in the order that they are asked for in.

    It is the weights that are put in order: these are few, and pixels are many.
    """

    def call(self, inputs: Tensor, orders: Sequence[tuple[Callable[[Tensor], Tensor], ...]] = ()) -> Any:
        """For each of `orders`, functions of the kernel and of the bias, what the layer makes with what they give."""
        if not orders:
            return super().call(inputs)
        with full_precision(inputs):
            return [ops.matmul(inputs, of_kernel(self.kernel)) + of_bias(self.bias) for of_kernel, of_bias in orders]


class DynamicAggregation(MapLayer):
    """Base of `DCNv3` and `DCNv4`: their common arguments, sizes and steps, these on maps that are channels last."""

    def __init__(
        self,
        kernel_size: Pair,
        strides: Pair,
        padding: Padding,
        dilation_rate: Pair,
        groups: int,
        offset_scale: float,
        dw_kernel_size: Pair | None,
        center_feature_scale: bool,
        remove_center: bool,
        data_format: DataFormat | None,
        **kwargs: Any,
    ):
        super().__init__(data_format, **kwargs)
        self.kernel_size = pair("kernel_size", kernel_size)
        self.strides = pair("strides", strides)
        self._pads = check_padding(padding)
        self.padding = padding
        self.dilation_rate = pair("dilation_rate", dilation_rate)
        check_count("groups", groups)
        self.groups = groups
        if not isinstance(offset_scale, (int, float)) or not 0 < offset_scale < math.inf:
            slip = " At 0 all taps would lie on one point." if offset_scale == 0 else ""
            raise ValueError(f"`offset_scale` must be a positive number; received {offset_scale!r}.{slip}")
        self.offset_scale = offset_scale
        self.dw_kernel_size = None if dw_kernel_size is None else pair("dw_kernel_size", dw_kernel_size)
        self.center_feature_scale = center_feature_scale
        self.remove_center = remove_center
        self._taps = tap_count(self.kernel_size, remove_center)
        self.input_spec = keras.layers.InputSpec(ndim=4)
        # As in `DeformableConv2D`: XLA cannot compile a native kernel.
        self.supports_jit = engines.supports_jit()

    def _check_channels(self, input_shape: Shape) -> int:
        channels = self._known_channels(input_shape)
        if channels % self.groups:
            raise ValueError(
                f"`groups` must divide the input's channels; received groups={self.groups} and input shape "
                f"{tuple(input_shape)}, whose {self._named_axis} axis is taken as channels."
            )
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={self._channel_axis: channels})
        return channels

    def _dense(
        self,
        name: str,
        channels: int,
        units: int,
        kernel_initializer: Identifier = "zeros",
        use_bias: bool = True,
    ) -> keras.layers.Dense:
        layer = keras.layers.Dense(
            units, kernel_initializer=kernel_initializer, use_bias=use_bias, dtype=self.dtype_policy, name=name
        )
        layer.build((None, None, None, channels))
        return layer

    def _dense_in_order(
        self, name: str, channels: int, units: int, bias_initializer: Identifier = "zeros"
    ) -> DenseInOrder:
        dtype = at_least_float32(self.dtype_policy)
        layer = DenseInOrder(
            units, kernel_initializer="zeros", bias_initializer=bias_initializer, dtype=dtype, name=name
        )
        layer.build((None, None, None, channels))
        return layer

    def _depthwise(self, name: str, channels: int) -> keras.layers.DepthwiseConv2D:
        # PyTorch's initial values: uniform, up to the inverse root of the taps that one output sees.
        size = self.dw_kernel_size or self.kernel_size  # `DCNv4` has none without a size
        limit = 1 / math.sqrt(math.prod(size))
        layer = keras.layers.DepthwiseConv2D(
            size,
            padding="same",
            data_format="channels_last",
            depthwise_initializer=keras.initializers.RandomUniform(-limit, limit),
            bias_initializer=keras.initializers.RandomUniform(-limit, limit),
            dtype=at_least_float32(self.dtype_policy),
            name=name,
        )
        layer.build((None, None, None, channels))
        return layer

    def _at_centres(self, inputs: Tensor, look: keras.layers.Layer | None = None) -> Tensor:
        """`inputs`, seen through the layer `look`, at the centre of each output pixel's kernel: one pixel for each."""
        axes = zip(ops.shape(inputs)[1:3], self.kernel_size, self.strides, self.dilation_rate, self._pads, strict=True)
        outside, kept = zip(*(_centres(*axis) for axis in axes), strict=True)
        if outside != ((0, 0), (0, 0)):
            inputs = ops.pad(inputs, ((0, 0), *outside, (0, 0)))
        seen = inputs if look is None else of_any_batch(look, inputs)
        return seen[:, *kept]

    def _aggregate(self, values: Tensor, offsets: Tensor, mask: Tensor) -> Tensor:
        """The sum under each group's taps, channel by channel."""
        return deform_aggregate2d(
            values,
            offsets,
            mask,
            kernel_size=self.kernel_size,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
        )

    def _blend(self, outputs: Tensor, values: Tensor, logits: Tensor) -> Tensor:
        """In each group so much of the centre's own value as its logit says."""
        share = ops.repeat(ops.sigmoid(logits), outputs.shape[-1] // self.groups, axis=-1)
        return outputs * (1 - share) + self._at_centres(values) * share

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, *size, channels = self._shape_channels_last(input_shape)
        sizes = (
            None if axis[0] is None else output_size(*axis)[0]
            for axis in zip(size, self.kernel_size, self.strides, self.dilation_rate, self._pads, strict=True)
        )
        return self._shape_turned((batch, *sizes, channels))

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "dilation_rate": self.dilation_rate,
            "groups": self.groups,
            "offset_scale": self.offset_scale,
            "dw_kernel_size": self.dw_kernel_size,
            "center_feature_scale": self.center_feature_scale,
            "remove_center": self.remove_center,
        }


def _centres(
    size: Any, kernel_size: int, stride: int, dilation: int, padding: AxisPadding
) -> tuple[tuple[int, int], slice]:
    """Along one axis: how far the kernels' centres reach outside, `(before, after)`, and where they lie, as a slice.

    Only explicit padding of more than half a kernel lets a centre leave the image.
    """
    out, pad = output_size(size, kernel_size, stride, dilation, padding)
    span = (kernel_size - 1) * dilation
    before = after = 0
    if not isinstance(padding, str):
        before, after = max(padding[0] - span // 2, 0), max(padding[1] - (span - span // 2), 0)
    first = before + span // 2 - pad
    return (before, after), slice(first, first + (out - 1) * stride + 1, stride)
