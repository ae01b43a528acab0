"""Checkpoints of runs that have not ended, and beside each what it was begun with: nothing else goes on from it."""

import json
from pathlib import Path

from deformconv.study.provenance import other_versions
from deformconv.training import checkpoint, devices
from deformconv.training.files import write_atomically


class Unfinished:
    """The folder of them.

    Args:
        folder: that exists.
        ground: all that decides the outcome of a run besides its variant, seed and the versions; JSON can hold it.
        versions: of what computes.

    Raises:
        ValueError: if a run there was begun with another ground or other versions.
    """

    def __init__(self, folder, ground, versions):
        self.folder, self.ground, self.versions = Path(folder), ground, versions
        # Whoever died as the files moved on has left the older ones alone.
        for name in sorted({path.name.partition(".npz")[0] for path in self.folder.glob("*.npz*")}):
            self._check(self.folder / f"{name}.npz")

    def begin(self, variant, seed) -> Path:
        """Notes what the run is begun with, or gone on with; returns the path of its checkpoint."""
        path = self._path(variant, seed)
        if devices.is_first():
            about = {"ground": self.ground, "versions": self.versions}
            write_atomically(path.with_suffix(".json"), json.dumps(about, indent=1).encode() + b"\n")
        return path

    def forget(self, variant, seed):
        """Removes what a finished run does not need any more."""
        path = self._path(variant, seed)
        for file in (*checkpoint.all_of(path), path.with_suffix(".json")):
            file.unlink(missing_ok=True)

    def _path(self, variant, seed):
        return self.folder / f"{variant}-{seed}.npz"

    def _check(self, path):
        try:
            about = json.loads(path.with_suffix(".json").read_text())
            before, difference = about["ground"], other_versions(about["versions"])
            for key, value in self.ground.items():
                if before.get(key) != value:
                    difference = f"{key}={before.get(key)!r}, and this one has {key}={value!r}"
        except (OSError, ValueError, LookupError, TypeError):
            difference = "unknown settings: nothing beside it says which"
        # Another process may have ended the run by now; the note goes last.
        if difference and any(file.exists() for file in checkpoint.all_of(path)):
            raise ValueError(
                f"{path} is of a run that was begun with {difference}. "
                f"Choose another --out, or delete {path.name}* there."
            )
