"""What overrules the choice of an engine for a while: contexts that `engines` asks."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import keras

from deformconv.engines.constant import constant
from deformconv.types import Tensor

# Not None while a model is recorded for another runtime: called in place of `convolve`.
recorder: ContextVar[Callable[..., Tensor] | None] = ContextVar("recorder", default=None)
# True while a graph is to hold nothing but TensorFlow's own operations.
stock_only = ContextVar("stock_only", default=False)
# True while exported graphs may hold the compiled operators.
kept = ContextVar("kept", default=False)


@constant
def here() -> tuple[Callable[..., Tensor] | None, bool]:
    """`recorder` and `stock_only`, here and now."""
    return recorder.get(), stock_only.get()


@contextmanager
def _set(variable: ContextVar, value: Any) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def recording(function: Callable[..., Tensor]) -> AbstractContextManager[None]:
    """Within: `convolve` is `function`, and `sample` the portable one."""
    return _set(recorder, function)


def stock_operations() -> AbstractContextManager[None]:
    """A context in which TensorFlow graphs are made of TensorFlow's own operations alone.

    Example:
        >>> from deformconv.engines.switches import stock_operations
        >>> model = keras.Sequential([keras.Input((9, 7, 2)), DeformableConv2D(4, 3)])
        >>> if keras.backend.backend() == "tensorflow":
        ...     with stock_operations():
        ...         model.export("served", verbose=False)
    """
    return _set(stock_only, True)


def compiled_operations() -> AbstractContextManager[None]:
    """A context in which exported TensorFlow graphs hold the compiled operators: faster, and for this machine alone.

    Whoever loads such a file calls `deformconv.engines.native.kernels()` first.
    """
    return _set(kept, True)


def within_xla() -> bool:
    """Inside TensorFlow's `jit_compile=True`, which has none of the kernels. It has no public name."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

    return GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
