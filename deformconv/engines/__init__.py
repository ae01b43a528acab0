"""The hot primitive, `sample`, once per engine.

    sample(images, coords)    # (b, h, w, c), (b, n, 2) -> (b, n, c)

Values of each image at `n` points, bilinear, zero outside, with the gradients that `reference` defines.
Engines know nothing of the rest of the package; everything above them calls this one function.
"""

from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import keras

from deformconv.engines import portable

# Not None while a model is recorded for another runtime: called in place of the whole deformable convolution.
_recorder = ContextVar("recorder", default=None)


def sample(images, coords):
    """Values at points: `images` `(b, h, w, c)`, `coords` `(b, n, 2)` in `(y, x)` -> `(b, n, c)`."""
    if _native_kernel_serves(images):
        from deformconv.engines import tensorflow

        return tensorflow.sample(images, coords)
    return portable.sample(images, coords)


def has_native_kernel() -> bool:
    """Whether `sample` has a native kernel, faster than what XLA makes of the portable engine."""
    return keras.backend.backend() == "tensorflow"


def _native_kernel_serves(images):
    if not has_native_kernel() or recorder() or keras.backend.standardize_dtype(images.dtype) == "float64":
        return False
    import tensorflow as tf
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

    # Inside `jit_compile=True`: XLA has no such kernel. TensorFlow has no public name for the question.
    return not GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def recorder():
    """What stands in for the deformable convolution while a model is recorded, or None."""
    return _recorder.get()


@contextmanager
def recording(function):
    """Within: `deform_conv2d` gives its checked arguments to `function`, and `sample` is the portable one."""
    token = _recorder.set(function)
    try:
        yield
    finally:
        _recorder.reset(token)


@cache
def fused(function):
    """A pure function of tensors, its many small steps compiled into few passes over memory where that needs help.

    JAX compiles whole models by itself; on TensorFlow this is XLA, for this function alone.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    return tf.function(function, jit_compile=True, autograph=False)
