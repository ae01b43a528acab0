"""Images of one's own to train on: an .npz file with the arrays `x` and `y`, or a folder with a sub-folder a class."""

import math
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deformconv.training.files import UNREADABLE
from deformconv.training.image_folder import ImageFolder
from deformconv.types import Images, StrPath

NAMES = (("x", "y"), ("x_train", "y_train"), ("images", "labels"))
LARGE = 2 << 30  # bytes of images that are not copied to the device whole
SPLIT_SEED = 2018
LOOKED_AT = 1000  # images whose values are checked


@dataclass(frozen=True)
class OwnData:
    """Images and labels, wherever they lie.

    Attributes:
        images: `(n, height, width, channels)`, bytes or floats, in memory or on the disk: `images[numbers]` reads some.
        labels: `(n,)`, from 0.
        classes: their names.
    """

    images: Images
    labels: np.ndarray
    classes: list[str]

    @property
    def is_large(self) -> bool:
        """Whether a device might not hold the images."""
        return math.prod(self.images.shape) * self.images.dtype.itemsize > LARGE

    def split(self, share: float) -> tuple[tuple["Chosen", np.ndarray], tuple["Chosen", np.ndarray]]:
        """`(images, labels), (images, labels)`: the same share of each class is in the second, for choosing by.

        Which ones these are depends on the labels alone; a class of two images or more has at least one in either.
        """
        rng, kept = np.random.default_rng(SPLIT_SEED), []
        for label in range(len(self.classes)):
            own = rng.permutation(np.flatnonzero(self.labels == label))
            kept.append(own[: min(max(round(share * len(own)), share > 0), max(len(own) - 1, 0))])
        second = np.sort(np.concatenate(kept)).astype(int)
        first = np.setdiff1d(np.arange(len(self.labels)), second)
        return (Chosen(self.images, first), self.labels[first]), (Chosen(self.images, second), self.labels[second])


class Chosen:
    """Some of many images: `chosen[i]` is `images[numbers[i]]`. Bytes stay bytes, numbers become float32."""

    def __init__(self, images: Images, numbers: np.ndarray):
        self.images, self.numbers = images, numbers
        self.shape = (len(numbers), *images.shape[1:])
        self.dtype = np.dtype("uint8" if images.dtype == "uint8" else "float32")

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, which: Any) -> np.ndarray:
        return np.asarray(self.images[self.numbers[which]], self.dtype)


def load_images(
    path: StrPath,
    size: tuple[int, int] | None = None,
    grey: bool | None = None,
    stream: bool = False,
) -> OwnData:
    """Reads an .npz file or a folder of pictures.

    Args:
        path: of a folder (see `ImageFolder`), or of an .npz file with `x`, images `(n, height, width, channels)` or
            `(n, height, width)`, bytes or floats in [0, 1], and `y`, their labels `(n,)` from 0. Keras's own
            names, `x_train` and `y_train`, do as well.
        size, grey: of a folder's pictures, as in `ImageFolder`.
        stream: whether the images of an .npz file stay on the disk, as those of a folder do. Large ones do anyway,
            unless the file is compressed.

    Raises:
        ValueError: if there is no such file, or what is in it cannot be trained on; it says what and why.
    """
    path = Path(path)
    images: Images
    if path.suffix == ".npz":
        if size is not None or grey is not None:
            raise ValueError(f"Size and colours can be chosen for pictures in a folder; {path} has what it has.")
        images, labels = _npz(path, stream)
        classes = [str(label) for label in range(labels.max() + 1)]
    else:
        if path.is_file():
            raise ValueError(f"Images must lie in an .npz file or in a folder; received the file {str(path)!r}.")
        images = folder = ImageFolder(path, size, grey)
        labels, classes = folder.labels, folder.classes
    if len(classes) < 2:
        raise ValueError(f"{path} must have two classes or more; it has one, {classes[0]!r}: nothing to tell apart.")
    return OwnData(images, labels, classes)


def _npz(path: Path, stream: bool) -> tuple[np.ndarray, np.ndarray]:
    if not path.is_file():
        raise ValueError(f"An .npz file must be there; received {str(path)!r}, which is not.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = archive.files
            names = next((pair for pair in NAMES if set(pair) <= set(found)), None)
            if names is None:
                raise _Refused(f"{path} must have the arrays `x` and `y`; it has {', '.join(found) or 'none'}.")
            images = _mapped(path, f"{names[0]}.npy", stream)
            images = archive[names[0]] if images is None else images
            labels = archive[names[1]]
    except _Refused:
        raise
    except UNREADABLE as error:
        slip = ""
        if "allow_pickle" in str(error):
            slip = " Python objects are never read: they can run code. Save arrays of numbers, all images of one size."
        raise ValueError(f"{path} cannot be read as an .npz file of numbers ({error}).{slip}") from error
    return _images(path, names[0], images), _labels(path, names[1], labels, len(images))


class _Refused(ValueError):
    """What is said already."""


def _mapped(path: Path, name: str, stream: bool) -> np.ndarray | None:
    """The array where it lies in the file; None if it is to be read, or is compressed."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED or not (stream or info.file_size > LARGE):
            return None
        with archive.open(name) as member:
            version = np.lib.format.read_magic(member)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in read:
                return None
            shape, fortran, dtype = read[version](member)
            header = member.tell()
    if dtype.hasobject:
        return None  # and is refused as it is read
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)  # the lengths of the name and of the extra field in front of the data
        start = info.header_offset + 30 + sum(struct.unpack("<HH", file.read(4))) + header
    return np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")


def _images(path: Path, name: str, images: np.ndarray) -> np.ndarray:
    what = f"`{name}` of {path}"
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or not images.size:
        raise ValueError(
            f"{what} must have shape (n, height, width, channels) or (n, height, width); received {images.shape}."
        )
    if images.shape[1] in (1, 3) and images.shape[3] not in (1, 3, 4):
        raise ValueError(
            f"{what} must have its channels last; received shape {images.shape}. Are they on the second axis? "
            "Move them: np.moveaxis(x, 1, -1)."
        )
    if images.dtype != "uint8" and images.dtype.kind != "f":
        raise ValueError(f"{what} must be uint8 or floats in [0, 1]; received {images.dtype}. Convert it, and save.")
    if images.dtype.kind == "f":
        some = np.asarray(images[:LOOKED_AT])
        if not np.isfinite(some).all():
            raise ValueError(f"{what} must be finite; it has NaN or infinity.")
        if some.min() >= 0 and some.max() > 2:
            raise ValueError(
                f"{what} must be floats in [0, 1]; received values up to {some.max():g}. Are they bytes? Save them as "
                "uint8, or divide them by 255."
            )
    return images


def _labels(path: Path, name: str, labels: np.ndarray, count: int) -> np.ndarray:
    what = f"`{name}` of {path}"
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (count,):
        slip = " Is it one-hot? `y.argmax(-1)` are labels." if labels.ndim == 2 else ""
        raise ValueError(f"{what} must have one label an image, shape ({count},); received {labels.shape}.{slip}")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{what} must be ints; received {labels.dtype}. Number the classes from 0.")
    there = np.unique(labels)
    if there[0] != 0 or there[-1] != len(there) - 1:
        missing = next(label for label in range(len(there) + 1) if label not in there)
        slip = " Do they count from 1? Subtract it." if there[0] == 1 else ""
        raise ValueError(
            f"{what} must be labels from 0, each with an image at least; received {there[0]} to {there[-1]} "
            f"without {missing}.{slip}"
        )
    return labels.astype("int32")
