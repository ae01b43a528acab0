"""`deform_conv2d`: a convolution whose taps look where offsets send them."""

from typing import Any

import keras
from keras import ops

from deformconv import engines
from deformconv.arguments import (
    check_bias,
    check_channels,
    check_mask,
    check_padding,
    check_ranks,
    check_size,
    output_sizes,
    pair,
)
from deformconv.sampling import as_coordinates, as_float, float_type
from deformconv.symbolic import is_symbolic, with_shape
from deformconv.types import Padding, Pair, Tensor


def deform_conv2d(
    inputs: Tensor,
    offsets: Tensor,
    kernel: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    strides: Pair = 1,
    padding: Padding = "valid",
    dilation_rate: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Deformable convolution: a convolution whose taps look where `offsets` send them.

    For each output pixel `p0`, summing over the taps `pn` of the kernel,

        y(p0) = sum_n  w(pn) * mask_n(p0) * x(p0 + pn + offset_n(p0))

    (Dai et al. 2017, equation 2; the mask is that of Zhu et al. 2019.) `x` is read by bilinear interpolation, zero
    outside the image. With zero offsets it is `keras.layers.Conv2D`'s convolution, whatever the strides,
    padding, dilation and groups.

    Args:
        inputs: float tensor `(batch, height, width, channels)`.
        offsets: `(batch, out_height, out_width, offset_groups * kh * kw * 2)` in pixels of `inputs`; on the last
            axis the offset group is outermost, then the tap row by row, then `(y, x)`. The number of offset
            groups is read off this axis: each group of channels has sampling points of its own.
        kernel: `(kh, kw, channels // groups, filters)`.
        mask: None, or `(batch, out_height, out_width, offset_groups * kh * kw)`: a factor for each tap.
        bias: None, or `(filters,)`.
        strides: int or pair `(y, x)`.
        padding: `"valid"`, `"same"` (Keras's: with strides the odd pixel goes after), an int, or
            `((top, bottom), (left, right))`.
        dilation_rate: int or pair `(y, x)`.
        groups: number of groups that channels and filters are split into.

    Returns:
        Tensor `(batch, out_height, out_width, filters)` of the inputs' type.

    Raises:
        ValueError: if the shapes do not fit together; the message names the likely slip.

    Example:
        >>> x, kernel = np.ones((1, 5, 4, 2)), np.ones((3, 2, 2, 6))
        >>> tuple(deform_conv2d(x, np.zeros((1, 3, 3, 12)), kernel).shape)
        (1, 3, 3, 6)
    """
    options: dict[str, Any] = {"strides": strides, "padding": padding}
    options |= {"dilation_rate": dilation_rate, "groups": groups}
    if is_symbolic(inputs, offsets, kernel, mask, bias):
        return DeformConv2D(**options)(inputs, offsets, kernel, mask=mask, bias=bias)
    inputs = as_float(ops.convert_to_tensor(inputs))
    offsets = as_coordinates(ops.convert_to_tensor(offsets))
    kernel = ops.cast(ops.convert_to_tensor(kernel), inputs.dtype)
    mask, bias = (None if t is None else ops.cast(ops.convert_to_tensor(t), inputs.dtype) for t in (mask, bias))
    checked = _checked(inputs, offsets, kernel, mask, bias, **options)
    return engines.convolve(inputs, offsets, kernel, mask=mask, bias=bias, **checked)


def _checked(
    inputs: Tensor,
    offsets: Tensor,
    kernel: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    strides: Pair,
    padding: Padding,
    dilation_rate: Pair,
    groups: int,
) -> dict[str, Any]:
    """What `engines.convolve` is told besides tensors. Of these only shapes are looked at."""
    strides = pair("strides", strides)
    dilation_rate = pair("dilation_rate", dilation_rate)
    axis_padding = check_padding(padding)
    check_ranks(inputs, offsets, kernel)
    offset_groups = check_channels(inputs, offsets, kernel, groups)
    size = ops.shape(inputs)[1:3]
    out_size, pads = output_sizes(size, tuple(kernel.shape[:2]), strides, dilation_rate, axis_padding)
    check_size("offsets", offsets, inputs, out_size)
    if mask is not None:
        check_mask(mask, offsets, inputs, out_size, offset_groups)
    if bias is not None:
        check_bias(bias, kernel.shape[3], inputs.shape[-1])
    return {
        "strides": strides,
        "pads": pads,
        "out_size": out_size,
        "dilation_rate": dilation_rate,
        "groups": groups,
        "offset_groups": offset_groups,
    }


@keras.saving.register_keras_serializable(package="deformconv")
class DeformConv2D(keras.Operation):
    """`deform_conv2d` as a step of a functional model."""

    def __init__(self, strides: Pair, padding: Padding, dilation_rate: Pair, groups: int, *, name: str | None = None):
        super().__init__(name=name)
        self.options: dict[str, Any] = {"strides": strides, "padding": padding}
        self.options |= {"dilation_rate": dilation_rate, "groups": groups}

    def call(
        self,
        inputs: Tensor,
        offsets: Tensor,
        kernel: Tensor,
        mask: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        return deform_conv2d(inputs, offsets, kernel, mask=mask, bias=bias, **self.options)

    def compute_output_spec(
        self,
        inputs: Tensor,
        offsets: Tensor,
        kernel: Tensor,
        mask: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> keras.KerasTensor:
        inputs, offsets, kernel, mask, bias = map(with_shape, (inputs, offsets, kernel, mask, bias))
        out_size = _checked(inputs, offsets, kernel, mask, bias, **self.options)["out_size"]
        return keras.KerasTensor((inputs.shape[0], *out_size, kernel.shape[3]), float_type(inputs))
