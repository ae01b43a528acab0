"""Whether a graph is made to leave this process: then it must hold no operation that only this process has."""

import sys
from types import FrameType

import keras

from deformconv.engines import switches
from deformconv.engines.constant import constant

# Modules whose functions trace a model in order to write it down: for TensorFlow itself, and for other runtimes.
TO_TENSORFLOW = ("keras.src.export.saved_model", "tensorflow.python.saved_model.save")
TO_OPENVINO = ("keras.src.export.openvino",)
ELSEWHERE = ("keras.src.export.onnx", "keras.src.export.litert", "tensorflow.lite.", "tf2onnx.", *TO_OPENVINO)


@constant
def leaving() -> bool:
    """Whether Keras or TensorFlow is exporting a model here and now.

    Looked at while a graph is traced; on JAX, which has no public way to ask, at each call. A function that somebody
    traces first and exports later is not known as such.

    Raises:
        ValueError: if it is for OpenVINO from TensorFlow.
    """
    if switches.kept.get() or not _tracing():
        return False
    if keras.backend.backend() == "tensorflow" and _called_from(TO_OPENVINO):
        raise ValueError(
            "OpenVINO gives other numbers for this package's layers in TensorFlow graphs. Call deformconv.export_onnx, "
            "and read the file with deformconv.openvino_extension."
        )
    return _called_from(TO_TENSORFLOW + ELSEWHERE)


def for_another_runtime() -> bool:
    """Whether the graph is for another runtime than TensorFlow, so that it can hold no checks of TensorFlow's."""
    recorder, _ = switches.here()
    return recorder is not None or (_tracing() and _called_from(ELSEWHERE))


def _tracing() -> bool:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return not tf.executing_eagerly()
    if keras.backend.backend() == "torch":
        import torch

        return torch.compiler.is_compiling() or torch.jit.is_tracing()
    return True


def _called_from(modules: tuple[str, ...]) -> bool:
    """Exporters have no public name for "now": the callers are looked at."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(modules):
            return True
        frame = frame.f_back
    return False
