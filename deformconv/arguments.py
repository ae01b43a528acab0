"""What a deformable convolution accepts: sizes and checks, with messages that name the likely slip."""

import math
from collections.abc import Sequence
from operator import index
from typing import Any

import keras

from deformconv.types import Pair, Shape, Tensor

AxisPadding = str | tuple[int, int]  # "valid", "same" or the zeros before and after


def output_size(size: Any, kernel_size: int, stride: int, dilation: int, padding: AxisPadding) -> tuple[Any, Any]:
    """One axis of the output, and the zeros before the input: `(out_size, pad_before)`. `size`: int, tensor, None."""
    if size is None:
        return None, None
    span = (kernel_size - 1) * dilation + 1
    if padding == "same":
        out = _rounded_up(size, stride)
        missing = (out - 1) * stride + span - size
        missing = _at_least_zero(missing)
        return out, missing // 2
    before, after = (0, 0) if isinstance(padding, str) else padding
    return (size + before + after - span) // stride + 1, before


def _rounded_up(size: Any, stride: int) -> Any:
    """A quotient of ints, tensors or JAX's symbolic sizes."""
    if _is_symbolic(size):
        return -(-size // stride)  # as JAX writes it: symbolic sizes are compared by their form
    return (size + stride - 1) // stride


def _at_least_zero(number: Any) -> Any:
    """The number, or 0 if it is negative: likewise."""
    if _is_symbolic(number):
        from jax.core import max_dim

        return max_dim(number, 0)
    return (number + abs(number)) // 2


def _is_symbolic(size: Any) -> bool:
    """Whether it is one of JAX's sizes that have a name: they know no `abs`."""
    return keras.backend.backend() == "jax" and not isinstance(size, int)


def _is_size(size: Any) -> bool:
    """Whether it can be compared now: an int or a name, not a tensor."""
    return isinstance(size, int) or not hasattr(size, "shape")  # of PyTorch's symbolic ints, no `hasattr`


def output_sizes(
    inputs_size: Sequence[Any],
    kernel_size: Sequence[int],
    strides: Sequence[int],
    dilation_rate: Sequence[int],
    padding: Sequence[AxisPadding],
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """`(out_size, pads)`: height and width of the output, and the zeros above and to the left of the input.

    Args:
        inputs_size: height and width of the input; a size may be a tensor, or None.
        kernel_size, strides, dilation_rate: pairs `(y, x)`.
        padding: of the two axes, from `check_padding`.
    """
    axes = zip(inputs_size, kernel_size, strides, dilation_rate, padding, strict=True)
    out_size, pads = zip(*(output_size(*axis) for axis in axes), strict=True)
    if any(isinstance(size, int) and size < 1 for size in out_size):
        raise ValueError(
            f"`inputs` must be at least as large as the dilated kernel, padding included; received height and width "
            f"{tuple(inputs_size)} with kernel_size={kernel_size}, dilation_rate={dilation_rate}. "
            'Does the network shrink its images too often? padding="same" takes any size.'
        )
    return out_size, pads


def pair(name: str, value: Pair) -> tuple[int, int]:
    """`strides`, `dilation_rate` or a size as a pair of positive ints."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2 or not all(_is_count(v) for v in values):
        slip = ""
        if len(values) != 2:
            slip = " There are two axes, height and width; batch and channels are left out."
        elif any(isinstance(v, int) for v in values):
            slip = " The least is 1, which leaves an axis as it is."
        elif any(isinstance(v, float) for v in values):
            slip = " Is it a quotient? `//` keeps an int whole."
        elif any(isinstance(v, str) for v in values):
            slip = " Is it text from a file or a command line? Convert it with int()."
        raise ValueError(f"`{name}` must be a positive int or a pair (y, x) of them; received {value!r}.{slip}")
    return values


def check_count(name: str, value: int, slip: str = "") -> None:
    """`slip`: what an int below 1 may have meant."""
    if not _is_count(value):
        if isinstance(value, float):
            slip = " Is it a quotient? `//` keeps an int whole."
        elif isinstance(value, int):
            slip = f" The least is 1.{slip}"
        raise ValueError(f"`{name}` must be a positive int; received {value!r}.{slip}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def check_padding(padding: Any) -> tuple[AxisPadding, AxisPadding]:
    """The padding of the two axes: each `"valid"`, `"same"` or `(before, after)`."""
    if isinstance(padding, str) and padding in ("valid", "same"):
        return padding, padding
    amounts = None
    try:
        if isinstance(padding, int):
            amounts = ((index(padding),) * 2,) * 2
        else:
            (top, bottom), (left, right) = padding
            amounts = ((index(top), index(bottom)), (index(left), index(right)))
    except (TypeError, ValueError):
        pass
    if amounts is None or min(amounts[0] + amounts[1]) < 0:
        raise ValueError(
            '`padding` must be "valid", "same", an int >= 0 or ((top, bottom), (left, right)); '
            f"received {padding!r}.{_padding_slip(padding, amounts)}"
        )
    return amounts


def _padding_slip(padding: Any, amounts: tuple | None) -> str:
    if amounts:
        return " To cut pixels off, slice `inputs`."
    if isinstance(padding, str):
        return " Keras writes it in small letters." if padding.lower() in ("valid", "same") else ""
    if padding is None:
        return ' No padding is "valid".'
    if isinstance(padding, (tuple, list)) and all(isinstance(p, int) for p in padding):
        if len(padding) == 2:
            y, x = padding
            return f" As much on both sides is (({y}, {y}), ({x}, {x}))."
        if len(padding) == 4:
            return " PyTorch lists (left, right, top, bottom) and ONNX (top, left, bottom, right): which one is it?"
    return ""


def check_ranks(inputs: Tensor, offsets: Tensor, kernel: Tensor | None = None) -> None:
    for name, tensor, form in (
        ("inputs", inputs, "(batch, height, width, channels)"),
        ("offsets", offsets, "(batch, out_height, out_width, offset_groups * kh * kw * 2)"),
        ("kernel", kernel, "(kh, kw, channels // groups, filters)"),
    ):
        if tensor is not None:
            check_rank(name, tensor, form)


def check_rank(name: str, tensor: Tensor, form: str) -> None:
    """`form` names the axes that `tensor` must have, as `"(batch, height, width, channels)"`."""
    rank = form.count(",") + 1
    if len(tensor.shape) != rank:
        slip = ""
        if len(tensor.shape) == rank - 1 and form.startswith("(batch"):
            slip = f" Is the batch axis missing? For one image pass `{name}[None]`."
        elif len(tensor.shape) > rank:
            slip = " Reshape the axes that are too many into the last one."
        elif name == "kernel":
            slip = " Is it the kernel of a 1D convolution? Give it a height of 1: `kernel[None]`."
        raise ValueError(f"`{name}` must have shape {form}; received shape {tuple(tensor.shape)}.{slip}")


def check_channels(inputs: Tensor, offsets: Tensor, kernel: Tensor, groups: int) -> int:
    """Checks the channel counts and returns the number of offset groups."""
    channels = inputs.shape[-1]
    kernel_height, kernel_width, seen, filters = kernel.shape
    if not _is_count(groups) or filters % groups:
        raise ValueError(
            f"`groups` must be a positive int that divides the {filters} filters of `kernel`; received {groups!r}."
            f" Each group makes as many filters: {divisors(filters)} would do."
        )
    if channels != seen * groups:
        raise ValueError(
            f"`inputs` must have {seen * groups} channels on the last axis, as `kernel` of shape "
            f"{tuple(kernel.shape)} with groups={groups} expects; received shape {tuple(inputs.shape)}."
            f"{_channels_slip(inputs.shape, kernel.shape, groups)}"
        )
    return check_offset_channels(inputs, offsets, (kernel_height, kernel_width))


def check_offset_channels(inputs: Tensor, offsets: Tensor, kernel_size: tuple[int, int]) -> int:
    """Checks the channel count of offsets and returns the number of offset groups."""
    channels, (kernel_height, kernel_width) = inputs.shape[-1], kernel_size
    if offsets.shape[-1] is None:
        raise ValueError(
            f"`offsets` must have a known last axis; received shape {tuple(offsets.shape)}. "
            "The number of offset groups is read off it: set its shape where the tensor is made."
        )
    per_group = 2 * kernel_height * kernel_width
    # Not `divmod`, which PyTorch's symbolic sizes lack.
    offset_groups, remainder = offsets.shape[-1] // per_group, offsets.shape[-1] % per_group
    if remainder or offset_groups == 0:
        raise ValueError(
            f"`offsets` must have offset_groups * kh * kw * 2 channels, a multiple of {per_group} for a "
            f"{kernel_height} x {kernel_width} kernel; received {offsets.shape[-1]}."
            f"{_offsets_slip(offsets.shape, kernel_height * kernel_width)}"
        )
    if channels % offset_groups:
        raise ValueError(
            f"`offsets` must have as many offset groups as divide the {channels} channels of `inputs`; received "
            f"{offsets.shape[-1]} channels, that is {offset_groups} offset groups. {divisors(channels)} would do."
        )
    return offset_groups


def divisors(number: int) -> str:
    """Those of `number`, to read: `1, 2 or 4`."""
    *most, last = (str(d) for d in range(1, number + 1) if number % d == 0)
    return f"{', '.join(most)} or {last}" if most else last


def _channels_slip(shape: Shape, kernel_shape: Any, groups: int) -> str:
    """The likely reason for inputs whose channels do not fit the kernel."""
    _, kernel_width, seen, _ = kernel_shape
    if shape[1] == seen * groups:
        return " The second axis of `inputs` has that many: are they channels first? Move the channels to the end."
    if groups > 1 and shape[-1] == seen:
        return " The third axis of `kernel` counts the channels of one group, not all of them."
    if shape[-1] == kernel_width * groups:
        return (
            " Is `kernel` in the order (filters, channels, kh, kw) of PyTorch and ONNX? Transpose it by (2, 3, 1, 0)."
        )
    return " Was the kernel made for another input?"


def _offsets_slip(shape: Any, taps: int) -> str:
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
    if side and 2 * side * side == count:
        slips.append(f" That would fit a {side} x {side} kernel.")
    return "".join(slips)


def check_size(name: str, tensor: Tensor, inputs: Tensor, out_size: tuple) -> None:
    """Batch, height and width of `offsets` or `mask` are those of the output, where they are known."""
    # A size that only the running graph knows is a tensor here: it fits anything. One with a name, in a program that
    # JAX exports, fits what has the same name.
    expected = tuple(size if _is_size(size) else None for size in (inputs.shape[0], *out_size))
    for got, want in zip(tensor.shape[:3], expected, strict=True):
        if got is not None and want is not None and got != want:
            slip, size = "", tuple(tensor.shape[1:3])
            if size == expected[1:]:
                slip = " The batch differs: each image needs its own; ops.repeat gives all the same."
            elif size == (expected[2], expected[1]):
                slip = " Height and width look swapped."
            elif size == tuple(inputs.shape[1:3]):
                slip = " That is the size of `inputs`: check strides and padding of the layer that makes them."
            raise ValueError(
                f"`{name}` must have batch, height and width {expected}, those of the output; "
                f"received shape {tuple(tensor.shape)}.{slip}"
            )


def check_mask(mask: Tensor, offsets: Tensor, inputs: Tensor, out_size: tuple, offset_groups: int) -> None:
    check_rank("mask", mask, "(batch, out_height, out_width, offset_groups * kh * kw)")
    expected, received = offsets.shape[-1] // 2, mask.shape[-1]
    if received != expected:
        slip = ""
        if received == 2 * expected:
            slip = " It takes one factor for a tap, not one each for y and x."
        elif received * offset_groups == expected:
            slip = f" Each of the {offset_groups} offset groups needs its own: repeat it on the last axis."
        elif received == 3 * expected:
            slip = " That is offsets and mask together: pass the last third alone."
        raise ValueError(
            f"`mask` must have offset_groups * kh * kw channels, here {expected}, half those of `offsets`; "
            f"received shape {tuple(mask.shape)}.{slip}"
        )
    check_size("mask", mask, inputs, out_size)


def check_bias(bias: Tensor, filters: int, channels: int) -> None:
    if tuple(bias.shape) != (filters,):
        slip = ""
        if len(bias.shape) == 0:
            slip = " One number for all filters can be added to the output."
        elif tuple(bias.shape) == (channels,):
            slip = " That is one a channel of `inputs`."
        elif math.prod(bias.shape) == filters:
            slip = f" Reshape it to ({filters},)."
        raise ValueError(
            f"`bias` must have shape ({filters},), one value a filter; received shape {tuple(bias.shape)}.{slip}"
        )


def check_boxes(inputs: Tensor, boxes: Tensor) -> None:
    check_rank("inputs", inputs, "(batch, height, width, channels)")
    check_rank("boxes", boxes, "(batch, boxes, 4)")
    if boxes.shape[-1] != 4:
        slip = ""
        if boxes.shape[-1] == 5:
            slip = " Is the first column the image's number? Here the batch axis tells it: sort the boxes by image."
        raise ValueError(
            "`boxes` must have 4 values on the last axis, the edges (y1, x1, y2, x2); "
            f"received shape {tuple(boxes.shape)}.{slip}"
        )
    if None not in (inputs.shape[0], boxes.shape[0]) and inputs.shape[0] != boxes.shape[0]:
        raise ValueError(
            f"`boxes` must have the batch size of `inputs`, {inputs.shape[0]}; received shape {tuple(boxes.shape)}. "
            "Every image needs as many boxes: fill up with boxes of zeros."
        )


def check_per_bin(name: str, tensor: Tensor, boxes: Tensor, per_box: tuple[int, ...]) -> None:
    """`offsets` or `mask` of a RoI pooling: shape `(batch, boxes, *per_box)`, where that is known."""
    expected = (boxes.shape[0], boxes.shape[1], *per_box)
    received = tuple(tensor.shape)
    known = len(received) == len(expected)
    if not known or any(None not in (a, b) and a != b for a, b in zip(received, expected, strict=True)):
        slip = ""
        if known and received[2:4] == (per_box[1], per_box[0]):
            slip = " Height and width look swapped."
        elif None not in received[2:] and math.prod(received[2:]) == math.prod(per_box):
            slip = " The count is right: reshape it."
        raise ValueError(
            f"`{name}` must have shape {expected}, batch, boxes, then a value for each bin; "
            f"received shape {received}.{slip}"
        )
