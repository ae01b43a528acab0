"""A digest of data: whether it is the same as the last time, whatever it is called and wherever it lies."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from deformconv.training.image_folder import ImageFolder

AT_ONCE = 256 << 20  # bytes of an array on the disk that are read at once


def of_arrays(*arrays: ArrayLike) -> str:
    """SHA-256 of numbers, their types and shapes. Those on the disk are read piece by piece."""
    digest = hashlib.sha256()
    for array in map(np.atleast_1d, arrays):
        digest.update(f"{array.dtype.str} {array.shape}\n".encode())
        rows = max(1, AT_ONCE // max(1, array[:1].nbytes))
        for start in range(0, len(array) if array.size else 0, rows):
            digest.update(np.ascontiguousarray(array[start : start + rows]).view("uint8").data)
    return digest.hexdigest()


def of_images(images: np.ndarray | ImageFolder, labels: ArrayLike) -> str:
    """SHA-256 of images and labels; of a folder's pictures by name and by the files' bytes, and by what they become."""
    if not isinstance(images, ImageFolder):
        return of_arrays(images, labels)
    digest = hashlib.sha256(f"{images.shape} {of_arrays(labels)}\n".encode())
    for path in images.paths:
        digest.update(f"{path.relative_to(images.folder).as_posix()} {of_file(path)}\n".encode())
    return digest.hexdigest()


def of_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
