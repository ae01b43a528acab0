"""`DCNv4`: the aggregation of DCNv3 without its softmax."""

from typing import Any

import keras
from keras import ops

from deformconv.conventions import dcnv4_channels, from_dcnv4, to_dcnv4
from deformconv.engines.precision import full_precision
from deformconv.layers.aggregation import DynamicAggregation
from deformconv.types import Config, DataFormat, Identifier, Padding, Pair, Shape, Tensor


@keras.saving.register_keras_serializable(package="deformconv")
class DCNv4(DynamicAggregation):
    """The fourth deformable convolution (Xiong et al. 2024).

    For each output pixel `p0` and each group `g` of channels, summing over the taps `pk`,

        y_g(p0) = sum_k  m_gk(p0) * x_g(p0 + pk + offset_gk(p0))

    (equation 1 of the paper) as in `DCNv3`, but the mask is any number, with no softmax, and one dense layer makes
    offsets and mask straight from the input, or from a depthwise convolution of it. It starts at zero: so the
    mask starts at 0, the sum too, and the offsets start to learn one step after the mask.

    **Where that start cannot learn.** Its authors have the layer beside a shortcut, `x + layer(x)`, where to start by
    adding nothing is right. Without one, the next layer sees zeros alone. If that is another `DCNv4`, or a
    ReLU, no gradient comes back from it: all but the last biases stay as they are for ever, and the loss says nothing
    of the reason. There, let the layer start as an average pooling, as `DCNv3` does, by
    `mask_bias_initializer=keras.initializers.Constant(1 / 9)` for nine taps. `center_feature_scale=True` also helps.
    `deformconv.diagnostics.dead_weights` finds what does not learn in a model.

    The authors' module takes no strides, keeps the input's size and takes pixels in one row, `(batch, height * width,
    channels)`. Here each output pixel takes its offsets and its mask from the pixel at the centre of its kernel.

    Args:
        kernel_size: int or pair `(height, width)`.
        strides: int or pair.
        padding: `"same"`, `"valid"`, an int, or `((top, bottom), (left, right))`.
        dilation_rate: int or pair.
        groups: number of groups of channels, each with offsets and a mask of its own.
        offset_scale: factor on the offsets, which also stretches the kernel about its centre.
        dw_kernel_size: int or pair, of the depthwise convolution; None for none.
        center_feature_scale: whether each group mixes in the value at its centre, in a share learned from the sum.
        remove_center: whether to leave out the centre tap; for an odd `kernel_size`.
        output_bias: whether `output_proj` has a bias.
        without_pointwise: whether to leave out `value_proj` and `output_proj`.
        mask_bias_initializer: of those biases of `offset_mask` that belong to the mask, so it is what the mask starts
            as; the authors' start is zero. The other weights of `offset_mask` start at zero.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: `name`, `dtype`, `trainable`, and `frozen`: names of weights and inner layers that do not learn.

    Input shape:
        `(batch, height, width, channels)`; batch, height and width may be unknown. With `"channels_first"`
        `(batch, channels, height, width)`.

    Output shape:
        `(batch, out_height, out_width, channels)`, or `(batch, channels, out_height, out_width)`: sized as
        `keras.layers.Conv2D`'s.

    Attributes:
        value_proj, offset_mask_dw, offset_mask, center_feature_scale_proj, output_proj: the layers that own weights.
            `offset_mask` makes channels in the authors' order (see `deformconv.conventions`), and its weights are
            the authors' published ones: a dense kernel is their `weight` transposed, and the depthwise kernel
            is theirs transposed by `(2, 3, 0, 1)`.

    Raises:
        ValueError: if an argument or the input's shape is not as above.

    Example:
        >>> layer = DCNv4((3, 2), strides=(2, 1), groups=2)
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
        center_feature_scale: bool = False,
        remove_center: bool = False,
        output_bias: bool = True,
        without_pointwise: bool = False,
        mask_bias_initializer: Identifier = "zeros",
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
            dw_kernel_size,
            center_feature_scale,
            remove_center,
            data_format,
            **kwargs,
        )
        self.output_bias = output_bias
        self.without_pointwise = without_pointwise
        self.mask_bias_initializer = keras.initializers.get(mask_bias_initializer)

    def build(self, input_shape: Shape) -> None:
        channels = self._check_channels(input_shape)
        if not self.without_pointwise:
            self.value_proj = self._dense("value_proj", channels, channels, "glorot_uniform")
        self.offset_mask_dw = self._depthwise("offset_mask_dw", channels) if self.dw_kernel_size else None
        made = dcnv4_channels(self.kernel_size, self.groups, self.remove_center)
        self.offset_mask = self._dense_in_order("offset_mask", channels, made, self._initial_bias)
        if self.center_feature_scale:
            self.center_feature_scale_proj = self._dense("center_feature_scale_proj", channels, self.groups)
        if not self.without_pointwise:
            self.output_proj = self._dense(
                "output_proj", channels, channels, "glorot_uniform", use_bias=self.output_bias
            )
        self._freeze()

    def _initial_bias(self, shape: Shape, dtype: Any = None) -> Tensor:
        """Of `offset_mask`: zeros but for the mask's."""
        points = self.groups * self.kernel_size[0] * self.kernel_size[1]
        mask = self.mask_bias_initializer((points,), dtype=dtype)
        return to_dcnv4(
            ops.zeros(2 * points, dtype=dtype), mask, self.kernel_size, self.groups, remove_center=self.remove_center
        )

    def call(self, inputs: Tensor) -> Tensor:
        maps = self._channels_last(inputs)
        values = maps if self.without_pointwise else self.value_proj(maps)
        outputs = self._aggregate(values, *self.offsets_and_mask(inputs))
        if self.center_feature_scale:
            outputs = self._blend(outputs, values, self.center_feature_scale_proj(outputs))
        return self._turned(outputs if self.without_pointwise else self.output_proj(outputs))

    def offsets_and_mask(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The offsets and the mask that the layer gives to `inputs`, in `deform_conv2d`'s order and channels last."""
        order: dict[str, Any] = {"kernel_size": self.kernel_size, "groups": self.groups}
        order["remove_center"] = self.remove_center
        stretch: dict[str, Any] = {"dilation_rate": self.dilation_rate, "offset_scale": self.offset_scale}
        offsets_order = (
            lambda kernel: self.offset_scale * from_dcnv4(kernel, **order)[0],
            lambda bias: from_dcnv4(bias, **order, **stretch)[0],
        )
        mask_order = (lambda kernel: from_dcnv4(kernel, **order)[1], lambda bias: from_dcnv4(bias, **order)[1])
        maps = self._channels_last(inputs)
        with full_precision(maps):
            seen = self._at_centres(maps, self.offset_mask_dw)
        offsets, mask = self.offset_mask(seen, orders=[offsets_order, mask_order])
        return offsets, mask

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "output_bias": self.output_bias,
            "without_pointwise": self.without_pointwise,
            "mask_bias_initializer": keras.initializers.serialize(self.mask_bias_initializer),
        }
