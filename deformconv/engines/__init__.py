"""The hot primitive, `sample`, once per engine.

    sample(images, coords)    # (b, h, w, c), (b, n, 2) -> (b, n, c)

Values of each image at `n` points, bilinear, zero outside, with the gradients that `reference` defines.
Engines know nothing of the rest of the package; everything above them calls this one function.
"""

from functools import cache

import keras

from deformconv.engines import portable


def sample(images, coords):
    """Values at points: `images` `(b, h, w, c)`, `coords` `(b, n, 2)` in `(y, x)` -> `(b, n, c)`."""
    if keras.backend.backend() == "tensorflow" and keras.backend.standardize_dtype(images.dtype) != "float64":
        from deformconv.engines import tensorflow

        return tensorflow.sample(images, coords)
    return portable.sample(images, coords)


def has_native_kernel() -> bool:
    """Whether `sample` runs a native kernel that XLA cannot compile."""
    return keras.backend.backend() == "tensorflow"


@cache
def fused(function):
    """A pure function of tensors, its many small steps compiled into few passes over memory where that needs help.

    JAX compiles whole models by itself; on TensorFlow this is XLA, for this function alone.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    return tf.function(function, jit_compile=True, autograph=False)
