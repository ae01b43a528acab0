"""The whole state of a training in a file: an interrupted one goes on and ends as if it had never stopped.

Keras's BackupAndRestore writes in place and without a checksum, and knows epochs only; Orbax brings JAX with it.
NumPy's own format does: each array in it has a checksum, and it is opened without running code.
"""

import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from deformconv.training.files import UNREADABLE, write_atomically
from deformconv.types import StrPath

KEPT = 3


class Checkpoint:
    """Variables in a file: weights, BatchNorm's statistics, the optimizer's moments and its count of steps.

    The two files before it are kept beside it, `training.npz.1` and `training.npz.2`. A file that is damaged, or of
    another training, is told of in a warning, and the one before it is taken; after the last, the training begins anew.

    Args:
        path: of the newest.
        variables: what is kept and set.
        about: what the training must have in common with the one that wrote the file; JSON can hold it.
    """

    def __init__(self, path: StrPath, variables: list[keras.Variable], about: dict[str, Any]):
        self.path, self.variables = Path(path), variables
        self.about = json.dumps({**about, "shapes": [list(variable.shape) for variable in variables]}, default=list)

    def read(self) -> tuple[dict[str, Any], list[np.ndarray]] | None:
        """Sets the variables; returns the `state` and `arrays` that were written with them, or None."""
        for path in all_of(self.path):
            if not path.exists():
                continue
            try:
                with np.load(path, allow_pickle=False) as file:
                    if str(file["about"]) != self.about:
                        raise ValueError("it is of another training")
                    values = [file[str(i)] for i in range(len(self.variables))]
                    state = json.loads(str(file["state"]))
                    arrays = [file[f"more{i}"] for i in range(state["arrays"])]
            except UNREADABLE as error:
                warnings.warn(f"{path} is no checkpoint to go on from ({error}).", stacklevel=2)
                continue
            for variable, value in zip(self.variables, values, strict=True):
                variable.assign(value)
            return state, arrays
        return None

    def write(self, state: dict[str, Any], arrays: Sequence[np.ndarray] = ()) -> None:
        """Keeps the variables as they are, with a dict that JSON can hold and with further arrays."""
        values = {str(i): ops.convert_to_numpy(variable) for i, variable in enumerate(self.variables)}
        values |= {f"more{i}": array for i, array in enumerate(arrays)}
        content = io.BytesIO()
        np.savez(content, about=self.about, state=json.dumps({**state, "arrays": len(arrays)}), **values)
        newest, *older = all_of(self.path)
        try:
            write_atomically(newest, content.getvalue(), before=lambda: _move_on(newest, older))
        except OSError as error:
            there = [path.name for path in all_of(self.path) if path.exists()]
            kept = f"{there[0]} is whole" if there else "there is none before it"
            raise OSError(f"The checkpoint {newest} could not be written ({error}); {kept}.") from error


def all_of(path: StrPath) -> list[Path]:
    """Where a training's checkpoints are, the newest first."""
    path = Path(path)
    return [path, *(path.with_name(f"{path.name}.{age}") for age in range(1, KEPT))]


def _move_on(newest: Path, older: list[Path]) -> None:
    # The oldest goes first, so that whoever dies in between leaves a whole file under one of the names.
    for before, after in reversed(list(zip([newest, *older], older, strict=False))):
        if before.exists():
            before.replace(after)
