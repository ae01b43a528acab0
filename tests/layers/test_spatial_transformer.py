"""`SpatialTransformer`: starts as the identity, warps as told, survives saving, learns."""

import keras
import numpy as np
import pytest
import scipy.ndimage
from keras import ops

from deformconv import SpatialTransformer

SHAPE = BATCH, HEIGHT, WIDTH, CHANNELS = 3, 9, 6, 2


def localisation():
    return keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.GlobalMaxPooling2D()])


def told(layer, numbers, shape=SHAPE):
    """The layer, built, whose transform says `numbers` whatever the image."""
    layer.build(shape)
    layer.transform.bias.assign(np.reshape(numbers, 6))
    return layer


@pytest.mark.parametrize("padding", ["zeros", "edge"])
def test_it_starts_as_the_identity(rng, padding):
    images = rng.normal(size=SHAPE).astype("float32")
    outputs = SpatialTransformer(localisation(), padding=padding)(images)
    np.testing.assert_allclose(ops.convert_to_numpy(outputs), images, atol=1e-5)


@pytest.mark.parametrize("padding, mode", [("zeros", "grid-constant"), ("edge", "nearest")])
def test_it_warps_as_scipy_does(rng, padding, mode):
    images = rng.normal(size=SHAPE)
    matrix, shift = np.array([[1.2, -0.4], [0.3, 0.7]]), np.array([0.25, -0.5])
    layer = SpatialTransformer(localisation(), padding=padding, dtype="float64")
    outputs = told(layer, np.column_stack([matrix - np.eye(2), shift]))(images)
    centre = (np.array([HEIGHT, WIDTH]) - 1) / 2
    offset = centre - matrix @ centre + shift * np.array([HEIGHT, WIDTH]) / 2  # shifts are in half images
    for image, output in zip(images, ops.convert_to_numpy(outputs), strict=True):
        for channel in range(CHANNELS):
            expected = scipy.ndimage.affine_transform(image[..., channel], matrix, offset, order=1, mode=mode)
            np.testing.assert_allclose(output[..., channel], expected, atol=1e-12)


def test_another_output_size_shows_the_same_part_in_other_pixels(rng):
    """Twice as many pixels along each axis: every four of them lie around one of the input, a quarter away."""
    rows, columns = np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), indexing="ij")
    images = np.tile((3.0 * rows + columns)[None, ..., None], (BATCH, 1, 1, CHANNELS)).astype("float32")
    layer = SpatialTransformer(localisation(), output_size=(2 * HEIGHT, 2 * WIDTH), padding="edge")
    outputs = ops.convert_to_numpy(layer(images))
    assert outputs.shape == layer.compute_output_shape(SHAPE) == (BATCH, 2 * HEIGHT, 2 * WIDTH, CHANNELS)
    fours = outputs.reshape(BATCH, HEIGHT, 2, WIDTH, 2, CHANNELS)[:, 1:-1, :, 1:-1]  # the border is clipped
    np.testing.assert_allclose(fours.mean(axis=(2, 4)), images[:, 1:-1, 1:-1], atol=1e-5)
    np.testing.assert_allclose(fours[:, :, 1] - fours[:, :, 0], 1.5, atol=1e-5)
    np.testing.assert_allclose(fours[..., 1, :] - fours[..., 0, :], 0.5, atol=1e-5)


@pytest.mark.parametrize("output_size", [None, (5, 7)])
def test_sizes_unknown_at_build_time_and_a_file_work(rng, tmp_path, output_size):
    images = rng.normal(size=SHAPE).astype("float32")
    layer = SpatialTransformer(localisation(), output_size=output_size, padding="edge")
    inputs = keras.Input((None, None, CHANNELS))
    model = keras.Model(inputs, layer(inputs))
    layer.transform.set_weights([rng.normal(size=weight.shape) / 4 for weight in layer.transform.get_weights()])
    outputs = ops.convert_to_numpy(model(images))
    assert np.abs(outputs.shape[1] - images.shape[1]) or np.abs(outputs - images).max() > 0.1
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(ops.convert_to_numpy(again(images)), outputs, atol=1e-6)


def test_half_precision_warps_in_float32(rng):
    """A shift of a quarter of a pixel in the middle of 512 is nothing in eight bits."""
    image = np.tile(np.arange(512.0) % 2, (1, 3, 1))[..., None].astype("float32")
    layer = told(SpatialTransformer(keras.layers.GlobalAveragePooling2D(), dtype="bfloat16"), np.zeros(6), image.shape)
    layer.transform.bias.assign([0, 0, 0, 0, 0, 0.25 / 256])
    outputs = ops.convert_to_numpy(layer(image)).astype("float32")
    np.testing.assert_allclose(outputs[0, 1, :510:2, 0], 0.25, atol=0.01)


def test_it_learns_to_undo_a_shift(rng):
    images = scipy.ndimage.gaussian_filter(rng.normal(size=(16, 12, 9, 1)), (0, 1.5, 1.5, 0)).astype("float32")
    shifted = np.roll(images, (1, 1), axis=(1, 2))
    model = keras.Sequential([keras.Input((12, 9, 1)), SpatialTransformer(keras.layers.Flatten(), padding="edge")])
    model.compile(keras.optimizers.Adam(0.003), "mse")
    losses = model.fit(shifted, images, epochs=40, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]


def test_an_image_without_its_batch_axis_is_refused():
    layer = told(SpatialTransformer(localisation()), np.zeros(6))
    with pytest.raises(ValueError, match="Is the batch axis missing"):
        layer.call(np.zeros(SHAPE[1:], "float32"))
