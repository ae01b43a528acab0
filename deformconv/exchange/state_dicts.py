"""Weights that were trained elsewhere: the state dicts of other people's PyTorch modules, as layers of ours.

A state dict is a dictionary from names to arrays. Nothing here opens a file or needs PyTorch. What opens one,
and cannot run what is hidden in it, is `safetensors.numpy.load_file(path)` or `torch.load(path, weights_only=True)`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from deformconv.arguments import check_count
from deformconv.exchange.from_arrays import READ, check_arguments, deformable_conv
from deformconv.exchange.weights import Weights
from deformconv.layers import DeformableConv2D


def import_torchvision(
    state: Mapping[str, Any],
    module: str = "",
    *,
    offset_module: str,
    mask_module: str | None = None,
    mask_factor: float = 1.0,
    **layer_arguments: Any,
) -> DeformableConv2D:
    """torchvision's `DeformConv2d`, with the convolution that makes its offsets, as a `DeformableConv2D`.

    =============================  ==============================================================================
    there                          here
    =============================  ==============================================================================
    `module.weight`                `kernel`, transposed by `(2, 3, 1, 0)`, and times `mask_factor / 2` with a mask
    `module.bias`                  `bias`; the layer has none where there is none
    `offset_module.weight, .bias`  the first channels of `offset_conv`, in the same order, `(y, x)` for each tap
    `mask_module.weight, .bias`    the last channels of `offset_conv`
    =============================  ==============================================================================

    The mask of this package is `2 * sigmoid`. Where it is `sigmoid` there, as is usual, the kernel is halved here, and
    the products are the same. Filters, kernel size, both kinds of groups and whether there is a bias are read from the
    shapes. Strides, padding and dilation are not in a state dict: give them. The two or three convolutions must have
    them in common, and their kernel size.

    Args:
        state: dictionary of arrays, of anything that `numpy.asarray` takes; it may hold a whole model.
        module: name of the `DeformConv2d` in the model, such as `"layer1.0.conv2"`; `""` for the model itself.
        offset_module: name of the `Conv2d` that makes the offsets.
        mask_module: name of the `Conv2d` whose sigmoid is the mask; None for no mask.
        mask_factor: what that sigmoid is multiplied by there: 1, or 2 in models that start with a mask of one.
        **layer_arguments: `strides`, `padding`, `dilation_rate` and others of `DeformableConv2D`. PyTorch's
            `padding=(1, 0)` is `((1, 1), (0, 0))` here. `"same"` is not PyTorch's padding by numbers where there
            are strides: give the numbers.

    Returns:
        The layer, built.

    Raises:
        ValueError: if a weight is missing, has another shape or is no array, or an argument is one that is read.

    Example:
        >>> from deformconv import import_torchvision
        >>> state = {"conv.weight": np.ones((6, 2, 3, 2)), "conv.bias": np.zeros(6)}
        >>> state |= {"offsets.weight": np.zeros((12, 4, 3, 2)), "offsets.bias": np.zeros(12)}
        >>> layer = import_torchvision(state, "conv", offset_module="offsets", padding=1)
        >>> layer.filters, layer.kernel_size, layer.groups
        (6, (3, 2), 2)
    """
    check_arguments(layer_arguments, READ, "`state`")
    if not mask_factor > 0:
        raise ValueError(f"`mask_factor` must be a number > 0; received {mask_factor!r}.")
    kernel, bias, taps = _convolution(Weights(state, module))
    offsets = Weights(state, offset_module)
    offset_kernel, offset_bias = _offset_convolution(offsets, "", kernel, bias_required=False)
    made = offset_kernel.shape[0]
    if made % (2 * taps):
        raise ValueError(
            f"`{offsets.key('weight')}` must have 2 * {taps} channels for each group of offsets; "
            f"received shape {offset_kernel.shape}."
        )
    offset_groups = made // (2 * taps)
    if mask_module is not None:
        mask = Weights(state, mask_module)
        mask_kernel, mask_bias = _offset_convolution(mask, "", kernel, bias_required=False)
        mask.check("weight", mask_kernel, (offset_groups * taps, *offset_kernel.shape[1:]))
        offset_kernel = np.concatenate([offset_kernel, mask_kernel])
        offset_bias = np.concatenate([offset_bias, mask_bias])
    return deformable_conv(
        kernel,
        bias,
        offset_kernel,
        offset_bias,
        offset_groups=offset_groups,
        mask_factor=None if mask_module is None else mask_factor,
        layer_arguments=layer_arguments,
    )


def import_mmcv(
    state: Mapping[str, Any], module: str = "", *, offset_groups: int = 1, **layer_arguments: Any
) -> DeformableConv2D:
    """MMCV's `DeformConv2dPack` (DCN) or `ModulatedDeformConv2dPack` (DCNv2) as a `DeformableConv2D`.

    ===========================  ==============================================================================
    there                        here
    ===========================  ==============================================================================
    `weight`                     `kernel`, transposed by `(2, 3, 1, 0)`, and halved in DCNv2
    `bias`                       `bias`; DCN has none
    `conv_offset.weight, .bias`  `offset_conv`, in the same order: DCN's are offsets; of DCNv2's the first two
                                 thirds are offsets, `(y, x)` for each tap, and the last third makes the mask
    ===========================  ==============================================================================

    DCNv2's mask is `sigmoid`, ours `2 * sigmoid`: so the kernel is halved, and the products are the same. Which of
    the two modules it is, the channels of `conv_offset` say. Its strides, padding and dilation are those of the
    module, as here.

    Older files are read as well: those of MMDetection that have `conv2_offset` beside `conv2`, and those of DCNv2's
    first modules, which call it `conv_offset_mask` and do not dilate it.

    Args:
        state: dictionary of arrays, of anything that `numpy.asarray` takes; it may hold a whole model.
        module: name of the pack in the model, such as `"backbone.layer2.0.conv2"`; `""` for the model itself.
        offset_groups: its `deform_groups`.
        **layer_arguments: `strides`, `padding`, `dilation_rate` and others of `DeformableConv2D`. `"same"` is not
            PyTorch's padding by numbers where there are strides: give the numbers.

    Returns:
        The layer, built.

    Raises:
        ValueError: if a weight is missing, has another shape or is no array, or an argument is one that is read.

    Example:
        >>> from deformconv import import_mmcv
        >>> state = {"conv2.weight": np.ones((6, 4, 3, 2)), "conv2.bias": np.zeros(6)}
        >>> state |= {"conv2.conv_offset.weight": np.zeros((18, 4, 3, 2)), "conv2.conv_offset.bias": np.zeros(18)}
        >>> layer = import_mmcv(state, "conv2", padding=1)
        >>> layer.modulated, float(layer.kernel[0, 0, 0, 0])
        (True, 0.5)
    """
    check_arguments(layer_arguments, tuple(name for name in READ if name != "offset_groups"), "`state`")
    check_count("offset_groups", offset_groups)
    weights = Weights(state, module)
    kernel, bias, taps = _convolution(weights)
    name = "conv_offset."
    if f"{name}weight" not in weights:
        if "conv_offset_mask.weight" in weights:
            name = "conv_offset_mask."
            if layer_arguments.get("dilation_rate", 1) not in (1, (1, 1), [1, 1]):
                raise ValueError(
                    f"`dilation_rate` must be 1 for `{weights.key('conv_offset_mask.weight')}`, which those modules "
                    f"do not dilate; received {layer_arguments['dilation_rate']!r}. The layer dilates both "
                    "convolutions: if this module does, too, call the key `conv_offset`."
                )
        elif f"{weights.module}_offset.weight" in state:
            weights, name = Weights(state, f"{weights.module}_offset"), ""
    offset_kernel, offset_bias = _offset_convolution(weights, name, kernel, bias_required=True)
    made, points = offset_kernel.shape[0], taps * offset_groups
    if made not in (2 * points, 3 * points):
        raise ValueError(
            f"`{weights.key(f'{name}weight')}` must have {2 * points} (DCN) or {3 * points} (DCNv2) channels for "
            f"offset_groups={offset_groups}; received shape {offset_kernel.shape}. "
            "`offset_groups` is what MMCV calls `deform_groups`."
        )
    return deformable_conv(
        kernel,
        bias,
        offset_kernel,
        offset_bias,
        offset_groups=offset_groups,
        mask_factor=1 if made == 3 * points else None,
        layer_arguments=layer_arguments,
    )


def _convolution(weights: Weights) -> tuple[np.ndarray, np.ndarray | None, int]:
    """Kernel, bias or None, and the number of taps."""
    kernel = weights("weight", (None, None, None, None))
    bias = weights("bias", kernel.shape[:1]) if "bias" in weights else None
    return kernel, bias, kernel.shape[2] * kernel.shape[3]


def _offset_convolution(
    weights: Weights, name: str, kernel: np.ndarray, bias_required: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of the convolution `name` beside that of the kernel, whose size it must have."""
    slip = " The layer's own convolution for offsets has the kernel size of the layer."
    offset_kernel = weights(f"{name}weight", (None, None, *kernel.shape[2:]), slip)
    made, channels = offset_kernel.shape[:2]
    if channels % kernel.shape[1]:
        raise ValueError(
            f"`state[{weights.key(f'{name}weight')!r}]` must have a second axis that is a multiple of "
            f"{kernel.shape[1]}, the input channels of a group; received shape {offset_kernel.shape}."
        )
    if not bias_required and f"{name}bias" not in weights:
        return offset_kernel, np.zeros(made, offset_kernel.dtype)
    return offset_kernel, weights(f"{name}bias", (made,))
