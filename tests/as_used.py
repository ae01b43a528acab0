"""How a function of tensors is used on the engine at hand."""

import keras


def as_used(function):
    """On JAX compiled as a whole. Step by step JAX compiles each of some fifty steps for each new shape: minutes."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function)
