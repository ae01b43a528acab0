"""The whole state of a training in one file, so that an interrupted one ends as if it had never stopped."""

import io
import json
import warnings
from pathlib import Path

import numpy as np
from keras import ops

from deformconv.study.files import UNREADABLE, write_atomically


class Checkpoint:
    """Variables in one file: weights, BatchNorm's statistics, the optimizer's moments and its count of steps.

    `about` is what the training must have in common with the one that wrote the file. A file that is damaged, or of
    another training, is told of in a warning, and the training begins anew.
    """

    def __init__(self, path, variables, about):
        self.path, self.variables = Path(path), variables
        self.about = json.dumps({**about, "shapes": [list(variable.shape) for variable in variables]}, default=list)

    def read(self):
        """Sets the variables; returns the number of steps done and the seconds they took."""
        if not self.path.exists():
            return 0, 0.0
        try:
            with np.load(self.path, allow_pickle=False) as file:
                if str(file["about"]) != self.about:
                    raise ValueError("it is of another training")
                values = [file[str(i)] for i in range(len(self.variables))]
                done, seconds = int(file["done"]), float(file["seconds"])
        except UNREADABLE as error:
            warnings.warn(f"{self.path} is no checkpoint to go on from ({error}); training begins anew.", stacklevel=2)
            return 0, 0.0
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)
        return done, seconds

    def write(self, done, seconds):
        """Keeps the variables as they are after `done` steps."""
        values = {str(i): ops.convert_to_numpy(variable) for i, variable in enumerate(self.variables)}
        content = io.BytesIO()
        np.savez(content, about=self.about, done=done, seconds=seconds, **values)
        write_atomically(self.path, content.getvalue())
