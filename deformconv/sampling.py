"""Values between pixels: bilinear sampling, and the grids and warps that are made of it.

Coordinates are `(y, x)` in pixels of the image, with pixel centres at integers: `(0, 0)` is the centre of the
top left pixel, `(h - 1, w - 1)` that of the bottom right one.
"""

import math

import keras
from keras import ops

from deformconv import engines
from deformconv.arguments import check_rank
from deformconv.engines import sizes
from deformconv.engines.precision import full_precision
from deformconv.symbolic import is_symbolic, with_shape
from deformconv.types import Outside, Tensor


def bilinear_sample(images: Tensor, coords: Tensor, *, padding: Outside = "zeros") -> Tensor:
    """Values of images at real-valued coordinates, by bilinear interpolation.

    A point takes the weighted mean of the four pixels around it, each weight `(1 - |dy|) (1 - |dx|)` of its distance
    to the point (Jaderberg et al. 2015, equation 5). Differentiable by `images` and by `coords`; at an
    integer coordinate the derivative is that of the cell to the right or below, so it is not zero there.

    Args:
        images: float tensor `(batch, height, width, channels)`.
        coords: float tensor `(batch, ..., 2)`, `(y, x)` in pixels.
        padding: `"zeros"`: outside the image is zero, so a value fades out within one pixel of the border;
            `"edge"`: coordinates are clipped to the image, so the border pixels go on for ever.

    Returns:
        Tensor `(batch, ..., channels)` of the images' type. A NaN coordinate gives NaN.

    Raises:
        ValueError: if a shape or `padding` is not as above.

    Example:
        >>> images = np.array([[0.0, 1.0], [2.0, 3.0]]).reshape(1, 2, 2, 1)
        >>> float(bilinear_sample(images, [[[0.5, 0.5]]])[0, 0, 0])
        1.5
    """
    if is_symbolic(images, coords):
        return BilinearSample(padding)(images, coords)
    images, coords = ops.convert_to_tensor(images), ops.convert_to_tensor(coords)
    _check(images, coords, padding)
    images = as_float(images)
    coords = as_coordinates(coords)
    batch, height, width, channels = ops.shape(images)
    coords = sizes.expect("coords", coords, (batch,), "the batch size of `images`")
    if padding == "edge":
        last_pixel = ops.cast(ops.stack([height - 1, width - 1]), coords.dtype)
        # Not `minimum`: on the last pixel the cell to the right is flat, and the derivative has to be that one's.
        coords = ops.where(coords < 0, 0, ops.where(coords >= last_pixel, last_pixel, coords))
    points = math.prod(ops.shape(coords)[1:-1])  # not -1 below: PyTorch cannot tell it from an empty batch
    values = engines.sample(images, ops.reshape(coords, (batch, points, 2)))
    return ops.reshape(values, (*ops.shape(coords)[:-1], channels))


def _check(images: Tensor, coords: Tensor, padding: Outside) -> None:
    check_rank("images", images, "(batch, height, width, channels)")
    if len(coords.shape) < 2 or coords.shape[-1] != 2:
        slip = ""
        if len(coords.shape) == 1:
            slip = " For one point in one image pass `coords[None]`."
        elif 2 in coords.shape[1:]:
            slip = " Another axis has two: move it to the end."
        elif coords.shape[-1] == 3:
            slip = " A point is y and x alone: the image is told by the batch axis, and all channels are read."
        raise ValueError(
            "`coords` must have shape (batch, ..., 2), the last axis (y, x); "
            f"received shape {tuple(coords.shape)}.{slip}"
        )
    if None not in (images.shape[0], coords.shape[0]) and images.shape[0] != coords.shape[0]:
        raise ValueError(
            "`coords` must have the batch size of `images`; "
            f"received {coords.shape[0]} coordinate sets for {images.shape[0]} images. "
            "Is the batch axis missing? For the same points in every image repeat them with ops.repeat."
        )
    if padding not in ("zeros", "edge"):
        slips = {
            "border": ' PyTorch\'s "border" is "edge" here.',
            "zero": ' It is "zeros".',
            "constant": ' It is "zeros".',
        }
        raise ValueError(f'`padding` must be "zeros" or "edge"; received {padding!r}.{slips.get(padding, "")}')


@keras.saving.register_keras_serializable(package="deformconv")
class BilinearSample(keras.Operation):
    """`bilinear_sample` as a step of a functional model."""

    def __init__(self, padding: Outside, *, name: str | None = None):
        super().__init__(name=name)
        self.padding = padding

    def call(self, images: Tensor, coords: Tensor) -> Tensor:
        return bilinear_sample(images, coords, padding=self.padding)

    def compute_output_spec(self, images: Tensor, coords: Tensor) -> keras.KerasTensor:
        images, coords = with_shape(images), with_shape(coords)
        _check(images, coords, self.padding)
        return keras.KerasTensor((*coords.shape[:-1], images.shape[-1]), float_type(images))


def float_type(tensor: Tensor) -> str:
    """The type that `as_float` gives."""
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return dtype if "float" in dtype else "float32"


def as_float(tensor: Tensor) -> Tensor:
    """The tensor itself, or its float32 version where it holds integers."""
    return tensor if "float" in str(tensor.dtype) else ops.cast(tensor, "float32")


def as_coordinates(tensor: Tensor) -> Tensor:
    """At least float32: eleven bits of half precision cannot name a pixel and a fraction."""
    return tensor if "float64" in str(tensor.dtype) else ops.cast(tensor, "float32")


def affine_grid(matrices: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Where each output pixel of an affine warp looks: `matrices` `(batch, 2, 3)` -> coords `(batch, h, w, 2)`.

    A pixel at `(y, x)` from the centre of the image looks at `matrix @ (y, x, 1)` from the centre, all in pixels:
    the first row gives y, the second x, and the last column is a shift. So a zoom of 2 shrinks what is seen.

    Example:
        >>> from deformconv.sampling import affine_grid
        >>> zoom = np.array([[[2.0, 0, 0], [0, 1, 0.5]]])  # twice as far in y, half a pixel to the right
        >>> ops.convert_to_numpy(affine_grid(zoom, 3, 2))[0, :, 0].tolist()
        [[-1.0, 0.5], [1.0, 0.5], [3.0, 0.5]]
    """
    matrices = as_coordinates(ops.convert_to_tensor(matrices))
    centre_y, centre_x = ((ops.cast(size, matrices.dtype) - 1) / 2 for size in (height, width))
    y, x = ops.meshgrid(
        ops.arange(height, dtype=matrices.dtype) - centre_y,
        ops.arange(width, dtype=matrices.dtype) - centre_x,
        indexing="ij",
    )
    grid = ops.reshape(ops.stack([y, x, ops.ones_like(y)]), (3, height * width))
    # Not `ops.matmul`, which on PyTorch computes float64 in float32.
    with full_precision(matrices):
        coords = ops.transpose(matrices @ grid, (0, 2, 1))
    coords = coords + ops.stack([centre_y, centre_x])
    return ops.reshape(coords, (-1, height, width, 2))
