"""`deform_aggregate2d`: the weighted sum under taps that look where offsets send them; no kernel."""

from keras import ops

from deformconv import engines
from deformconv.arguments import check_padding, output_size, pair
from deformconv.engines import switches
from deformconv.engines.columns import tap_positions


def deform_aggregate2d(inputs, offsets, mask, *, kernel_size, strides=1, padding="valid", dilation_rate=1):
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
    """
    kernel_size, strides, dilation_rate = (
        pair("kernel_size", kernel_size),
        pair("strides", strides),
        pair("dilation_rate", dilation_rate),
    )
    channels, taps = inputs.shape[-1], kernel_size[0] * kernel_size[1]
    batch, height, width, _ = ops.shape(inputs)
    axes = zip((height, width), kernel_size, strides, dilation_rate, check_padding(padding), strict=True)
    out_size, pads = zip(*(output_size(size, *rest) for size, *rest in axes), strict=True)
    groups = mask.shape[-1] // taps
    mask = ops.cast(mask, inputs.dtype)
    recorder, _ = switches.here()
    if recorder is not None:  # ONNX has no node for it, but one for the convolution
        kernel = ops.ones((*kernel_size, 1, channels), dtype=inputs.dtype)
        return recorder(
            inputs,
            offsets,
            kernel,
            mask=mask,
            bias=None,
            strides=strides,
            pads=pads,
            out_size=out_size,
            dilation_rate=dilation_rate,
            groups=channels,
            offset_groups=groups,
        )
    rest = tap_positions(out_size, pads, kernel_size, strides, dilation_rate, offsets.dtype)
    coords = ops.reshape(offsets, (batch, *out_size, groups, taps, 2)) + rest[:, :, None]
    points = out_size[0] * out_size[1]
    sums = engines.aggregate(
        inputs,
        ops.reshape(coords, (batch, points, groups, taps, 2)),
        ops.reshape(mask, (batch, points, groups, taps)),
    )
    return ops.reshape(sums, (batch, *out_size, channels))
