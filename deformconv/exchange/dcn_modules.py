"""Weights that were trained elsewhere: those of DCNv3's and DCNv4's own modules. See `state_dicts` for the others."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from deformconv.exchange.from_arrays import check_arguments
from deformconv.exchange.weights import Weights
from deformconv.layers import DCNv3, DCNv4
from deformconv.layers.inside import inner_layers
from deformconv.types import Pair


def import_dcnv3(
    state: Mapping[str, Any], module: str = "", *, kernel_size: Pair = 3, groups: int = 4, **layer_arguments: Any
) -> DCNv3:
    """The authors' DCNv3 module (InternImage) as a `DCNv3`.

    =====================================  =========================================================
    there                                  here
    =====================================  =========================================================
    `input_proj`, `output_proj`            the same; each `weight` is a `kernel`, transposed
    `offset`, `mask`                       the same, their channels in the authors' order
    `dw_conv.0`                            `dw_conv`, `weight` transposed by `(2, 3, 0, 1)`
    `dw_conv.1.1`                          `norm`: `weight` is `gamma`, `bias` is `beta`
    `center_feature_scale_proj_weight`     `center_feature_scale_proj`, transposed; its bias likewise
    =====================================  =========================================================

    The size of the depthwise convolution and whether there is a `center_feature_scale` are read from the dictionary.
    The kernel size, `groups`, `remove_center`, `offset_scale`, dilation and activation are not in it: give those that
    differ from the authors' defaults, which are those of `DCNv3`.

    Args:
        state: dictionary of arrays, of anything that `numpy.asarray` takes; it may hold a whole model.
        module: name of the module in the model, such as `"levels.0.blocks.0.dcn"`; `""` for the model itself.
        kernel_size, groups: of the module (there `group`).
        **layer_arguments: others of `DCNv3`.

    Returns:
        The layer, built.

    Raises:
        ValueError: if a weight is missing, has another shape or is no array, or an argument is one that is read.

    Example:
        >>> from deformconv import import_dcnv3
        >>> shapes = {"input_proj": (8, 8), "dw_conv.0": (8, 1, 5, 5), "dw_conv.1.1": (8,)}
        >>> shapes |= {"offset": (36, 8), "mask": (18, 8), "output_proj": (8, 8)}
        >>> state = {f"{name}.weight": np.ones(shape) for name, shape in shapes.items()}
        >>> state |= {f"{name}.bias": np.zeros(shape[0]) for name, shape in shapes.items()}
        >>> import_dcnv3(state, groups=2, offset_scale=2.0).dw_kernel_size
        (5, 5)
    """
    check_arguments(layer_arguments, ("dw_kernel_size", "center_feature_scale"), "`state`")
    weights = Weights(state, module)
    if "dw_conv.1.0.running_mean" in weights:
        raise ValueError(
            f"`{weights.key('dw_conv.1')}` must be a layer normalisation; `state` has the statistics of a batch "
            "normalisation there, which `DCNv3` has not."
        )
    channels = weights("input_proj.weight", (None, None)).shape[1]
    layer = DCNv3(
        kernel_size,
        groups=groups,
        dw_kernel_size=weights("dw_conv.0.weight", (channels, 1, None, None)).shape[2:],
        center_feature_scale="center_feature_scale_proj_weight" in weights,
        **layer_arguments,
    )
    layer.build(layer._shape_turned((None, None, None, channels)))
    _fill(layer, weights, {"dw_conv": "dw_conv.0", "norm": "dw_conv.1.1"})
    return layer


def import_dcnv4(
    state: Mapping[str, Any], module: str = "", *, kernel_size: Pair = 3, groups: int = 4, **layer_arguments: Any
) -> DCNv4:
    """The authors' DCNv4 module as a `DCNv4`.

    =====================================  =========================================================
    there                                  here
    =====================================  =========================================================
    `value_proj`, `output_proj`            the same; each `weight` is a `kernel`, transposed
    `offset_mask`                          the same, its channels in the authors' order
    `offset_mask_dw`                       the same, `weight` transposed by `(2, 3, 0, 1)`
    `center_feature_scale_proj_weight`     `center_feature_scale_proj`, transposed; its bias likewise
    =====================================  =========================================================

    Which of these parts there are, the size of the depthwise convolution and whether `output_proj` has a bias are
    read from the dictionary. The kernel size, `groups`, `remove_center`, `offset_scale` and dilation are not in it:
    give those that differ from the authors' defaults, which are those of `DCNv4`.

    Args:
        state: dictionary of arrays, of anything that `numpy.asarray` takes; it may hold a whole model.
        module: name of the module in the model; `""` for the model itself.
        kernel_size, groups: of the module (there `group`).
        **layer_arguments: others of `DCNv4`.

    Returns:
        The layer, built.

    Raises:
        ValueError: if a weight is missing, has another shape or is no array, or an argument is one that is read.

    Example:
        >>> from deformconv import import_dcnv4
        >>> state = {"offset_mask.weight": np.ones((56, 8)), "offset_mask.bias": np.zeros(56)}
        >>> import_dcnv4(state, groups=2).without_pointwise
        True
    """
    read = ("dw_kernel_size", "center_feature_scale", "output_bias", "without_pointwise")
    check_arguments(layer_arguments, read, "`state`")
    weights = Weights(state, module)
    channels = weights("offset_mask.weight", (None, None)).shape[1]
    dw_kernel_size = None
    if "offset_mask_dw.weight" in weights:
        dw_kernel_size = weights("offset_mask_dw.weight", (channels, 1, None, None)).shape[2:]
    layer = DCNv4(
        kernel_size,
        groups=groups,
        dw_kernel_size=dw_kernel_size,
        center_feature_scale="center_feature_scale_proj_weight" in weights,
        output_bias="output_proj.bias" in weights,
        # One of the two alone is a dictionary that lacks the other.
        without_pointwise="value_proj.weight" not in weights and "output_proj.weight" not in weights,
        **layer_arguments,
    )
    layer.build(layer._shape_turned((None, None, None, channels)))
    _fill(layer, weights, {})
    return layer


def _fill(layer: DCNv3 | DCNv4, weights: Weights, names: Mapping[str, str]) -> None:
    """Each inner layer of `layer` with the weights of its name, or of the one in `names`."""
    for inner in inner_layers(layer):
        for variable in inner.weights:
            kind = "bias" if variable.name in ("bias", "beta") else "weight"
            joint = "_" if inner.name == "center_feature_scale_proj" else "."
            slip = ""
            if inner.name in ("offset", "mask", "offset_mask", "center_feature_scale_proj"):
                slip = (
                    f" That is with kernel_size={layer.kernel_size}, groups={layer.groups} and "
                    f"remove_center={layer.remove_center}, which `state` does not hold: are they the module's?"
                )
            # Ours is theirs with its axes turned: (units, inputs) -> (inputs, units).
            turn = (2, 3, 0, 1) if len(variable.shape) == 4 else tuple(range(len(variable.shape)))[::-1]
            back = tuple(np.argsort(turn))
            expected = tuple(variable.shape[axis] for axis in back)
            name = f"{names.get(inner.name, inner.name)}{joint}{kind}"
            variable.assign(weights(name, expected, slip).transpose(turn))
