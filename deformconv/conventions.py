"""Offsets and masks in the order of other implementations, converted to and from the order of this package.

The last axis of offsets and mask, from the outermost part to the innermost:

==========================  =============================================  ===========================
implementation              offsets                                        mask
==========================  =============================================  ===========================
here                        group, tap row by row, `(y, x)`                group, tap row by row
torchvision, ONNX, MMCV     the same, but channels first: move axis 1      the same
                            to the end
DCNv3 (Wang et al. 2023)    group, tap column by column, `(x, y)`          group, tap column by column
DCNv4 (Xiong et al. 2024)   for each group its offsets as DCNv3's, then    in the same tensor
                            its mask; zeros at the end
==========================  =============================================  ===========================

DCNv4 fills the axis up to a multiple of 8. DCNv3 and DCNv4 also say otherwise where the tap in column `i` looks (rows
likewise), for output column `j`, offset `dx`, and `half = dilation_rate * (kernel_width - 1) // 2`:

==============  =============================================================================
implementation  column of the input
==============  =============================================================================
here            `j * stride - pad + i * dilation_rate + dx`
DCNv3, DCNv4    `j * stride - pad + half + offset_scale * (i * dilation_rate - half + dx)`
==============  =============================================================================

So `offset_scale` multiplies the offset and also stretches the kernel about its centre. With `remove_center` they leave
out the centre tap; here it stays, at offset 0 with a mask of 0.

Every function takes the last axis of a tensor of any rank, and leaves the axes before it alone. All but the stretch is
a permutation of channels, so each has an inverse. `kernel_size` and `dilation_rate` are ints or pairs `(y, x)`.
"""

import math
from typing import Any

import numpy as np
from keras import ops

from deformconv.arguments import check_count, pair
from deformconv.sampling import as_coordinates
from deformconv.types import Pair, Tensor


def offsets_from_dcnv3(
    offsets: Tensor,
    kernel_size: Pair,
    groups: int,
    *,
    dilation_rate: Pair = 1,
    offset_scale: float = 1.0,
    remove_center: bool = False,
) -> Tensor:
    """DCNv3's offsets as `deform_conv2d` takes them.

    Args:
        offsets: `(..., groups * taps * 2)`, where `taps` is `kh * kw`, or one less with `remove_center`.
        kernel_size, groups, dilation_rate, offset_scale, remove_center: those of the operator the offsets are for.

    Returns:
        Tensor `(..., groups * kh * kw * 2)`, float32 at least.

    Raises:
        ValueError: if the last axis does not fit, or `remove_center` is asked of a kernel of even height or width.

    Example:
        >>> ours = offsets_from_dcnv3(np.arange(8.0), kernel_size=2, groups=1)  # the middle taps change places
        >>> ops.convert_to_numpy(ours).tolist()
        [1.0, 0.0, 5.0, 4.0, 3.0, 2.0, 7.0, 6.0]
    """
    offsets = as_coordinates(ops.convert_to_tensor(offsets))
    taps = _rows_first(_split("offsets", offsets, kernel_size, groups, 2, remove_center), kernel_size)
    taps = ops.flip(taps, axis=-1)
    if offset_scale != 1:
        taps = taps * offset_scale + _stretch(kernel_size, dilation_rate, offset_scale, taps.dtype)
    return _join(taps, 4)


def offsets_to_dcnv3(
    offsets: Tensor,
    kernel_size: Pair,
    groups: int,
    *,
    dilation_rate: Pair = 1,
    offset_scale: float = 1.0,
    remove_center: bool = False,
) -> Tensor:
    """The inverse of `offsets_from_dcnv3`; with `remove_center` it drops the centre tap, whatever its offset.

    Example:
        >>> from deformconv.conventions import offsets_to_dcnv3
        >>> theirs = offsets_to_dcnv3([1.0, 0, 5, 4, 3, 2, 7, 6], kernel_size=2, groups=1)
        >>> ops.convert_to_numpy(theirs).tolist()
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    """
    offsets = as_coordinates(ops.convert_to_tensor(offsets))
    height, width = pair("kernel_size", kernel_size)
    taps = _split("offsets", offsets, kernel_size, groups, 2, False)
    taps = ops.reshape(taps, (*ops.shape(taps)[:-2], height, width, 2))
    if offset_scale != 1:
        taps = (taps - _stretch(kernel_size, dilation_rate, offset_scale, taps.dtype)) / offset_scale
    return _join(_columns_first(ops.flip(taps, axis=-1), kernel_size, remove_center), 3)


