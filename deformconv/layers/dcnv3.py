"""`DCNv3`: the deformable aggregation of InternImage."""

from typing import Any

import keras
from keras import ops

from deformconv.conventions import mask_from_dcnv3, offsets_from_dcnv3
from deformconv.engines.precision import full_precision
from deformconv.layers.aggregation import DynamicAggregation
from deformconv.layers.precision import at_least_float32
from deformconv.types import Config, DataFormat, Identifier, Padding, Pair, Shape, Tensor


@keras.saving.register_keras_serializable(package="deformconv")
class DCNv3(DynamicAggregation):
    """The third deformable convolution (Wang et al. 2023, InternImage).

    For each output pixel `p0` and each group `g` of channels, summing over the taps `pk`,

        y_g(p0) = sum_k  m_gk(p0) * x_g(p0 + pk + offset_gk(p0))

    (equation 2 of the paper, whose weight `w_g` is shared by the taps: here, as in the authors' code, it is
    `input_proj` before and `output_proj` after the sum.) A depthwise convolution, layer normalisation and GELU see
    the input; from what they say, one dense layer makes the offsets and another the mask, by a softmax over the
    taps of a group. Both start at zero, so the layer starts as an average pooling between two dense layers.

    The authors' modules take no strides and keep the input's size. Here each output pixel takes its offsets
    and its mask from the pixel at the centre of its kernel; at their sizes that is the same.

    Args:
        kernel_size: int or pair `(height, width)`.
        strides: int or pair.
        padding: `"same"`, `"valid"`, an int, or `((top, bottom), (left, right))`.
        dilation_rate: int or pair.
        groups: number of groups of channels, each with offsets and a mask of its own.
        offset_scale: factor on the offsets, which also stretches the kernel about its centre.
        dw_kernel_size: int or pair, of the depthwise convolution; None for `kernel_size`.
        activation: after the normalisation; the authors' default is GELU.
        center_feature_scale: whether each group mixes in the value at its centre, in a share learned from the input.
        remove_center: whether to leave out the centre tap; for an odd `kernel_size`.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: `name`, `dtype`, `trainable`, and `frozen`: names of weights and inner layers that do not learn.

    Input shape:
        `(batch, height, width, channels)`; batch, height and width may be unknown. With `"channels_first"`
        `(batch, channels, height, width)`.

    Output shape:
        `(batch, out_height, out_width, channels)`, or `(batch, channels, out_height, out_width)`: sized as
        `keras.layers.Conv2D`'s.

    Attributes:
        input_proj, dw_conv, norm, offset, mask, center_feature_scale_proj, output_proj: the layers that own weights.
            `offset` and `mask` make channels in the authors' order (see `deformconv.conventions`), and their weights
            are the authors' published ones: `norm` is their `dw_conv.1.1`, a dense kernel is their `weight`
            transposed, and the depthwise kernel is theirs transposed by `(2, 3, 0, 1)`.

    Raises:
        ValueError: if an argument or the input's shape is not as above.

    Example:
        >>> layer = DCNv3((3, 2), strides=(2, 1), groups=2)
        >>> tuple(layer(np.zeros((3, 5, 4, 6))).shape)
        (3, 3, 4, 6)
    """

    def __init__(
        self,
        kernel_size: Pair = 3,
        strides: Pair = 1,
        padding: Padding = "same",
        dilation_rate: Pair = 1,
        groups: int = 4,
        offset_scale: float = 1.0,
        dw_kernel_size: Pair | None = None,
        activation: Identifier = "gelu",
        center_feature_scale: bool = False,
        remove_center: bool = False,
        data_format: DataFormat | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            kernel_size,
            strides,
            padding,
            dilation_rate,
            groups,
            offset_scale,
            kernel_size if dw_kernel_size is None else dw_kernel_size,
            center_feature_scale,
            remove_center,
            data_format,
            **kwargs,
        )
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: Shape) -> None:
        channels = self._check_channels(input_shape)
        self.input_proj = self._dense("input_proj", channels, channels, "glorot_uniform")
        self.dw_conv = self._depthwise("dw_conv", channels)
        precise = at_least_float32(self.dtype_policy)
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, dtype=precise, name="norm")
        self.norm.build((None, None, None, channels))
        points = self.groups * self._taps
        self.offset = self._dense_in_order("offset", channels, 2 * points)
        self.mask = self._dense_in_order("mask", channels, points)
        if self.center_feature_scale:
            self.center_feature_scale_proj = self._dense("center_feature_scale_proj", channels, self.groups)
        self.output_proj = self._dense("output_proj", channels, channels, "glorot_uniform")
        self._freeze()

    def call(self, inputs: Tensor) -> Tensor:
        maps = self._channels_last(inputs)
        values = self.input_proj(maps)
        features = self._features(maps)
        outputs = self._aggregate(values, *self._offsets_and_mask(features))
        if self.center_feature_scale:
            outputs = self._blend(outputs, values, self.center_feature_scale_proj(features))
        return self._turned(self.output_proj(outputs))

    def offsets_and_mask(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The offsets and the mask that the layer gives to `inputs`, in `deform_conv2d`'s order and channels last."""
        return self._offsets_and_mask(self._features(self._channels_last(inputs)))

    def _features(self, inputs: Tensor) -> Tensor:
        with full_precision(inputs):
            return self.activation(self.norm(self._at_centres(inputs, self.dw_conv)))

    def _offsets_and_mask(self, features: Tensor) -> tuple[Tensor, Tensor]:
        order: dict[str, Any] = {"kernel_size": self.kernel_size, "groups": self.groups}
        order["remove_center"] = self.remove_center
        stretch: dict[str, Any] = {"dilation_rate": self.dilation_rate, "offset_scale": self.offset_scale}
        offsets_order = (
            lambda kernel: self.offset_scale * offsets_from_dcnv3(kernel, **order),
            lambda bias: offsets_from_dcnv3(bias, **order, **stretch),
        )
        (offsets,) = self.offset(features, orders=[offsets_order])

        def ours(weights: Tensor) -> Tensor:
            return mask_from_dcnv3(weights, **order)

        if self.remove_center:  # its mask is 0, which no logit is
            return offsets, ours(self._softmax(self.mask(features)))
        (logits,) = self.mask(features, orders=[(ours, ours)])
        return offsets, self._softmax(logits)

    def _softmax(self, logits: Tensor) -> Tensor:
        """Over the taps of each group."""
        by_tap = ops.reshape(logits, (*ops.shape(logits)[:-1], self.groups, self._taps))
        return ops.reshape(ops.softmax(by_tap, axis=-1), ops.shape(logits))

    def get_config(self) -> Config:
        return {**super().get_config(), "activation": keras.activations.serialize(self.activation)}
