"""`deform_conv2d`: a convolution whose taps look where offsets send them."""

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
from deformconv.sampling import as_coordinates, as_float
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
    inputs = as_float(ops.convert_to_tensor(inputs))
    offsets = as_coordinates(ops.convert_to_tensor(offsets))
    kernel = ops.cast(ops.convert_to_tensor(kernel), inputs.dtype)
    strides = pair("strides", strides)
    dilation_rate = pair("dilation_rate", dilation_rate)
    axis_padding = check_padding(padding)
    check_ranks(inputs, offsets, kernel)
    kernel_size, filters = tuple(kernel.shape[:2]), kernel.shape[3]
    offset_groups = check_channels(inputs, offsets, kernel, groups)

    batch, height, width, channels = ops.shape(inputs)
    out_size, pads = output_sizes((height, width), kernel_size, strides, dilation_rate, axis_padding)
    check_size("offsets", offsets, inputs, out_size)
    if mask is not None:
        mask = ops.cast(ops.convert_to_tensor(mask), inputs.dtype)
        check_mask(mask, offsets, inputs, out_size, offset_groups)
    if bias is not None:
        bias = ops.cast(ops.convert_to_tensor(bias), inputs.dtype)
        check_bias(bias, filters, channels)

    return engines.convolve(
        inputs,
        offsets,
        kernel,
        mask=mask,
        bias=bias,
        strides=strides,
        pads=pads,
        out_size=out_size,
        dilation_rate=dilation_rate,
        groups=groups,
        offset_groups=offset_groups,
    )