def mask_from_dcnv3(mask: Tensor, kernel_size: Pair, groups: int, *, remove_center: bool = False) -> Tensor:
    """DCNv3's mask, after its softmax, as `deform_conv2d` takes it.

    Args:
        mask: `(..., groups * taps)`, where `taps` is `kh * kw`, or one less with `remove_center`.
        kernel_size, groups, remove_center: those of the operator the mask is for.

    Returns:
        Tensor `(..., groups * kh * kw)` of the mask's type, 0 at the centre with `remove_center`.

    Raises:
        ValueError: as `offsets_from_dcnv3`.

    Example:
        >>> from deformconv.conventions import mask_from_dcnv3
        >>> ours = mask_from_dcnv3(np.arange(6.0), kernel_size=(2, 3), groups=1)  # two rows from three columns
        >>> ops.convert_to_numpy(ours).tolist()
        [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]
    """
    taps = _split("mask", ops.convert_to_tensor(mask), kernel_size, groups, 1, remove_center)
    return _join(_rows_first(taps, kernel_size), 4)


def mask_to_dcnv3(mask: Tensor, kernel_size: Pair, groups: int, *, remove_center: bool = False) -> Tensor:
    """The inverse of `mask_from_dcnv3`; with `remove_center` it drops the centre tap, whatever its mask.

    Example:
        >>> from deformconv.conventions import mask_to_dcnv3
        >>> ops.convert_to_numpy(mask_to_dcnv3([0.0, 2, 4, 1, 3, 5], kernel_size=(2, 3), groups=1)).tolist()
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """
    height, width = pair("kernel_size", kernel_size)
    taps = _split("mask", ops.convert_to_tensor(mask), kernel_size, groups, 1, False)
    taps = ops.reshape(taps, (*ops.shape(taps)[:-2], height, width, 1))
    return _join(_columns_first(taps, kernel_size, remove_center), 3)


def from_dcnv4(
    offset_mask: Tensor,
    kernel_size: Pair,
    groups: int,
    *,
    dilation_rate: Pair = 1,
    offset_scale: float = 1.0,
    remove_center: bool = False,
) -> tuple[Tensor, Tensor]:
    """DCNv4's one tensor as the `(offsets, mask)` that `deform_conv2d` takes.

    Args:
        offset_mask: `(..., dcnv4_channels(kernel_size, groups, remove_center))`.
        kernel_size, groups, dilation_rate, offset_scale, remove_center: those of the operator the tensor is for.

    Returns:
        Offsets `(..., groups * kh * kw * 2)`, float32 at least, and mask `(..., groups * kh * kw)`.

    Raises:
        ValueError: as `offsets_from_dcnv3`.

    Example:
        >>> from deformconv.conventions import from_dcnv4
        >>> offsets, mask = from_dcnv4(np.arange(16.0), kernel_size=2, groups=1)  # 8 offsets, 4 masks, 4 to fill up
        >>> ops.convert_to_numpy(mask).tolist()
        [8.0, 10.0, 9.0, 11.0]
    """
    offset_mask = ops.convert_to_tensor(offset_mask)
    taps = tap_count(kernel_size, remove_center)
    check_count("groups", groups)
    _check_last_axis("offset_mask", offset_mask, dcnv4_channels(kernel_size, groups, remove_center), taps, groups)
    used = offset_mask[..., : groups * taps * 3]
    used = ops.reshape(used, (*ops.shape(used)[:-1], groups, taps * 3))
    offsets, mask = _join(used[..., : taps * 2], 2), _join(used[..., taps * 2 :], 2)
    stretch: dict[str, Any] = {"dilation_rate": dilation_rate, "offset_scale": offset_scale}
    return (
        offsets_from_dcnv3(offsets, kernel_size, groups, remove_center=remove_center, **stretch),
        mask_from_dcnv3(mask, kernel_size, groups, remove_center=remove_center),
    )


