"""A folder with a sub-folder of pictures for each class, read picture by picture when they are asked for."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from deformconv.types import StrPath

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
GREY, COLOUR = ("1", "L", "LA"), ("P", "RGB", "RGBA", "CMYK", "YCbCr")
ORIENTATION, ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)  # what cameras note of how they were held
# What Pillow raises on what is no picture, or half of one, or too large to be one.
BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class ImageFolder:
    """Pictures as an array of bytes `(n, height, width, channels)` that lies on the disk: `images[numbers]` reads some.

    Those of another size are made smaller or larger until they just fit, and black fills up the rest: nothing is cut
    off, nothing stretched.

    Args:
        folder: with a sub-folder for each class. What is no picture by its name is left out.
        size: `(height, width)`; None takes that of the pictures, if they have one size.
        grey: whether there is one channel or three (red, green, blue); None makes it one if all pictures are grey.

    Attributes:
        shape, dtype: as an array's.
        labels: the class of each picture, `(n,)`.
        classes: the names of the sub-folders, in order.
        paths: of the pictures.

    Raises:
        ValueError: if there are no such sub-folders, a picture cannot be read, or sizes differ and `size` is None.
    """

    dtype = np.dtype("uint8")

    def __init__(self, folder: StrPath, size: tuple[int, int] | None = None, grey: bool | None = None):
        self.folder = Path(folder)
        self.classes, self.paths, self.labels = self._find()
        sizes, modes = zip(*map(self._header, self.paths), strict=True)
        if size is None:
            size = sizes[0]
            other = next((i for i, found in enumerate(sizes) if found != size), None)
            if other is not None:
                raise ValueError(
                    f"Pictures must have one size, or be given one; received {self.paths[0]} with height and width "
                    f"{size}, {self.paths[other]} with {sizes[other]}. Say which: `size=(height, width)`, on the "
                    "command line --size HEIGHT WIDTH."
                )
        self.grey = all(mode in GREY for mode in modes) if grey is None else grey
        self.shape = (len(self.paths), *size, 1 if self.grey else 3)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, numbers: Any) -> np.ndarray:
        return np.stack([self._read(self.paths[number]) for number in np.arange(len(self))[numbers]])

    def _find(self) -> tuple[list[str], list[Path], np.ndarray]:
        if not self.folder.is_dir():
            raise ValueError(f"A folder of pictures must be there; received {str(self.folder)!r}, which is not.")
        inside = [path for path in sorted(self.folder.iterdir()) if not path.name.startswith(".")]
        folders = [path for path in inside if path.is_dir()]
        if not folders:
            slip = ""
            if any(map(_is_picture, inside)):
                slip = " The pictures lie in it directly: move those of each class into a sub-folder with its name."
            raise ValueError(f"{self.folder} must have a sub-folder of pictures for each class; it has none.{slip}")
        paths, labels = [], []
        for label, below in enumerate(folders):
            own = [path for path in sorted(below.iterdir()) if _is_picture(path)]
            if not own:
                slip = ""
                if any(path.is_dir() for path in below.iterdir()):
                    slip = f" It has sub-folders: are they the classes? Then give {below}."
                raise ValueError(f"{below} must have pictures ({', '.join(SUFFIXES)}); it has none.{slip}")
            paths += own
            labels += [label] * len(own)
        return [path.name for path in folders], paths, np.array(labels, "int32")

    def _header(self, path: Path) -> tuple[tuple[int, int], str]:
        """Size and mode of a picture, without reading its pixels."""
        try:
            with Image.open(path) as picture:
                (width, height), mode = picture.size, picture.mode
                # Of a PNG file Pillow would read all pixels, to look behind them too.
                noted = picture.format != "PNG" or "exif" in picture.info
                turned = noted and picture.getexif().get(ORIENTATION) in ON_ITS_SIDE
        except BROKEN as error:
            raise ValueError(f"{path} cannot be read as a picture ({error}). Mend it, or take it out.") from error
        if mode not in GREY + COLOUR:
            raise ValueError(f"{path} must have 8 bits a channel; it has Pillow's mode {mode!r}. Save it with 8.")
        return (width, height) if turned else (height, width), mode

    def _read(self, path: Path) -> np.ndarray:
        _, height, width, _ = self.shape
        try:
            with Image.open(path) as picture:
                upright = ImageOps.exif_transpose(picture).convert("L" if self.grey else "RGB")
        except BROKEN as error:
            raise ValueError(f"{path} cannot be read as a picture ({error}). Mend it, or take it out.") from error
        return np.asarray(ImageOps.pad(upright, (width, height))).reshape(height, width, -1)


def _is_picture(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
