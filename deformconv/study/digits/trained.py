"""A trained classifier that comes with the package: what the book shows where a training would take too long."""

import io
import json
from importlib import resources
from pathlib import Path

import keras
import numpy as np

from deformconv.study.digits.variants import VARIANTS
from deformconv.training.files import write_atomically

FILE = Path(str(resources.files("deformconv.study.digits"))) / "trained.npz"
NAMES = ("regular", "deformable")


def load(name="deformable", path=FILE) -> keras.Model:
    """The plain classifier, or the same with offsets that were trained on scaled digits, all else frozen.

    Both come out of one set of weights: where a weight has the same name, it is the same. They are seed 0 of the
    first study on MNIST, rounded to half precision; `about()` says how they were made.

    Args:
        name: `"deformable"` or `"regular"`.
        path: of a file written by `save`.

    Raises:
        ValueError: if the name is another.
    """
    if name not in NAMES:
        raise ValueError(f"`name` must be one of {', '.join(NAMES)}; received {name!r}.")
    model = VARIANTS[name].network()
    with np.load(path) as weights:
        for weight in model.weights:
            weight.assign(weights[weight.path].astype("float32"))
    return model


def about(path=FILE) -> dict:
    """How the weights were made: the run of the results file that they are from."""
    with np.load(path) as weights:
        return json.loads(str(weights["about"]))


def save(model, run, path=FILE):
    """Writes the weights of a trained `deformable` model in half precision, with its run, whole or not at all.

    Raises:
        ValueError: if a weight is too large for half precision.
    """
    weights = {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights}
    for name, values in weights.items():
        if np.abs(values).max() > np.finfo("float16").max:
            raise ValueError(f"{name} is too large for half precision.")
    content = io.BytesIO()
    halves = {name: values.astype("float16") for name, values in weights.items()}
    np.savez_compressed(content, about=np.array(json.dumps(run)), **halves)
    write_atomically(path, content.getvalue())
