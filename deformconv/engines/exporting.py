"""Whether a graph is made to leave this process: then it must hold no operation that only this process has."""

import sys
from contextlib import AbstractContextManager

import keras

from deformconv.engines import switches
from deformconv.engines.constant import constant

# Modules whose functions trace a model in order to write it down.
EXPORTERS = ("keras.src.export.", "tensorflow.python.saved_model.save", "tensorflow.lite.", "tf2onnx.")


@constant
def leaving() -> bool:
    """Whether Keras or TensorFlow is exporting a model here and now. It has no public name: the callers are looked at.

    Only while a graph is traced, once for each layer; a function that somebody traces first and exports later is not
    known as such.
    """
    if switches.kept.get() or not _tracing():
        return False
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(EXPORTERS):
            return True
        frame = frame.f_back
    return False


def _tracing() -> bool:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return not tf.executing_eagerly()
    if keras.backend.backend() == "torch":
        import torch

        return torch.compiler.is_compiling() or torch.jit.is_tracing()
    return True


def compiled_operations() -> AbstractContextManager[None]:
    """A context in which exported TensorFlow graphs hold the compiled operators: faster, for this machine alone.

    Whoever loads such a file first calls `deformconv.engines.native.kernels()`.
    """
    return switches._set(switches.kept, True)
