"""A folder with a sub-folder of pictures for each class, read picture by picture when they are asked for."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from deformconv.training import pictures
from deformconv.types import StrPath

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
# What systems and programs leave beside pictures, besides what is hidden.
NO_CLASSES = (
    "__MACOSX",
    "@eaDir",
    "#recycle",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
    "__pycache__",
)
NAMED = 3  # of what is left out


class ImageFolder:
    """Pictures as an array of bytes `(n, height, width, channels)` that lies on the disk: `images[numbers]` reads some.

    Each is as a viewer shows it: upright as the camera noted it, transparent parts on a white ground, 16 bits and
    palettes made bytes, of what moves the first frame. Those of another size are made smaller or larger until they just
    fit, and black fills up the rest: nothing is cut off, nothing stretched.

    Args:
        folder: with a sub-folder for each class. What is hidden or no picture by its name is left out, and so are
            folders in those of the classes and what systems leave behind (`__MACOSX`, `@eaDir`). A warning counts them.
        size: `(height, width)`; None takes that of the pictures, if they have one size.
        grey: whether there is one channel or three (red, green, blue); None makes it one if all pictures are grey.

    Attributes:
        shape, dtype: as an array's.
        labels: the class of each picture, `(n,)`.
        classes: the names of the sub-folders, in order.
        paths: of the pictures.
        left_out: the paths of what was left out.
        moving: the paths of pictures with more than one frame.

    Raises:
        ValueError: if there are no such sub-folders, a picture cannot be read, or sizes differ and `size` is None.
    """

    dtype = np.dtype("uint8")

    def __init__(self, folder: StrPath, size: tuple[int, int] | None = None, grey: bool | None = None):
        self.folder = Path(folder)
        self.left_out: list[Path] = []
        self.classes, self.paths, self.labels = self._find()
        headers = [pictures.header(path) for path in self.paths]
        self.moving = [path for path, header in zip(self.paths, headers, strict=True) if header.moves]
        if size is None:
            size = headers[0].size
            other = next((i for i, header in enumerate(headers) if header.size != size), None)
            if other is not None:
                raise ValueError(
                    f"Pictures must have one size, or be given one; received {self.paths[0]} with height and width "
                    f"{size}, {self.paths[other]} with {headers[other].size}. Say which: `size=(height, width)`, on "
                    "the command line --size HEIGHT WIDTH."
                )
        self.grey = all(header.grey for header in headers) if grey is None else grey
        self.shape = (len(self.paths), *size, 1 if self.grey else 3)
        self._say()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, numbers: Any) -> np.ndarray:
        some = np.arange(len(self))[numbers]
        if not len(some):
            return np.zeros((0, *self.shape[1:]), self.dtype)
        return np.stack([pictures.read(self.paths[number], self.shape[1:3], self.grey) for number in some])

    def _find(self) -> tuple[list[str], list[Path], np.ndarray]:
        if not self.folder.is_dir():
            raise ValueError(f"A folder of pictures must be there; received {str(self.folder)!r}, which is not.")
        inside = sorted(self.folder.iterdir())
        folders = [path for path in inside if path.is_dir() and _is_class(path)]
        self.left_out += [path for path in inside if path not in folders]
        if not folders:
            slip = ""
            if any(map(_is_picture, inside)):
                slip = " The pictures lie in it directly: move those of each class into a sub-folder with its name."
            raise ValueError(f"{self.folder} must have a sub-folder of pictures for each class; it has none.{slip}")
        paths, labels = [], []
        for label, below in enumerate(folders):
            all_below = sorted(below.iterdir())
            own = [path for path in all_below if _is_picture(path)]
            if not own:
                slip = ""
                if any(path.is_dir() for path in all_below):
                    slip = f" It has sub-folders: are they the classes? Then give {below}."
                raise ValueError(f"{below} must have pictures ({', '.join(SUFFIXES)}); it has none.{slip}")
            self.left_out += [path for path in all_below if not _is_picture(path)]
            paths += own
            labels += [label] * len(own)
        return [path.name for path in folders], paths, np.array(labels, "int32")

    def _say(self) -> None:
        for found, what in (
            (self.left_out, "left out as no pictures of a class"),
            (self.moving, "with more than one frame, of which the first is taken"),
        ):
            if found:
                some = ", ".join(path.relative_to(self.folder).as_posix() for path in found[:NAMED])
                more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
                warnings.warn(f"{self.folder}: {len(found)} {what}: {some}{more}.", stacklevel=3)


def _is_class(path: Path) -> bool:
    return not path.name.startswith(".") and path.name not in NO_CLASSES


def _is_picture(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
