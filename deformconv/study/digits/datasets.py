"""MNIST, or the digits that come with scikit-learn.

MNIST is Yann LeCun, Corinna Cortes and Christopher Burges' set, CC BY-SA 3.0.
"""

import functools
import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from deformconv.study.download import cache_folder, data_folder, download
from deformconv.training import fingerprint
from deformconv.training.files import UNREADABLE

MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
# Of the arrays' own bytes (uint8, C order), not of the archive: archives differ, MNIST does not.
MNIST_SHA256 = {
    "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}

NAMES = ("auto", "mnist", "digits")


@dataclass(frozen=True)
class Dataset:
    """Images `(n, 28, 28, 1)` float32 in [0, 1] and integer labels `(n,)`, for training and for the test."""

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        return fingerprint.of_arrays(self.x_train, self.y_train, self.x_test, self.y_test)

    def split(
        self, validation_share: float = 1 / 12
    ) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """`(x, y), (x_val, y_val)`: the training set without its last part, and that part, for choosing by."""
        cut = len(self.x_train) - round(len(self.x_train) * validation_share)
        return (self.x_train[:cut], self.y_train[:cut]), (self.x_train[cut:], self.y_train[cut:])


def load(name: Literal["auto", "mnist", "digits"] = "auto") -> Dataset:
    """Loads a data set of 28 x 28 digits.

    `"mnist"` looks in the folder `$DEFORMCONV_DATA`, then in Keras's cache, then downloads it there; the arrays are
    checked against known SHA-256 digests wherever they came from. `"digits"` is scikit-learn's built-in set of 1,797
    real handwritten digits, enlarged from 8 x 8: no download. `"auto"` is MNIST where it can be had, else the digits,
    with a warning that says so.

    Raises:
        ValueError: if `name` is unknown, `$DEFORMCONV_DATA` has no `mnist.npz`, or a file is damaged.
        ConnectionError: if MNIST must be downloaded and cannot be.
    """
    if name not in NAMES:
        raise ValueError(f"`name` must be one of {', '.join(map(repr, NAMES))}; received {name!r}.")
    if name == "digits":
        return _digits()
    try:
        return _mnist(_find_mnist())
    except ConnectionError as error:
        if name == "mnist":
            raise
        warnings.warn(f"MNIST cannot be had, so these are scikit-learn's digits. {error}", stacklevel=2)
        return _digits()


def _find_mnist() -> Path:
    folder = data_folder()
    if folder is not None:
        path = folder / "mnist.npz"
        if not path.is_file():
            raise ValueError(
                f"DEFORMCONV_DATA must name a folder that holds mnist.npz; received {str(folder)!r}, which does not. "
                "Put the file there, or unset the variable to have it downloaded."
            )
        return path
    path = cache_folder() / "mnist.npz"
    return path if path.is_file() else download(MNIST_URL, path, check=_mnist)


def _mnist(path: Path) -> Dataset:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: np.ascontiguousarray(archive[key].astype("uint8")) for key in MNIST_SHA256}
    except UNREADABLE as error:
        raise ValueError(
            f"{path} is not a whole MNIST archive ({error}). Delete it to have it fetched anew."
        ) from error
    for key, digest in MNIST_SHA256.items():
        if hashlib.sha256(arrays[key].tobytes()).hexdigest() != digest:
            raise ValueError(
                f"{path} is damaged: `{key}` does not have MNIST's SHA-256. Delete it to have it fetched anew."
            )
    return Dataset(
        "mnist",
        _as_images(arrays["x_train"], 255),
        arrays["y_train"].astype("int32"),
        _as_images(arrays["x_test"], 255),
        arrays["y_test"].astype("int32"),
    )


def _digits() -> Dataset:
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # 8 x 8 -> 20 x 20 in the middle of 28 x 28, as MNIST's digits lie.
    images = np.clip(zoom(bunch.images, (1, 2.5, 2.5), order=1, grid_mode=True, mode="nearest"), 0, 16)
    images = np.pad(images, ((0, 0), (4, 4), (4, 4)))
    labels = bunch.target.astype("int32")
    order = np.random.default_rng(0).permutation(len(labels))
    train, test = order[:1440], order[1440:]
    return Dataset("digits", _as_images(images[train], 16), labels[train], _as_images(images[test], 16), labels[test])


def _as_images(array: np.ndarray, white: int) -> np.ndarray:
    return (array.astype("float32") / white)[..., None]
