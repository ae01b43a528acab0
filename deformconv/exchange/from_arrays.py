"""A `DeformableConv2D` of arrays in the layout that PyTorch and ONNX share."""

from typing import Any

import numpy as np

from deformconv.layers import DeformableConv2D

READ = ("filters", "kernel_size", "groups", "offset_groups", "modulated", "use_bias")


def deformable_conv(
    kernel: np.ndarray,
    bias: np.ndarray | None,
    offset_kernel: np.ndarray,
    offset_bias: np.ndarray,
    *,
    offset_groups: int,
    mask_factor: float | None,
    layer_arguments: dict[str, Any],
) -> DeformableConv2D:
    """The layer, built and filled.

    Args:
        kernel: `(filters, channels / groups, kh, kw)`.
        bias: `(filters,)`, or None.
        offset_kernel, offset_bias: `(n, channels, kh, kw)` and `(n,)`; offsets before the mask.
        offset_groups: how many groups of channels have offsets of their own.
        mask_factor: what the sigmoid that makes the mask is multiplied by there; None without a mask.
        layer_arguments: the layer's further arguments.
    """
    filters, per_group, *kernel_size = kernel.shape
    channels = offset_kernel.shape[1]
    layer = DeformableConv2D(
        filters,
        tuple(kernel_size),
        groups=channels // per_group,
        offset_groups=offset_groups,
        modulated=mask_factor is not None,
        use_bias=bias is not None,
        **layer_arguments,
    )
    layer.build(layer._shape_turned((None, None, None, channels)))
    # Our mask is twice a sigmoid. The mask multiplies what the kernel multiplies, so the kernel takes up the rest.
    share = 1 if mask_factor is None else mask_factor / 2
    layer.kernel.assign(share * kernel.transpose(2, 3, 1, 0))
    if layer.bias is not None:
        layer.bias.assign(bias)
    # In use are the stored weights times the multiplier.
    layer.offset_conv.kernel.assign(offset_kernel.transpose(2, 3, 1, 0) / layer.offset_lr_multiplier)
    layer.offset_conv.bias.assign(offset_bias / layer.offset_lr_multiplier)
    return layer


def check_arguments(layer_arguments: dict[str, Any], read: tuple[str, ...], source: str) -> None:
    """Refuses arguments of the layer that are `read` from the `source`."""
    for name in read:
        if name in layer_arguments:
            raise ValueError(
                f"`{name}` must be left out: it is read from {source}; received {name}={layer_arguments[name]!r}."
            )
