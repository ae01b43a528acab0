"""`fused`: many small steps, compiled into few passes over memory."""

from collections.abc import Callable
from functools import cache

import keras


@cache
def fused(function: Callable) -> Callable:
    """A pure function of tensors, its many small steps compiled into few passes over memory where that needs help.

    JAX compiles whole models by itself; on TensorFlow this is XLA, for this function alone.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    return tf.function(function, jit_compile=True, autograph=False)
