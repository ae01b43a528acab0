"""`export_onnx`: a Keras model as an ONNX file, each deformable convolution in it a `DeformConv` node."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras

from deformconv.exchange import onnx_check
from deformconv.types import StrPath


def export_onnx(model: keras.Model, path: StrPath, *, input_signature: Any = None, finite: bool = True) -> float | None:
    """Writes a model as an ONNX file of opset 22, with one `DeformConv` node per deformable convolution.

    The file computes what `model(inputs, training=False)` computes, with the model's own order of axes; batch, height
    and width stay unknown where they are. The other layers of this package become gathers, standard layers what
    tf2onnx makes of them. Inputs have the names of the model's inputs, outputs those of the layers that they come from
    (a dictionary's: its keys; a subclassed model's: `output_0` and so on). onnxruntime runs `DeformConv` on the CPU
    from version 1.25 on.

    On JAX and PyTorch the model goes to TensorFlow, in a process of its own, as a `.keras` file.

    The model is run once, on an image of random numbers, and so is the file, where onnxruntime is installed: a file
    that computes something else is not written.

    Args:
        model: a `keras.Model` of float32 layers.
        path: of the file to write; an old one is replaced, and left as it is if the export fails.
        input_signature: None, or what the model is called with, a `keras.KerasTensor` or `keras.InputSpec` in place
            of each tensor: to fix unknown sizes, or for a subclassed model, which does not say its inputs.
        finite: whether weights and outputs must be finite numbers. Other runtimes read an undefined offset as 0, so
            that a model that has diverged gives NaN in Keras and plausible numbers there.

    Returns:
        The largest difference between an output of the model and of the file; None where that was not tried.

    Raises:
        ValueError: if `model` is no Keras model, is not float32, does not say its inputs or is not finite, or if there
            can be no file at `path`.
        ImportError: if tf2onnx or onnx is missing.
        RuntimeError: if tf2onnx, or the process that converts the model of another engine, fails, with its words; or
            if the file computes something else.

    Example:
        >>> layer = DeformableConv2D(6, (3, 2), padding="same")
        >>> difference = export_onnx(keras.Sequential([keras.Input((5, 4, 2)), layer]), "model.onnx")
        >>> difference is None or difference < 1e-5
        True
    """
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a keras.Model; received {type(model).__name__}.")
    path = Path(path).absolute()
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"`path` must be a file in a folder that exists; received {str(path)!r}.")
    for layer in model._flatten_layers():
        if "float" in (layer.compute_dtype or "") and layer.compute_dtype != "float32":
            raise ValueError(
                f"`model` must be float32 throughout; layer {layer.name!r} computes in {layer.compute_dtype}. "
                'Build the model again with dtype="float32" and give it the weights of this one.'
            )
    missing = [name for name in ("tf2onnx", "onnx") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f'Export needs {" and ".join(missing)}: pip install "deformconv[onnx]"')
    signature = _signature(model, input_signature)
    if finite:
        onnx_check.check_weights(model)
    tried = onnx_check.tried(model, signature, finite)

    # A folder beside the file, so that the file appears whole or not at all.
    with tempfile.TemporaryDirectory(prefix=f"{path.name}.", dir=path.parent) as folder:
        part = Path(folder) / "model.onnx"
        if keras.backend.backend() == "tensorflow":
            part.write_bytes(convert_here(model, signature))
        else:
            _convert_on_tensorflow(model, signature, part)
        difference = onnx_check.largest_difference(part, *tried) if tried else None
        part.replace(path)
    return difference


def convert_here(model: keras.Model, signature: Any) -> bytes:
    """The model as an ONNX file's content. TensorFlow is the engine."""
    from deformconv.exchange.onnx_model import convert
    from deformconv.exchange.onnx_node import lift

    return lift(convert(model, signature)).SerializeToString()


def _signature(model: keras.Model, given: Any) -> Any:
    """What the model is called with, a `KerasTensor` in place of each tensor."""
    if given is None:
        declared = getattr(model, "inputs", None)
        if not declared:
            raise ValueError(
                f"Model {model.name!r} does not say its inputs: give `input_signature`, a keras.KerasTensor with "
                "shape, dtype and name in place of each tensor that the model is called with."
            )
        given = declared[0] if isinstance(model, keras.Sequential) else model.input
    try:
        return keras.tree.map_structure(
            lambda t: keras.KerasTensor(t.shape, dtype=t.dtype or "float32", name=t.name), given
        )
    except AttributeError as error:
        raise ValueError(
            "`input_signature` must have a keras.KerasTensor or keras.InputSpec in place of each tensor; "
            f"received {given!r}."
        ) from error


def _convert_on_tensorflow(model: keras.Model, signature: Any, path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "model.keras"
        model.save(saved)
        done = subprocess.run(
            [sys.executable, "-m", "deformconv.exchange", saved, path],
            input=json.dumps(keras.saving.serialize_keras_object(signature)),
            # TensorFlow needs no GPU to trace a model, and would take what this process has left of its memory.
            env=os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"},
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise RuntimeError(
            "The model could not be converted on TensorFlow. It goes there as a .keras file, which loads only if its "
            "layers are Keras's or this package's: with layers of your own, export from a program that runs with "
            "KERAS_BACKEND=tensorflow. The last lines were:\n" + "\n".join(done.stderr.strip().splitlines()[-10:])
        )
