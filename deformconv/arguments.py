"""What a deformable convolution accepts: sizes and checks, with messages that name the likely slip."""

import math
from operator import index


def output_size(size, kernel_size, stride, dilation, padding):
    """One axis of the output, and the zeros before the input: `(out_size, pad_before)`. `size` may be a tensor."""
    span = (kernel_size - 1) * dilation + 1
    if padding == "same":
        out = (size + stride - 1) // stride
        missing = (out - 1) * stride + span - size
        missing = (missing + abs(missing)) // 2  # max(missing, 0), for tensors too
        return out, missing // 2
    before, after = (0, 0) if padding == "valid" else padding
    return (size + before + after - span) // stride + 1, before


def pair(name, value):
    """`strides` or `dilation_rate` as a pair of positive ints."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2 or not all(isinstance(v, int) and v > 0 for v in values):
        raise ValueError(f"`{name}` must be a positive int or a pair (y, x) of them; received {value!r}.")
    return values


def check_padding(padding):
    """The padding of the two axes: each `"valid"`, `"same"` or `(before, after)`."""
    if padding in ("valid", "same"):
        return padding, padding
    if isinstance(padding, int):
        padding = ((padding, padding), (padding, padding))
    try:
        (top, bottom), (left, right) = padding
        amounts = ((index(top), index(bottom)), (index(left), index(right)))
    except (TypeError, ValueError):
        amounts = None
    if amounts is None or min(amounts[0] + amounts[1]) < 0:
        raise ValueError(
            f'`padding` must be "valid", "same", an int >= 0 or ((top, bottom), (left, right)); received {padding!r}.'
        )
    return amounts


def check_ranks(inputs, offsets, kernel):
    for name, tensor, form in (
        ("inputs", inputs, "(batch, height, width, channels)"),
        ("offsets", offsets, "(batch, out_height, out_width, offset_groups * kh * kw * 2)"),
        ("kernel", kernel, "(kh, kw, channels // groups, filters)"),
    ):
        if len(tensor.shape) != 4:
            raise ValueError(f"`{name}` must have shape {form}; received shape {tuple(tensor.shape)}.")


def check_channels(inputs, offsets, kernel, groups):
    """Checks the channel counts and returns the number of offset groups."""
    channels = inputs.shape[-1]
    kernel_height, kernel_width, seen, filters = kernel.shape
    if not isinstance(groups, int) or groups < 1 or filters % groups:
        raise ValueError(
            f"`groups` must be a positive int that divides the {filters} filters of `kernel`; received {groups!r}."
        )
    if channels != seen * groups:
        slip = ""
        if inputs.shape[1] == seen * groups:
            slip = " The second axis of `inputs` has that many: are they channels first? Move the channels to the end."
        raise ValueError(
            f"`inputs` must have {seen * groups} channels on the last axis, as `kernel` of shape "
            f"{tuple(kernel.shape)} with groups={groups} expects; received shape {tuple(inputs.shape)}.{slip}"
        )
    if offsets.shape[-1] is None:
        raise ValueError(f"The last axis of `offsets` must be known; received shape {tuple(offsets.shape)}.")
    per_group = 2 * kernel_height * kernel_width
    offset_groups, remainder = divmod(offsets.shape[-1], per_group)
    if remainder or offset_groups == 0:
        raise ValueError(
            f"`offsets` must have offset_groups * kh * kw * 2 channels, a multiple of {per_group} for a "
            f"{kernel_height} x {kernel_width} kernel; received {offsets.shape[-1]}."
            f"{_offsets_slip(offsets.shape, kernel_height * kernel_width)}"
        )
    if channels % offset_groups:
        raise ValueError(
            f"`offsets` has {offsets.shape[-1]} channels, that is {offset_groups} offset groups, "
            f"which must divide the {channels} channels of `inputs`."
        )
    return offset_groups


def _offsets_slip(shape, taps):
    """The likely reasons for a wrong number of offset channels, as a sentence each."""
    count = shape[-1]
    slips = []
    if shape[1] and shape[1] % (2 * taps) == 0:
        slips.append(" The second axis has: are the offsets channels first?")
    if count == taps:
        slips.append(" That is one value a tap: y and x are needed, in this order.")
    if count == 3 * taps:
        slips.append(" That is offsets and mask together: pass the last kh * kw channels as `mask`.")
    side = math.isqrt(count // 2)
    if 2 * side * side == count:
        slips.append(f" That would fit a {side} x {side} kernel.")
    return "".join(slips)


def check_size(name, tensor, inputs, out_size):
    """Batch, height and width of `offsets` or `mask` are those of the output, where they are known."""
    # A size that only the running graph knows is a tensor here: it fits anything.
    expected = tuple(size if isinstance(size, int) else None for size in (inputs.shape[0], *out_size))
    for got, want in zip(tensor.shape[:3], expected, strict=True):
        if isinstance(got, int) and isinstance(want, int) and got != want:
            slip, size = "", tuple(tensor.shape[1:3])
            if size == expected[1:]:
                pass  # it is the batch
            elif size == (expected[2], expected[1]):
                slip = " Height and width look swapped."
            elif size == tuple(inputs.shape[1:3]):
                slip = " That is the size of `inputs`: check strides and padding of the layer that makes them."
            raise ValueError(
                f"`{name}` must have batch, height and width {expected}, those of the output; "
                f"received shape {tuple(tensor.shape)}.{slip}"
            )


def check_mask(mask, offsets, inputs, out_size):
    if len(mask.shape) != 4 or mask.shape[-1] * 2 != offsets.shape[-1]:
        raise ValueError(
            "`mask` must have shape (batch, out_height, out_width, offset_groups * kh * kw), here with "
            f"{offsets.shape[-1] // 2} channels, half those of `offsets`; received shape {tuple(mask.shape)}."
        )
    check_size("mask", mask, inputs, out_size)
