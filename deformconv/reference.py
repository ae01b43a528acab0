"""The operators as plain NumPy loops: the definition that every other file is tested against.

Conventions, which hold everywhere in this package:

- Tensors are channels-last: images are `(batch, height, width, channels)`.
- Coordinates and offsets are `(y, x)`, in pixels of the input map; pixel centres lie at integers.
- Outside the image is zero, and each of the four corners of a sample is checked on its own: a sample
  contributes iff `-1 < y < height` and `-1 < x < width`. An infinite offset gives 0, a NaN offset NaN.
- The four corners are `floor` and `floor + 1`, never `ceil`: at an integer coordinate the derivative is
  that of the right-hand cell, and it is not zero.
- Offset channels: offset group outermost, then tap row by row, then `(y, x)`. Mask channels: group, then tap.
  This is the order of ONNX's `DeformConv` and of torchvision's.

Nothing here is fast, and nothing is shared with the code that it judges.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deformconv.types import Outside, Padding, Pair


def _sample_zeros(image: np.ndarray, y: float, x: float) -> np.ndarray:
    """The value of `image` (height, width, channels) at one point, with zeros outside."""
    height, width, channels = image.shape
    value = np.zeros(channels)
    if np.isnan(y) or np.isnan(x):
        return value + np.nan
    if not (-1 < y < height and -1 < x < width):
        return value
    top, left = int(np.floor(y)), int(np.floor(x))
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < height and 0 <= column < width:
                value += (1 - abs(y - row)) * (1 - abs(x - column)) * image[row, column]
    return value


def bilinear_sample(images: ArrayLike, coords: ArrayLike, *, padding: Outside = "zeros") -> np.ndarray:
    """Values of `images` at the real-valued `coords`; see `deformconv.bilinear_sample`."""
    images, coords = np.asarray(images), np.asarray(coords)
    _, height, width, channels = images.shape
    result = np.zeros(coords.shape[:-1] + (channels,))
    for point in np.ndindex(coords.shape[:-1]):
        y, x = coords[point].astype("float64")
        if padding == "edge":
            y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
        result[point] = _sample_zeros(images[point[0]], y, x)
    return result.astype(images.dtype)


def _pair(value: Any) -> tuple:
    return tuple(value) if np.ndim(value) else (int(value), int(value))


def _pads(size: int, kernel_size: int, stride: int, dilation: int, padding: str) -> tuple[int, int]:
    """Zeros before and after one axis; `same` puts the odd one after, as Keras does."""
    if padding == "valid":
        return 0, 0
    span = (kernel_size - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + span - size, 0)
    return total // 2, total - total // 2


def deform_conv2d(
    inputs: ArrayLike,
    offsets: ArrayLike,
    kernel: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    strides: Pair = 1,
    padding: Padding = "valid",
    dilation_rate: Pair = 1,
    groups: int = 1,
) -> np.ndarray:
    """Deformable convolution, equation (2) of Dai et al. 2017; see `deformconv.deform_conv2d`.

    For each output pixel `p0`, summing over the taps `pn` of the kernel (with v2's mask, where there is one),

        y(p0) = sum_n  w(pn) * mask_n(p0) * x(p0 + pn + offset_n(p0))
    """
    inputs, offsets, kernel = np.asarray(inputs), np.asarray(offsets), np.asarray(kernel)
    batch, height, width, channels = inputs.shape
    kernel_height, kernel_width, channels_seen, filters = kernel.shape
    strides, dilation = _pair(strides), _pair(dilation_rate)
    if isinstance(padding, str):
        rows = _pads(height, kernel_height, strides[0], dilation[0], padding)
        columns = _pads(width, kernel_width, strides[1], dilation[1], padding)
    else:
        rows, columns = ((p, p) if np.ndim(p) == 0 else p for p in _pair(padding))
    out_height = (height + sum(rows) - (kernel_height - 1) * dilation[0] - 1) // strides[0] + 1
    out_width = (width + sum(columns) - (kernel_width - 1) * dilation[1] - 1) // strides[1] + 1

    offset_groups = offsets.shape[-1] // (2 * kernel_height * kernel_width)
    taps = (batch, out_height, out_width, offset_groups, kernel_height, kernel_width)
    offsets = offsets.reshape(*taps, 2)
    weights = np.ones(taps) if mask is None else np.asarray(mask).reshape(taps)

    outputs = np.zeros((batch, out_height, out_width, filters))
    for b, i, j, tap_i, tap_j in np.ndindex(batch, out_height, out_width, kernel_height, kernel_width):
        sample = np.zeros(channels)
        for o in range(offset_groups):  # the channels of one offset group share their sampling points
            dy, dx = offsets[b, i, j, o, tap_i, tap_j].astype("float64")
            y = i * strides[0] - rows[0] + tap_i * dilation[0] + dy
            x = j * strides[1] - columns[0] + tap_j * dilation[1] + dx
            own = slice(o * channels // offset_groups, (o + 1) * channels // offset_groups)
            sample[own] = weights[b, i, j, o, tap_i, tap_j] * _sample_zeros(inputs[b, :, :, own], y, x)
        for g in range(groups):  # each group of filters sees its own channels
            seen = slice(g * channels_seen, (g + 1) * channels_seen)
            made = slice(g * filters // groups, (g + 1) * filters // groups)
            outputs[b, i, j, made] += sample[seen] @ kernel[tap_i, tap_j, :, made]
    if bias is not None:
        outputs += bias
    return outputs.astype(inputs.dtype)


def deform_roi_pool2d(
    inputs: ArrayLike,
    boxes: ArrayLike,
    offsets: ArrayLike | None = None,
    *,
    output_size: Pair,
    mask: ArrayLike | None = None,
    sampling_ratio: int = 2,
    offset_scale: float = 0.1,
    spatial_scale: float = 1.0,
) -> np.ndarray:
    """Deformable RoI pooling, equations (5) and (6) of Dai et al. 2017; see `deformconv.deform_roi_pool2d`."""
    inputs, boxes = np.asarray(inputs), np.asarray(boxes, "float64")
    out_height, out_width = _pair(output_size)
    outputs = np.zeros((*boxes.shape[:2], out_height, out_width, inputs.shape[-1]))
    for b, n, i, j in np.ndindex(outputs.shape[:-1]):
        y1, x1, y2, x2 = boxes[b, n] * spatial_scale
        bin_height, bin_width = (y2 - y1) / out_height, (x2 - x1) / out_width
        dy, dx = (0, 0) if offsets is None else np.asarray(offsets)[b, n, i, j].astype("float64")
        for tap_i, tap_j in np.ndindex(sampling_ratio, sampling_ratio):
            y = y1 + bin_height * (i + (tap_i + 0.5) / sampling_ratio) + offset_scale * dy * (y2 - y1)
            x = x1 + bin_width * (j + (tap_j + 0.5) / sampling_ratio) + offset_scale * dx * (x2 - x1)
            # Boxes have edges, pixels centres: the edge at 0 lies half a pixel before the first centre.
            outputs[b, n, i, j] += _sample_zeros(inputs[b], y - 0.5, x - 0.5) / sampling_ratio**2
    if mask is not None:
        outputs *= np.asarray(mask)[..., None]
    return outputs.astype(inputs.dtype)
