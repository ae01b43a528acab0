"""DCNv3 and DCNv4 as plain loops in their authors' convention: what the conversions and the layers are tested against.

Taps go column by column, `x` comes before `y`, the input is padded before it is read, and weights have PyTorch's
names and layout. Nothing here comes from the package.
"""

import math

import numpy as np


def pads_of(size, kernel_size, strides, dilation, padding):
    """The zeros around a `(height, width)` image, as `((top, bottom), (left, right))`."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding != "same":
        return padding
    pads = []
    for length, taps, stride, rate in zip(size, kernel_size, strides, dilation, strict=True):
        total = max((math.ceil(length / stride) - 1) * stride + (taps - 1) * rate + 1 - length, 0)
        pads.append((total // 2, total - total // 2))
    return tuple(pads)


def core(inputs, point, kernel_size, strides, pads, dilation, groups, offset_scale=1.0, remove_center=False):
    """The sum under the taps. `point(b, row, column, g, n)` gives `(dx, dy, mask)` of the `n`-th tap of a group."""
    (kernel_height, kernel_width), (rate_y, rate_x) = kernel_size, dilation
    padded = np.pad(inputs, ((0, 0), *pads, (0, 0)))
    batch, height, width, channels = padded.shape
    half_x, half_y = rate_x * (kernel_width - 1) // 2, rate_y * (kernel_height - 1) // 2
    out_height = (height - rate_y * (kernel_height - 1) - 1) // strides[0] + 1
    out_width = (width - rate_x * (kernel_width - 1) - 1) // strides[1] + 1
    outputs = np.zeros((batch, out_height, out_width, channels))
    for b, row, column, g in np.ndindex(batch, out_height, out_width, groups):
        own = slice(g * channels // groups, (g + 1) * channels // groups)
        n = 0
        for i in range(kernel_width):
            for j in range(kernel_height):
                if remove_center and (i, j) == (kernel_width // 2, kernel_height // 2):
                    continue
                dx, dy, weight = point(b, row, column, g, n)
                x = half_x + column * strides[1] + (i * rate_x - half_x + dx) * offset_scale
                y = half_y + row * strides[0] + (j * rate_y - half_y + dy) * offset_scale
                outputs[b, row, column, own] += weight * _value(padded[b, :, :, own], x, y)
                n += 1
    return outputs


def _value(image, x, y):
    value = np.zeros(image.shape[-1])
    for column in (math.floor(x), math.floor(x) + 1):
        for row in (math.floor(y), math.floor(y) + 1):
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                value += (1 - abs(x - column)) * (1 - abs(y - row)) * image[row, column]
    return value


def dcnv3_core(inputs, offset, mask, kernel_size, *geometry, **options):
    """`offset` `(b, h', w', groups * taps * 2)`, `mask` `(b, h', w', groups * taps)`."""
    taps = _taps(kernel_size, options)

    def point(b, row, column, g, n):
        at = g * taps + n
        return offset[b, row, column, 2 * at], offset[b, row, column, 2 * at + 1], mask[b, row, column, at]

    return core(inputs, point, kernel_size, *geometry, **options)


def dcnv4_core(inputs, offset_mask, kernel_size, *geometry, **options):
    """`offset_mask` `(b, h', w', channels)`: for each group its `2 * taps` offsets and `taps` masks, then a filling."""
    taps = _taps(kernel_size, options)

    def point(b, row, column, g, n):
        numbers = offset_mask[b, row, column, 3 * taps * g :]
        return numbers[2 * n], numbers[2 * n + 1], numbers[2 * taps + n]

    return core(inputs, point, kernel_size, *geometry, **options)


def _taps(kernel_size, options):
    return kernel_size[0] * kernel_size[1] - bool(options.get("remove_center"))


def dcnv3(state, inputs, kernel_size, strides, pads, dilation, groups, **options):
    """The whole module, with `state` in the names and layout of the authors' checkpoints."""
    values = linear(state, "input_proj", inputs)
    centres = kernel_size, strides, pads, dilation
    seen = depthwise(state, "dw_conv.0", inputs, *centres)
    seen = (seen - seen.mean(-1, keepdims=True)) / np.sqrt(seen.var(-1, keepdims=True) + 1e-6)
    seen = seen * state["dw_conv.1.1.weight"] + state["dw_conv.1.1.bias"]
    seen = seen * (1 + np.vectorize(math.erf, otypes=[float])(seen / math.sqrt(2))) / 2
    logits = linear(state, "mask", seen)
    exponentials = np.exp(logits.reshape(*logits.shape[:-1], groups, -1))
    mask = (exponentials / exponentials.sum(-1, keepdims=True)).reshape(logits.shape)
    offset = linear(state, "offset", seen)
    outputs = dcnv3_core(values, offset, mask, kernel_size, strides, pads, dilation, groups, **options)
    if "center_feature_scale_proj_weight" in state:
        outputs = blend(state, outputs, at_centres(values, *centres), seen)
    return linear(state, "output_proj", outputs)


def dcnv4(state, inputs, kernel_size, strides, pads, dilation, groups, **options):
    """The whole module; without pointwise layers or depthwise convolution where `state` has none."""
    values = linear(state, "value_proj", inputs) if "value_proj.weight" in state else inputs
    centres = kernel_size, strides, pads, dilation
    seen = at_centres(inputs, *centres)
    if "offset_mask_dw.weight" in state:
        seen = depthwise(state, "offset_mask_dw", inputs, *centres)
    offset_mask = linear(state, "offset_mask", seen)
    outputs = dcnv4_core(values, offset_mask, kernel_size, strides, pads, dilation, groups, **options)
    if "center_feature_scale_proj_weight" in state:
        outputs = blend(state, outputs, at_centres(values, *centres), outputs)
    return linear(state, "output_proj", outputs) if "output_proj.weight" in state else outputs


def linear(state, name, inputs):
    return inputs @ state[f"{name}.weight"].T + state.get(f"{name}.bias", 0)


def blend(state, outputs, centres, seen):
    logits = seen @ state["center_feature_scale_proj_weight"].T + state["center_feature_scale_proj_bias"]
    share = np.repeat(1 / (1 + np.exp(-logits)), outputs.shape[-1] // logits.shape[-1], axis=-1)
    return outputs * (1 - share) + centres * share


def at_centres(inputs, kernel_size, strides, pads, dilation, window=None):
    """The input at the centre of each output pixel's kernel, `(b, h', w', c)`; `(b, h', w', *window, c)` around it."""
    far = 20  # zeros enough for any window
    padded = np.pad(inputs, ((0, 0), (far, far), (far, far), (0, 0)))
    found = []
    for size, taps, stride, pad, rate, seen in zip(
        inputs.shape[1:3], kernel_size, strides, pads, dilation, window or (1, 1), strict=True
    ):
        out = (size + sum(pad) - rate * (taps - 1) - 1) // stride + 1
        first = far - pad[0] + rate * (taps - 1) // 2 - (seen - 1) // 2
        found.append(first + stride * np.arange(out)[:, None] + np.arange(seen))
    rows, columns = found
    patches = padded[:, rows[:, None, :, None], columns[None, :, None, :]]
    return patches if window else patches[:, :, :, 0, 0]


def depthwise(state, name, inputs, kernel_size, strides, pads, dilation):
    weight = state[f"{name}.weight"][:, 0]
    patches = at_centres(inputs, kernel_size, strides, pads, dilation, weight.shape[1:])
    return np.einsum("bhwijc,cij->bhwc", patches, weight) + state[f"{name}.bias"]
