"""Whether an exported model is worth exporting, and whether the file computes what it does."""

import importlib.util
import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

SIZES = 32, 256  # tried, one after the other, for a height and width that the model leaves open
TOLERANCE = 1e-3  # of the largest output


def check_weights(model: keras.Model) -> None:
    """Refuses weights that are not finite: other runtimes read an undefined offset as 0, and give plausible numbers."""
    for weight in model.weights:
        if "float" in weight.dtype and not np.isfinite(ops.convert_to_numpy(weight)).all():
            raise ValueError(
                f"`model` must have finite weights; {weight.path!r} has not: the training diverged. A runtime may read "
                "an undefined offset as 0 and give plausible numbers. With `finite=False` it is exported all the same."
            )


def tried(model: keras.Model, signature: Any, finite: bool) -> tuple[Any, list[np.ndarray]] | None:
    """Inputs, and the flat outputs of the model for them; None, with a warning, if it takes none of `SIZES`.

    The inputs are one image of normal numbers, or zeros where they are no floats.

    Raises:
        ValueError: if `finite` is asked for, and an output is not.
    """
    why = ""
    for size in SIZES:
        inputs = keras.tree.map_structure(lambda tensor, size=size: _drawn(tensor, size), signature)
        try:
            outputs = [ops.convert_to_numpy(one) for one in keras.tree.flatten(model(inputs, training=False))]
        except Exception as error:  # whatever its layers raise for images that are too small
            why = " ".join(str(error).split())[:200]
            continue
        if finite and not all(np.isfinite(one).all() for one in outputs):
            raise ValueError(
                "`model` must give finite outputs; for an image of random numbers it does not. A runtime may read an "
                "undefined offset as 0 and give plausible numbers. With `finite=False` it is exported all the same."
            )
        return inputs, outputs
    warnings.warn(
        f"The exported model was not tried: it could not be called on a random image of its own size, or of "
        f"{' or '.join(map(str, SIZES))} pixels ({why}). `input_signature` can fix the size.",
        stacklevel=3,
    )
    return None


def _drawn(tensor, size):
    shape = [n if n is not None else size if axis else 1 for axis, n in enumerate(tensor.shape)]
    drawn = np.random.default_rng(0).normal(size=shape) if "float" in tensor.dtype else np.zeros(shape)
    return drawn.astype(tensor.dtype)


def largest_difference(path: Any, inputs: Any, expected: list[np.ndarray]) -> float | None:
    """Between what the file gives in onnxruntime and what was expected; None where no onnxruntime can run it.

    Raises:
        RuntimeError: if they are not the same.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as Unknown

    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), quiet, providers=["CPUExecutionProvider"])
    except Unknown:  # before 1.25 it has no `DeformConv`
        return None
    names = [put.name for put in session.get_inputs()]
    found = session.run(None, dict(zip(names, keras.tree.flatten(inputs), strict=True)))
    largest = 0.0
    for ours, theirs in zip(found, expected, strict=True):
        there = np.isfinite(theirs)  # all of them, unless the caller lets others pass
        difference = np.inf
        if ours.shape == theirs.shape:
            # Bools and unsigned ints have no differences of their own.
            difference = float(np.abs(ours[there].astype("float64") - theirs[there].astype("float64")).max(initial=0))
        if not difference <= TOLERANCE * max(1, np.abs(theirs[there]).max(initial=0)):
            raise RuntimeError(
                "The exported file does not compute what the model does: in onnxruntime "
                f"{onnxruntime.__version__} an output differs by {difference:.2g}."
            )
        largest = max(largest, difference)
    return largest
