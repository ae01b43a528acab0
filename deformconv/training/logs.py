"""The record of a training, a line a look: for people and programs as JSON lines, and for TensorBoard."""

import json
import warnings
from pathlib import Path
from typing import Any

from deformconv.training.files import set_aside, write_atomically
from deformconv.types import StrPath


class Logs:
    """`log.jsonl` and TensorBoard's event files in one folder.

    Args:
        folder: made if it is missing.
        done: the step that the training goes on from; lines after it are of a training that was cut off, and go. At 0
            a file that is there is of an earlier start, and is set aside, with a warning.
    """

    def __init__(self, folder: StrPath, done: int):
        from tensorboard.summary import Writer  # TensorFlow comes with it, but it takes seconds

        self.path = Path(folder) / "log.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        kept = [line for line in lines if _step(line) <= done]
        if lines and not done:
            warnings.warn(f"{self.path} is of an earlier start; it is {set_aside(self.path)} now.", stacklevel=2)
        write_atomically(self.path, "".join(f"{line}\n" for line in kept).encode())
        self.events = Writer(str(folder))

    def write(self, record: dict[str, Any]) -> None:
        """Adds a line, `step` and any numbers, or dicts of numbers; at once on the disk."""
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        for name, value in record.items():
            parts = {f"{name}/{part}": v for part, v in value.items()} if isinstance(value, dict) else {name: value}
            for tag, number in parts.items():
                if tag != "step":
                    self.events.add_scalar(tag, number, record["step"])
        self.events.flush()

    def close(self) -> None:
        """Ends the event file."""
        self.events.close()


def _step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, LookupError, TypeError):  # a line that was cut off
        return float("inf")
