"""The type that layers make coordinates in: float32 at least, for eight bits cannot name a pixel and a fraction."""

from typing import Any

import keras

HALF = ("float16", "bfloat16")


def at_least_float32(policy: keras.DTypePolicy) -> Any:
    """The policy of a layer that makes coordinates within one of `policy`."""
    # A map has a policy for each path, which is not known before the layer is built.
    mapped = isinstance(policy, keras.dtype_policies.DTypePolicyMap)
    return "float32" if mapped or policy.compute_dtype in HALF else policy


def raise_to_float32(layer: keras.layers.Layer) -> None:
    """Has `layer` and all within it compute in float32 where it would in half precision.

    Not where the weights are of half precision already, as a file may have them: there is nothing left to save.
    """
    for each in layer._flatten_layers():
        if each.compute_dtype in HALF and not any(weight.dtype in HALF for weight in each.weights):
            each.dtype_policy = "float32"
