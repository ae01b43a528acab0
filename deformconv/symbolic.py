"""Symbolic tensors, `keras.Input` and what is made of it: they have a shape and a type, and no numbers.

A function of tensors that is given one answers with its operation, as `keras.ops` does: a step of a functional model.
"""

from typing import Any

import keras
from keras import ops


def is_symbolic(*tensors: Any) -> bool:
    return any(isinstance(tensor, keras.KerasTensor) for tensor in tensors)


def with_shape(argument: Any) -> Any:
    """An argument beside symbolic ones: itself, or a tensor of the numbers that it lists."""
    if argument is None or hasattr(argument, "shape"):
        return argument
    return ops.convert_to_tensor(argument)
