"""Warps against SciPy; the random draws; fixed scaled copies."""

import keras
import numpy as np
import pytest
from scipy.ndimage import affine_transform

from deformconv.training.scaling import (
    Scaling,
    rotation_matrices,
    scaled_copy,
    warp,
    warp_all,
    zoom_matrices,
    zoomed_copy,
)

HEIGHT, WIDTH = 9, 7
IDENTITY = zoom_matrices([[1, 1]])[0]


@pytest.fixture
def images(rng):
    return rng.uniform(size=(3, HEIGHT, WIDTH, 2)).astype("float32")


@pytest.fixture
def matrices(rng):
    """Each image its own: y and x zoomed and shifted differently."""
    return zoom_matrices(rng.uniform((0.6, 1.3), (1.2, 2.5), size=(3, 2)), rng.uniform((-2, 1), (-1, 3), size=(3, 2)))


def scipy_warp(images, matrices, order):
    """The same warp by SciPy, about the same centre, with the same border: zeros all around."""
    centre = (np.array([HEIGHT, WIDTH]) - 1) / 2
    warped = np.zeros_like(images)
    for image, matrix, result in zip(images, matrices.astype("float64"), warped, strict=True):
        linear, shift = matrix[:, :2], matrix[:, 2]
        for channel in range(images.shape[-1]):
            result[..., channel] = affine_transform(
                image[..., channel], linear, centre + shift - linear @ centre, order=order, mode="grid-constant"
            )
    return warped


@pytest.mark.parametrize("interpolation, order", [("bilinear", 1), ("nearest", 0)])
def test_a_warp_is_that_of_scipy(images, matrices, interpolation, order):
    warped = keras.ops.convert_to_numpy(warp(images, matrices, interpolation))
    expected = scipy_warp(images, matrices, order)
    np.testing.assert_allclose(warped, expected, atol=1e-5)
    assert (expected == 0).any() and (expected != 0).mean() > 0.3


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_identity_matrices_give_the_images_back(images, interpolation):
    np.testing.assert_array_equal(warp(images, np.stack([IDENTITY] * 3), interpolation), images)


def test_a_rotation_turns_about_the_centre(images):
    """A quarter turn: what is seen at (y, x) from the centre was at (x, -y)."""
    square = images[:, :WIDTH]
    quarter = np.array([[0, 1, 0], [-1, 0, 0]], "float32")
    np.testing.assert_allclose(warp(square, np.stack([quarter] * 3)), np.rot90(square, axes=(1, 2)), atol=1e-6)


def test_a_zoom_of_two_halves_what_is_seen_in_the_middle(images):
    """On 9 x 7 each second pixel stays, around the centre; everything else is zero."""
    shrunk = zoomed_copy(images, 2)
    np.testing.assert_allclose(shrunk[:, 2:7, 2:5], images[:, ::2, 1::2], atol=1e-6)
    assert shrunk[:, [0, 1, 7, 8]].sum() == shrunk[:, :, [0, 6]].sum() == 0


def test_the_first_zoom_is_along_y(images):
    flattened = warp_all(images, zoom_matrices([[2, 1]] * 3))
    np.testing.assert_allclose(flattened[:, 2:7], images[:, ::2], atol=1e-6)


def test_a_shift_says_where_to_look(images):
    """Looking two pixels down and one to the left moves the image up and to the right."""
    moved = warp_all(images, zoom_matrices(np.ones((3, 2)), [2, -1]))
    np.testing.assert_array_equal(moved[:, :-2, 1:], images[:, 2:, :-1])
    assert moved[:, -2:].sum() == moved[:, :, 0].sum() == 0


def test_an_unknown_interpolation_is_refused(images):
    with pytest.raises(ValueError, match='"bilinear" or "nearest"; received \'cubic\''):
        warp(images, np.stack([IDENTITY] * 3), "cubic")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.function is TensorFlow's")
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_a_whole_batch_is_warped_in_one_graph_whatever_its_size(images, matrices, interpolation):
    import tensorflow as tf

    signature = [tf.TensorSpec((None, HEIGHT, WIDTH, 2)), tf.TensorSpec((None, 2, 3))]
    graph = tf.function(lambda *tensors: warp(*tensors, interpolation), input_signature=signature)
    for batch in (3, 1, 0):
        np.testing.assert_allclose(
            graph(images[:batch], matrices[:batch]), scipy_warp(images, matrices, interpolation == "bilinear")[:batch],
            atol=1e-5,
        )  # fmt: skip
    assert not [node.op for node in graph.get_concrete_function().graph.as_graph_def().node if "While" in node.op]


def test_draws_cover_their_range_and_nothing_else():
    matrices = Scaling().draw(4000, 28, np.random.default_rng(1))
    assert (matrices.shape, matrices.dtype) == ((4000, 2, 3), "float32")
    assert not matrices[:, 0, 1].any() and not matrices[:, 1, 0].any()
    for values, low, high in [
        (matrices[:, 0, 0], 1, 2.5),
        (matrices[:, 1, 1], 1, 2.5),
        (matrices[:, 0, 2], -5.6, 5.6),
        (matrices[:, 1, 2], -5.6, 5.6),
    ]:
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
        np.testing.assert_allclose(values.mean(), (low + high) / 2, atol=0.03 * (high - low))
    each = matrices[:, [0, 1, 0, 1], [0, 1, 2, 2]]
    assert abs(np.corrcoef(each.T) - np.eye(4)).max() < 0.06  # y and x, zoom and shift, each on its own


def test_the_unscaled_share_is_left_exactly_alone_and_the_others_as_they_were():
    plain, mixed = (Scaling(unscaled=share).draw(2000, 28, np.random.default_rng(1)) for share in (0, 0.15))
    alone = (mixed == IDENTITY).all(axis=(1, 2))
    assert 0.13 < alone.mean() < 0.17
    np.testing.assert_array_equal(mixed[~alone], plain[~alone])
    assert not (plain == IDENTITY).all(axis=(1, 2)).any()


def test_all_may_be_left_alone(images):
    np.testing.assert_array_equal(scaled_copy(images, 3, Scaling(unscaled=1)), images)


def test_a_seeded_copy_is_the_same_each_time_and_another_with_another_seed(images):
    first = scaled_copy(images, 2017)
    np.testing.assert_array_equal(first, scaled_copy(images, 2017))
    assert abs(first - scaled_copy(images, 2018)).max() > 0.1
    assert abs(first - images).max() > 0.1
    assert abs(first - scaled_copy(images, 2017, interpolation="nearest")).max() > 0.1


def test_a_scaled_copy_is_the_warp_of_its_seeds_draw(images):
    scaling = Scaling(zoom=(0.5, 0.8), shift=0.1)
    matrices = scaling.draw(3, HEIGHT, np.random.default_rng(5))
    np.testing.assert_array_equal(scaled_copy(images, 5, scaling), warp(images, matrices))


def test_batches_do_not_change_a_warp(images, matrices):
    whole = warp_all(images, matrices)
    assert isinstance(whole, np.ndarray)
    np.testing.assert_allclose(warp_all(images, matrices, batch_size=2), whole, atol=1e-6)


def test_a_rotation_turns_clockwise_about_the_middle(rng):
    images = rng.uniform(size=(3, 5, 5, 1)).astype("float32")
    turned = warp_all(images, rotation_matrices([90, 0, 180]))
    expected = [np.rot90(images[0], -1), images[1], np.rot90(images[2], 2)]
    np.testing.assert_allclose(turned, expected, atol=1e-5)
