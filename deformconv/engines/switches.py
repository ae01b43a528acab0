"""What overrules the choice of an engine for a while: contexts that `engines` asks."""

from contextlib import contextmanager
from contextvars import ContextVar

from deformconv.engines.constant import constant

# Both are TensorFlow's alone. Not None while a model is recorded for another runtime: called in place of `convolve`.
recorder = ContextVar("recorder", default=None)
# True while a graph is to hold nothing but TensorFlow's own operations.
stock_only = ContextVar("stock_only", default=False)


@constant
def here():
    """`recorder` and `stock_only`, here and now."""
    return recorder.get(), stock_only.get()


@contextmanager
def _set(variable, value):
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def recording(function):
    """Within: `convolve` is `function`, and `sample` the portable one."""
    return _set(recorder, function)


def stock_operations():
    """A context in which TensorFlow graphs are made of TensorFlow's own operations alone.

    Example:
        >>> from deformconv.engines.switches import stock_operations
        >>> model = keras.Sequential([keras.Input((9, 7, 2)), DeformableConv2D(4, 3)])
        >>> if keras.backend.backend() == "tensorflow":
        ...     with stock_operations():
        ...         model.export("served", verbose=False)
    """
    return _set(stock_only, True)
