"""The two primitives, once per engine.

    sample(images, coords)                       # (b, h, w, c), (b, n, 2) -> (b, n, c)
    convolve(inputs, offsets, kernel, *, ...)    # the deformable convolution of checked arguments

Values of images between the pixels: bilinear, zero outside, with the gradients that `reference` defines.
Engines know nothing of the rest of the package; everything above them calls these two.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from deformconv.engines import columns, portable, switches
from deformconv.types import Tensor


def sample(images: Tensor, coords: Tensor) -> Tensor:
    """Values at points: `images` `(b, h, w, c)`, `coords` `(b, n, 2)` in `(y, x)` -> `(b, n, c)`."""
    return _engine(images)[0](images, coords)


def convolve(inputs: Tensor, offsets: Tensor, kernel: Tensor, **options: Any) -> Tensor:
    """The deformable convolution of checked arguments.

    Args:
        inputs, offsets, kernel: as `deform_conv2d` has them.
        **options: `mask` and `bias`, tensors or None; `strides`, `dilation_rate`, the zeros before the inputs
            `pads` and the output's `out_size`, pairs `(y, x)` of ints, the latter two of tensors where only the
            running graph knows them; `groups` and `offset_groups`, ints.

    Returns:
        Tensor `(b, h', w', filters)`.
    """
    return _engine(inputs)[1](inputs, offsets, kernel, **options)


def _engine(images: Tensor) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """`sample` and `convolve` for these images, here and now."""
    portably = portable.sample, partial(columns.convolve, portable.sample)
    if not has_native_kernel():
        return portably
    if recorder := switches.recorder.get():
        return portable.sample, recorder
    if _within_xla():
        return portably
    from deformconv.engines import native, tensorflow

    if not switches.stock_only.get() and native.kernels():
        from deformconv.engines.native import operators

        return operators.sample, operators.convolve
    if keras.backend.standardize_dtype(images.dtype) == "float64":  # the stock kernel would compute in float32
        return portably
    return tensorflow.sample, partial(columns.convolve, tensorflow.sample)


def has_native_kernel() -> bool:
    """Whether there is a kernel faster than what XLA makes of the portable engine."""
    return keras.backend.backend() == "tensorflow"


def _within_xla() -> bool:
    """Inside `jit_compile=True`, which has none of the kernels. TensorFlow has no public name for the question."""
    import tensorflow as tf
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

    return GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
