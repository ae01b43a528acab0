"""Files that are whole at every moment."""

import itertools
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from deformconv.types import StrPath

# What zipfile and NumPy raise on damaged bytes, depending on where the damage is.
UNREADABLE = (OSError, ValueError, LookupError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error)


def set_aside(path: Path) -> Path:
    """Gives a file the first free name after its own, such as `log.jsonl.1`; returns that."""
    names = (path.with_name(f"{path.name}.{number}") for number in itertools.count(1))
    free = next(name for name in names if not name.exists())
    path.replace(free)
    return free


def write_atomically(path: StrPath, content: bytes, before: Callable[[], object] = lambda: None) -> None:
    """Writes a file whole or not at all: beside its place, onto the disk, then, after `before`, into its place."""
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        before()
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
