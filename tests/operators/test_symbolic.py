"""The functions take symbolic tensors, as those of `keras.ops` do: steps of a functional model."""

import keras
import numpy as np
import pytest
from keras import ops

from deformconv import bilinear_sample, deform_conv2d, deform_roi_pool2d

KERNEL = np.random.default_rng(0).normal(size=(3, 2, 4, 6)).astype("float32")


def draw(rng, *shape):
    return rng.normal(size=shape).astype("float32")


def convolution(size):
    """Of offsets that a layer makes; the mask is an input, the kernel a constant."""
    inputs, mask = keras.Input((*size, 4), name="images"), keras.Input((None, None, 6), name="mask")
    offsets = keras.layers.Conv2D(12, (3, 2), strides=(2, 1), name="offsets", bias_initializer="ones")(inputs)
    outputs = deform_conv2d(inputs, offsets, KERNEL, mask=mask, bias=np.ones(6), strides=(2, 1))
    return keras.Model([inputs, mask], outputs)


def test_the_convolution_has_the_shape_that_it_will_have():
    for size, expected in (((7, 5), (3, 4)), ((None, 5), (None, 4)), ((None, None), (None, None))):
        assert convolution(size).output.shape == (None, *expected, 6)


def test_a_model_of_the_convolution_computes_what_the_function_does(rng, tmp_path):
    model = convolution((None, None))
    images, mask = draw(rng, 3, 7, 5, 4), draw(rng, 3, 3, 4, 6)
    offsets = model.get_layer("offsets")(images)
    expected = deform_conv2d(images, offsets, KERNEL, mask=mask, bias=np.ones(6), strides=(2, 1))
    outputs = model([images, mask])
    np.testing.assert_allclose(*map(ops.convert_to_numpy, (outputs, expected)), atol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.output.shape == (None, None, None, 6)
    np.testing.assert_allclose(*map(ops.convert_to_numpy, (again([images, mask]), expected)), atol=1e-5)


@pytest.mark.parametrize("padding", ["zeros", "edge"])
def test_a_model_of_the_sampling(rng, tmp_path, padding):
    images, coords = keras.Input((None, 5, 4)), keras.Input((9, None, 2))
    model = keras.Model([images, coords], bilinear_sample(images, coords, padding=padding))
    assert model.output.shape == (None, 9, None, 4)
    model.save(tmp_path / "model.keras")
    given = draw(rng, 3, 7, 5, 4), 4 * draw(rng, 3, 9, 2, 2)
    expected = bilinear_sample(*given, padding=padding)
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        np.testing.assert_allclose(*map(ops.convert_to_numpy, (each(list(given)), expected)), atol=1e-5)


def test_a_model_of_the_pooling(rng, tmp_path):
    images, boxes, offsets = keras.Input((None, None, 4)), keras.Input((None, 4)), keras.Input((None, 3, 2, 2))
    pooled = deform_roi_pool2d(images, boxes, offsets, output_size=(3, 2), spatial_scale=0.5)
    model = keras.Model([images, boxes, offsets], pooled)
    assert model.output.shape == (None, None, 3, 2, 4)
    model.save(tmp_path / "model.keras")
    given = draw(rng, 2, 7, 5, 4), np.tile(np.float32([1, 2, 9, 8]), (2, 3, 1)), draw(rng, 2, 3, 3, 2, 2)
    expected = deform_roi_pool2d(*given, output_size=(3, 2), spatial_scale=0.5)
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        np.testing.assert_allclose(*map(ops.convert_to_numpy, (each(list(given)), expected)), atol=1e-5)


def test_plain_lists_stand_beside_symbolic_tensors():
    images = keras.Input((7, 5, 3), batch_size=1)
    assert deform_roi_pool2d(images, [[[0, 0, 4, 4]]], output_size=2).shape == (1, 1, 2, 2, 3)


def test_types_are_those_of_the_function():
    points = keras.Input((9, 2))
    for given, expected in (("int32", "float32"), ("float16", "float16"), ("bfloat16", "bfloat16")):
        assert bilinear_sample(keras.Input((5, 4, 2), dtype=given), points).dtype == expected


@pytest.mark.parametrize(
    "offsets, words",
    [
        ((4, 5, 12), r"`offsets` must have batch, height and width \(None, 5, 4\).*Height and width look swapped"),
        ((5, 4, 6), r"`offsets` must have .* channels, a multiple of 12.*received 6"),
        ((5, 4, None), r"`offsets` must have a known last axis"),
    ],
    ids=str,
)
def test_what_is_known_is_checked(offsets, words):
    with pytest.raises(ValueError, match=words):
        deform_conv2d(keras.Input((5, 4, 4)), keras.Input(offsets), KERNEL, padding="same")
    with pytest.raises(ValueError, match="at least as large as the dilated kernel"):
        deform_conv2d(keras.Input((2, 4, 4)), keras.Input((None, None, 12)), KERNEL)
