"""Scaled digits: random zooms and shifts, applied to whole batches on the device."""

from dataclasses import dataclass

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from deformconv.sampling import affine_grid, bilinear_sample
from deformconv.types import Images, Interpolation, Seed, Tensor


@dataclass(frozen=True)
class Scaling:
    """What 2017 called scaled MNIST: digits shrunk to 1.0-0.4 of their size, each axis on its own, and shifted.

    `zoom` is the range of the factor by which coordinates are multiplied, so a zoom of 2 halves the digit; `shift` is
    the largest shift, as a share of the image's size; `unscaled` is the share of digits that are left alone.
    """

    zoom: tuple[float, float] = (1.0, 2.5)
    shift: float = 0.2
    unscaled: float = 0.0

    def draw(self, n: int, size: int, rng: np.random.Generator) -> np.ndarray:
        """Random warps for `n` images of `size` pixels: `(n, 2, 3)` matrices for `warp`."""
        zoom = rng.uniform(*self.zoom, size=(n, 2))
        shift = rng.uniform(-self.shift, self.shift, size=(n, 2)) * size
        alone = rng.uniform(size=n) < self.unscaled
        zoom[alone], shift[alone] = 1, 0
        return zoom_matrices(zoom, shift)


def zoom_matrices(zoom: ArrayLike, shift: ArrayLike = 0.0) -> np.ndarray:
    """Warps `(n, 2, 3)` that multiply coordinates by `zoom` `(n, 2)` and add `shift` `(n, 2)` pixels, `(y, x)`."""
    zoom = np.asarray(zoom, "float32")
    matrices = np.zeros((len(zoom), 2, 3), "float32")
    matrices[:, 0, 0], matrices[:, 1, 1] = zoom[:, 0], zoom[:, 1]
    matrices[:, :, 2] = shift
    return matrices


def rotation_matrices(degrees: ArrayLike) -> np.ndarray:
    """Warps `(n, 2, 3)` that turn images about their middle, each by its own angle."""
    angle = np.deg2rad(np.asarray(degrees, "float32"))
    matrices = np.zeros((len(angle), 2, 3), "float32")
    matrices[:, 0, 0] = matrices[:, 1, 1] = np.cos(angle)
    matrices[:, 0, 1], matrices[:, 1, 0] = -np.sin(angle), np.sin(angle)
    return matrices


def warp(images: Tensor, matrices: Tensor, interpolation: Interpolation = "bilinear") -> Tensor:
    """Warps a batch of images on the device: each output pixel looks where its matrix sends it, zero outside.

    `interpolation="nearest"` takes the nearest pixel instead of a weighted mean, as 2017 did.
    """
    _, height, width, _ = images.shape
    coords = affine_grid(matrices, height, width)
    if interpolation == "nearest":
        coords = ops.round(coords)
    elif interpolation != "bilinear":
        raise ValueError(f'`interpolation` must be "bilinear" or "nearest"; received {interpolation!r}.')
    return bilinear_sample(images, coords)


def warp_all(
    images: Images,
    matrices: np.ndarray,
    interpolation: Interpolation = "bilinear",
    batch_size: int = 1000,
) -> np.ndarray:
    """`warp` for a whole set, batch by batch: NumPy in, NumPy out."""
    parts = [
        ops.convert_to_numpy(warp(images[at : at + batch_size], matrices[at : at + batch_size], interpolation))
        for at in range(0, len(images), batch_size)
    ]
    return np.concatenate(parts)


def scaled_copy(
    images: Images,
    seed: Seed,
    scaling: Scaling | None = None,
    interpolation: Interpolation = "bilinear",
) -> np.ndarray:
    """One fixed, seeded scaled version of a set of images: the scaled test set, when the images are the test's."""
    matrices = (scaling or Scaling()).draw(len(images), images.shape[1], np.random.default_rng(seed))
    return warp_all(images, matrices, interpolation)


def zoomed_copy(images: Images, zoom: float) -> np.ndarray:
    """The images at one fixed zoom on both axes, in the middle: each digit 1 / zoom of its size."""
    return warp_all(images, zoom_matrices(np.full((len(images), 2), zoom)))
