"""`convolve` in two steps: the values under every tap, side by side, then one matrix product. Any engine."""

from keras import ops

from deformconv.engines import grouped, sizes


def convolve(
    sample,
    inputs,
    offsets,
    kernel,
    *,
    mask,
    bias,
    strides,
    pads,
    out_size,
    dilation_rate,
    groups,
    offset_groups,
):
    """The deformable convolution of checked arguments, as `engines.convolve`; `sample` reads between the pixels."""
    batch, channels = ops.shape(inputs)[0], inputs.shape[-1]
    kernel_size, filters = tuple(kernel.shape[:2]), kernel.shape[3]
    taps = kernel_size[0] * kernel_size[1]
    out_size = sizes.expect_an_output(inputs, out_size)
    offsets = sizes.expect("offsets", offsets, (batch, *out_size), "batch, height and width of the output")
    if mask is not None:
        mask = sizes.expect("mask", mask, (batch, *out_size), "batch, height and width of the output")
    rest = tap_positions(out_size, pads, kernel_size, strides, dilation_rate, offsets.dtype)
    coords = ops.reshape(offsets, (batch, *out_size, offset_groups, taps, 2)) + ops.expand_dims(rest, axis=2)
    points = out_size[0] * out_size[1] * taps  # not -1 below: PyTorch cannot tell it from an empty batch
    by_tap = ops.reshape(ops.transpose(coords, (0, 1, 2, 4, 3, 5)), (batch, points, offset_groups, 2))
    columns = grouped.sample(sample, inputs, by_tap)
    if mask is not None:
        # (b, h', w', og * k) -> one factor per tap and offset group, shared by the group's channels
        weights = ops.reshape(mask, (batch, *out_size, offset_groups, taps))
        # Not `[..., None]`: LiteRT has slices of five axes at most.
        weights = ops.expand_dims(ops.transpose(weights, (0, 1, 2, 4, 3)), axis=-1)
        columns = ops.reshape(columns, (batch, *out_size, taps, offset_groups, channels // offset_groups)) * weights
    outputs = _multiply(columns, kernel, groups, taps, channels)
    outputs = ops.reshape(outputs, (batch, *out_size, filters))
    return outputs if bias is None else outputs + bias


def tap_positions(out_size, pads, kernel_size, strides, dilation_rate, dtype):
    """Where each tap of each output pixel looks at zero offset: `(h', w', kh * kw, 2)`."""
    tap_rows, tap_columns = ops.meshgrid(
        ops.arange(kernel_size[0], dtype=dtype) * dilation_rate[0],
        ops.arange(kernel_size[1], dtype=dtype) * dilation_rate[1],
        indexing="ij",
    )
    rows, columns = (
        ops.arange(size, dtype=dtype) * stride - ops.cast(pad, dtype)
        for size, stride, pad in zip(out_size, strides, pads, strict=True)
    )
    y = rows[:, None, None] + ops.reshape(tap_rows, (-1,))
    x = columns[None, :, None] + ops.reshape(tap_columns, (-1,))
    return ops.convert_to_tensor(ops.stack([y + ops.zeros_like(x), x + ops.zeros_like(y)], axis=-1))


def _multiply(columns, kernel, groups, taps, channels):
    """Sum over taps and channels: one matrix product a group. Returns `(b * h' * w', filters)`."""
    seen, filters = kernel.shape[2:]
    if groups == 1:
        # Not `ops.matmul`, which on PyTorch computes float64 in float32.
        return ops.reshape(columns, (-1, taps * channels)) @ ops.reshape(kernel, (taps * channels, filters))
    if groups == channels == filters:  # depthwise: nothing to multiply, only to weigh and add
        return ops.sum(ops.reshape(columns, (-1, taps, channels)) * ops.reshape(kernel, (taps, channels)), axis=1)
    columns = ops.reshape(columns, (-1, taps, groups, seen))
    kernel = ops.reshape(kernel, (taps, seen, groups, filters // groups))
    return ops.reshape(ops.einsum("nkgc,kcgf->ngf", columns, kernel), (-1, filters))
