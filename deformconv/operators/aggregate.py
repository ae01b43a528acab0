"""`deform_aggregate2d`: the weighted sum under taps that look where offsets send them; no kernel."""

from keras import ops

from deformconv import engines
from deformconv.arguments import (
    check_mask,
    check_offset_channels,
    check_padding,
    check_ranks,
    check_size,
    output_sizes,
    pair,
)
from deformconv.engines import sizes, switches
from deformconv.engines.columns import tap_positions
from deformconv.sampling import as_coordinates, as_float
from deformconv.types import Padding, Pair, Tensor


def deform_aggregate2d(
    inputs: Tensor,
    offsets: Tensor,
    mask: Tensor,
    *,
    kernel_size: Pair,
    strides: Pair = 1,
    padding: Padding = "valid",
    dilation_rate: Pair = 1,
) -> Tensor:
    """The sum under each pixel's taps, each weighed by the mask, channel by channel:

        y_g(p0) = sum_k  mask_gk(p0) * x_g(p0 + pk + offset_gk(p0))

    which is `deform_conv2d` with a depthwise kernel of ones, in less time. DCNv3 and DCNv4 are made of it.

    Args:
        inputs: float tensor `(batch, height, width, channels)`.
        offsets: `(batch, out_height, out_width, groups * kh * kw * 2)`, as `deform_conv2d` has them.
        mask: `(batch, out_height, out_width, groups * kh * kw)`.
        kernel_size, strides, padding, dilation_rate: as `deform_conv2d` has them.

    Returns:
        Tensor `(batch, out_height, out_width, channels)` of the inputs' type.

    Raises:
        ValueError: if the shapes do not fit together; the message names the likely slip.
    """
    inputs = as_float(ops.convert_to_tensor(inputs))
    offsets = as_coordinates(ops.convert_to_tensor(offsets))
    kernel, steps, rates = (
        pair("kernel_size", kernel_size),
        pair("strides", strides),
        pair("dilation_rate", dilation_rate),
    )
    axis_padding = check_padding(padding)
    check_ranks(inputs, offsets)
    groups = check_offset_channels(inputs, offsets, kernel)
    channels, taps = inputs.shape[-1], kernel[0] * kernel[1]
    batch, height, width, _ = ops.shape(inputs)
    out_size, pads = output_sizes((height, width), kernel, steps, rates, axis_padding)
    check_size("offsets", offsets, inputs, out_size)
    mask = ops.cast(ops.convert_to_tensor(mask), inputs.dtype)
    check_mask(mask, offsets, inputs, out_size, groups)
    recorder, _ = switches.here()
    if recorder is not None:  # ONNX has no node for it, but one for the convolution
        return recorder(
            inputs,
            offsets,
            ops.ones((*kernel, 1, channels), dtype=inputs.dtype),
            mask=mask,
            bias=None,
            strides=steps,
            pads=pads,
            out_size=out_size,
            dilation_rate=rates,
            groups=channels,
            offset_groups=groups,
        )
    out_size = sizes.expect_an_output(inputs, out_size)
    of_output = (batch, *out_size), "batch, height and width of the output"
    offsets, mask = sizes.expect("offsets", offsets, *of_output), sizes.expect("mask", mask, *of_output)
    rest = tap_positions(out_size, pads, kernel, steps, rates, offsets.dtype)
    # Side by side for all groups, so that it is added image by image: many short rows would take several times as long.
    coords = offsets + ops.reshape(ops.tile(rest[:, :, None], (1, 1, groups, 1, 1)), (*out_size, groups * taps * 2))
    points = out_size[0] * out_size[1]
    sums = engines.aggregate(
        inputs,
        ops.reshape(coords, (batch, points, groups, taps, 2)),
        ops.reshape(mask, (batch, points, groups, taps)),
    )
    return ops.reshape(sums, (batch, *out_size, channels))
