"""`bilinear_sample`, and the reference's, against SciPy; shapes, types, the edge rule, grids, bad input."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from deformconv import bilinear_sample, reference
from deformconv.sampling import affine_grid

HEIGHT, WIDTH = 5, 4


def scipy_sample(images, coords, mode):
    """`images` (b, h, w, c), `coords` (b, n, 2) -> (b, n, c), one map at a time."""
    samples = [
        [map_coordinates(image[..., c], points.T, order=1, mode=mode) for c in range(image.shape[-1])]
        for image, points in zip(images, coords, strict=True)
    ]
    return np.array(samples).swapaxes(1, 2)


@pytest.mark.parametrize("implementation", [reference.bilinear_sample, bilinear_sample], ids=["reference", "package"])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize(
    "padding, scipy_mode, reach", [("zeros", "constant", 0), ("zeros", "grid-constant", 3), ("edge", "nearest", 3)]
)
def test_values_are_those_of_scipy(rng, implementation, dtype, tolerance, padding, scipy_mode, reach):
    images = rng.normal(size=(3, HEIGHT, WIDTH, 2)).astype(dtype)
    coords = rng.uniform(-reach, (HEIGHT - 1 + reach, WIDTH - 1 + reach), size=(3, 60, 2)).astype(dtype)
    values = np.asarray(implementation(images, coords, padding=padding))
    assert values.dtype == dtype
    np.testing.assert_allclose(values, scipy_sample(images, coords, scipy_mode), atol=tolerance)


@pytest.mark.parametrize("between", [(), (7,), (2, 3), (2, 1, 3)])
def test_coords_may_have_any_number_of_axes(rng, between):
    images = rng.normal(size=(3, HEIGHT, WIDTH, 2))
    coords = rng.uniform(-1, 5, size=(3, *between, 2))
    values = bilinear_sample(images, coords)
    assert values.shape == (3, *between, 2)
    np.testing.assert_allclose(values, reference.bilinear_sample(images, coords), atol=1e-12)


def test_integer_images_are_read_as_float32():
    values = bilinear_sample(np.array([[0, 1], [2, 3]]).reshape(1, 2, 2, 1), [[[0.5, 0.5]]])
    assert "float32" in str(values.dtype)
    assert float(values[0, 0, 0]) == 1.5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("padding", ["zeros", "edge"])
def test_nan_coords_give_nan_and_infinite_ones_what_lies_far_out(dtype, padding):
    images = np.arange(1, 2 * HEIGHT * WIDTH + 1, dtype=dtype).reshape(1, HEIGHT, WIDTH, 2)
    strange = [np.nan, np.inf, -np.inf, 1e30, -1e30, 1.0]
    coords = np.array([[(y, x) for y in strange for x in strange]], dtype)
    values = np.asarray(bilinear_sample(images, coords, padding=padding))
    np.testing.assert_array_equal(np.isnan(values[0, :, 0]), np.isnan(coords[0]).any(-1))
    np.testing.assert_allclose(values, reference.bilinear_sample(images, coords, padding=padding), rtol=1e-6)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-4), ("float64", 1e-10)])
@pytest.mark.parametrize("padding", ["zeros", "edge"])
@pytest.mark.parametrize("axis", [0, 1], ids=["by y", "by x"])
def test_on_the_grid_the_derivative_by_a_coordinate_is_the_right_hand_one(
    rng, gradients, dtype, tolerance, padding, axis
):
    """At every integer point, from two pixels outside to two pixels outside, corners and borders included."""
    images = rng.normal(size=(1, HEIGHT, WIDTH, 1)).astype(dtype)
    points = np.indices((HEIGHT + 5, WIDTH + 5)).reshape(2, -1).T[None] - 2.0
    step = np.array([0.25, 0]) if axis == 0 else np.array([0, 0.25])
    exact = images.astype("float64")
    ahead = reference.bilinear_sample(exact, points + step, padding=padding)
    right_hand = (ahead - reference.bilinear_sample(exact, points, padding=padding)) / 0.25

    (derivative,) = gradients(
        lambda coords: bilinear_sample(images, coords, padding=padding), np.ones(right_hand.shape), points.astype(dtype)
    )
    np.testing.assert_allclose(derivative[..., axis], right_hand[..., 0], atol=tolerance)
    at_origin = np.flatnonzero((points[0] == 0).all(-1))
    assert abs(derivative[0, at_origin, axis]) > 0.01  # not the ceil sampler's zero


def test_the_identity_grid_looks_at_the_pixels_themselves(rng):
    images = rng.normal(size=(1, HEIGHT, WIDTH, 2)).astype("float32")
    grid = np.asarray(affine_grid(np.array([[[1, 0, 0], [0, 1, 0]]], "float32"), HEIGHT, WIDTH))
    np.testing.assert_array_equal(grid[0], np.indices((HEIGHT, WIDTH)).transpose(1, 2, 0))
    np.testing.assert_allclose(bilinear_sample(images, grid), images, atol=1e-6)


def test_an_affine_grid_zooms_about_the_centre_and_shifts_y_then_x():
    grid = affine_grid(np.array([[[2, 0, 10], [0, 3, 20]], [[0, 1, 0], [1, 0, 0]]], "float64"), HEIGHT, WIDTH)
    y, x = np.indices((HEIGHT, WIDTH)) - np.array([2, 1.5]).reshape(2, 1, 1)
    np.testing.assert_allclose(grid[0], np.stack([2 * y + 12, 3 * x + 21.5], axis=-1))
    np.testing.assert_allclose(grid[1], np.stack([x + 2, y + 1.5], axis=-1))


@pytest.mark.parametrize(
    "images_shape, coords_shape, options, words",
    [
        ((5, 4, 2), (3, 7, 2), {}, r"`images` must have shape \(batch, height, width, channels\).*\(5, 4, 2\)"),
        ((3, 5, 4, 2), (2,), {}, r"`coords` must have shape \(batch, \.\.\., 2\).*\(y, x\).*received shape \(2,\)"),
        ((3, 5, 4, 2), (3, 2, 7), {}, r"`coords` must have shape.*received shape \(3, 2, 7\)"),
        ((3, 5, 4, 2), (1, 7, 2), {}, r"`coords` must have the batch size of `images`.*received 1 .* 3 images"),
        ((3, 5, 4, 2), (3, 7, 2), {"padding": "reflect"}, r'`padding` must be "zeros" or "edge"; received \'reflect\''),
    ],
)
def test_bad_input_is_refused_with_its_reason(images_shape, coords_shape, options, words):
    with pytest.raises(ValueError, match=words):
        bilinear_sample(np.zeros(images_shape), np.zeros(coords_shape), **options)