def to_dcnv4(
    offsets: Tensor,
    mask: Tensor,
    kernel_size: Pair,
    groups: int,
    *,
    dilation_rate: Pair = 1,
    offset_scale: float = 1.0,
    remove_center: bool = False,
) -> Tensor:
    """The inverse of `from_dcnv4`, with zeros in the channels that only fill up; the mask takes the offsets' type.

    Example:
        >>> from deformconv.conventions import to_dcnv4
        >>> theirs = to_dcnv4(np.zeros(8), [8.0, 10.0, 9.0, 11.0], kernel_size=2, groups=1)
        >>> ops.convert_to_numpy(theirs).tolist()[8:]
        [8.0, 9.0, 10.0, 11.0, 0.0, 0.0, 0.0, 0.0]
    """
    stretch: dict[str, Any] = {"dilation_rate": dilation_rate, "offset_scale": offset_scale}
    offsets = offsets_to_dcnv3(offsets, kernel_size, groups, remove_center=remove_center, **stretch)
    mask = mask_to_dcnv3(mask, kernel_size, groups, remove_center=remove_center)
    parts = [
        ops.reshape(part, (*ops.shape(part)[:-1], groups, part.shape[-1] // groups))
        for part in (offsets, ops.cast(mask, offsets.dtype))
    ]
    used = _join(ops.concatenate(parts, axis=-1), 2)
    fill = dcnv4_channels(kernel_size, groups, remove_center) - used.shape[-1]
    return ops.concatenate([used, ops.zeros((*ops.shape(used)[:-1], fill), dtype=used.dtype)], axis=-1)


def dcnv4_channels(kernel_size: Pair, groups: int, remove_center: bool = False) -> int:
    """Channels of DCNv4's tensor: three numbers for each tap and group, filled up to a multiple of 8.

    Example:
        >>> from deformconv.conventions import dcnv4_channels
        >>> dcnv4_channels(kernel_size=3, groups=4)
        112
    """
    return -(-groups * tap_count(kernel_size, remove_center) * 3 // 8) * 8


def tap_count(kernel_size: Pair, remove_center: bool = False) -> int:
    """Taps that DCNv3 and DCNv4 have offsets for.

    Example:
        >>> from deformconv.conventions import tap_count
        >>> tap_count(3), tap_count(3, remove_center=True)
        (9, 8)
    """
    height, width = pair("kernel_size", kernel_size)
    if remove_center and not (height % 2 and width % 2):
        raise ValueError(
            f"`remove_center` must be False for a `kernel_size` that is even; received kernel_size={kernel_size}. "
            "Only an odd height and width have a tap in the centre."
        )
    return height * width - bool(remove_center)


def _split(name: str, tensor: Tensor, kernel_size: Pair, groups: int, values: int, remove_center: bool) -> Tensor:
    """`(..., groups * taps * values)` -> `(..., groups, kh * kw, values)`, zeros at the centre where it is missing."""
    taps = tap_count(kernel_size, remove_center)
    check_count("groups", groups)
    _check_last_axis(name, tensor, groups * taps * values, taps, groups)
    tensor = ops.reshape(tensor, (*ops.shape(tensor)[:-1], groups, taps, values))
    if not remove_center:
        return tensor
    before, after = tensor[..., : taps // 2, :], tensor[..., taps // 2 :, :]
    return ops.concatenate([before, ops.zeros_like(tensor[..., :1, :]), after], axis=-2)


def _check_last_axis(name: str, tensor: Tensor, expected: int, taps: int, groups: int) -> None:
    received = tensor.shape[-1]
    if received != expected:
        slip = ""
        if len(tensor.shape) == 4 and tensor.shape[1] == expected:
            slip = " The second axis has that many: is it channels first? Move the channels to the end."
        elif received and received * taps == expected * (taps - 1):
            slip = " That is one tap less: was it made with `remove_center`?"
        elif received and received * taps == expected * (taps + 1):
            slip = " That is one tap more: was it made without `remove_center`?"
        elif name == "offset_mask" and received == groups * taps * 3:
            slip = " That is without the zeros that fill up to a multiple of 8."
        raise ValueError(
            f"`{name}` must have {expected} channels on the last axis, for groups={groups} and {taps} taps; "
            f"received shape {tuple(tensor.shape)}.{slip}"
        )


def _rows_first(taps: Tensor, kernel_size: Pair) -> Tensor:
    """Column by column -> row by row: `(..., kw * kh, values)` -> `(..., kh, kw, values)`."""
    height, width = pair("kernel_size", kernel_size)
    return ops.swapaxes(ops.reshape(taps, (*ops.shape(taps)[:-2], width, height, taps.shape[-1])), -3, -2)


def _columns_first(taps: Tensor, kernel_size: Pair, remove_center: bool) -> Tensor:
    """Row by row -> column by column: `(..., kh, kw, values)` -> `(..., taps, values)`."""
    height, width = pair("kernel_size", kernel_size)
    values = taps.shape[-1]
    taps = ops.reshape(ops.swapaxes(taps, -3, -2), (*ops.shape(taps)[:-3], height * width, values))
    centre = tap_count(kernel_size, remove_center) // 2
    if not remove_center:
        return taps
    return ops.concatenate([taps[..., :centre, :], taps[..., centre + 1 :, :]], axis=-2)


def _stretch(kernel_size: Pair, dilation_rate: Pair, offset_scale: float, dtype: Any) -> Tensor:
    """How far `offset_scale` moves each tap away from the centre: `(kh, kw, 2)`."""
    axes = zip(pair("kernel_size", kernel_size), pair("dilation_rate", dilation_rate), strict=True)
    y, x = (np.arange(size) * dilation - dilation * (size - 1) // 2 for size, dilation in axes)
    grid = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1)
    return ops.convert_to_tensor((offset_scale - 1) * grid, dtype=dtype)


def _join(tensor: Tensor, axes: int) -> Tensor:
    """The last `axes` axes as one."""
    shape = ops.shape(tensor)
    return ops.reshape(tensor, (*shape[:-axes], math.prod(shape[-axes:])))
