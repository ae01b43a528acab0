"""`ConvOffset2D`: each pixel gets its own offset, y then x; and the 2017 layout and sampler, whose faults are facts."""

import keras
import numpy as np
import pytest
from as_used import as_used
from keras.ops import convert_to_numpy

from deformconv import ConvOffset2D, reference
from deformconv.layers import conv_offset

HEIGHT, WIDTH = 5, 4


def with_random_offsets(rng, shape, **options):
    """A layer built for inputs of this shape, whose offsets are a pixel or so in size."""
    layer = ConvOffset2D(kernel_initializer="random_normal", **options)
    layer.build(shape)
    layer.offset_conv.kernel.assign(rng.normal(size=layer.offset_conv.kernel.shape) / 3)
    return layer


@pytest.mark.parametrize("layout, shape", [("paired", (3, HEIGHT, WIDTH, 2)), ("2017", (3, 5, 5, 2))])
def test_it_starts_by_moving_nothing(rng, layout, shape):
    inputs = rng.normal(size=shape).astype("float32")
    np.testing.assert_allclose(convert_to_numpy(ConvOffset2D(layout=layout)(inputs)), inputs, atol=1e-6)


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (1, WIDTH), (HEIGHT, 1)])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-5), ("float64", 1e-12)])
def test_channels_2c_and_2c_plus_1_of_the_offsets_are_the_y_and_x_of_channel_c(rng, size, dtype, tolerance):
    inputs = rng.normal(size=(3, *size, 3)).astype(dtype)
    layer = with_random_offsets(rng, inputs.shape, dtype=dtype)
    made = convert_to_numpy(layer.offset_conv(inputs))
    assert np.abs(made).max() > 0.5
    grid = np.indices(size).transpose(1, 2, 0)
    expected = [
        reference.bilinear_sample(inputs[..., c : c + 1], (grid + made[..., 2 * c : 2 * c + 2]).astype(dtype))
        for c in range(3)
    ]
    np.testing.assert_allclose(
        convert_to_numpy(as_used(layer)(inputs)), np.concatenate(expected, axis=-1), atol=tolerance
    )


@pytest.mark.parametrize("layout, own_y, own_x, own_both", [("paired", 784, 784, 784), ("2017", 1, 1, 0)])
def test_of_784_pixels_the_2017_layout_gives_one_its_own_y_and_one_its_own_x(
    monkeypatch, layout, own_y, own_x, own_both
):
    """The offset convolution is made to say "I am pixel n" in y and "I am pixel -n" in x; what arrives at pixel n?"""
    received = []

    def listen(images, coords):
        received.append(convert_to_numpy(coords)[0] - np.indices((28, 28)).transpose(1, 2, 0))
        return images

    monkeypatch.setattr(conv_offset, "bilinear_sample", listen)
    monkeypatch.setattr(conv_offset, "ceil_sample", listen)
    monkeypatch.setattr(conv_offset, "fused", lambda function: function)
    number = np.arange(1, 785, dtype="float32").reshape(28, 28)
    layer = ConvOffset2D(layout=layout)
    layer.build((1, 28, 28, 1))
    kernel = np.zeros((3, 3, 1, 2))
    kernel[1, 1, 0] = 1, -1
    layer.offset_conv.kernel.assign(kernel)
    layer(number[None, :, :, None])
    its_own = received[0] == np.stack([number, -number], axis=-1)
    assert (its_own[..., 0].sum(), its_own[..., 1].sum(), its_own.all(-1).sum()) == (own_y, own_x, own_both)


def test_the_2017_layout_brings_offsets_from_a_third_of_the_image_away():
    """The mean distance from a pixel of 28 x 28 to the ones whose numbers it gets, had by the same reshape."""
    home = np.indices((28, 28)).transpose(1, 2, 0)
    planes = np.tile(home.reshape(1, 784, 2), (2, 1, 1))  # the y plane, then the x plane: who made each number
    makers = planes.reshape(28, 28, 2, 2)
    assert np.linalg.norm(makers - home[:, :, None], axis=-1).mean() == pytest.approx(10.7, abs=0.1)


@pytest.mark.parametrize("layout, alive", [("paired", True), ("2017", False)])
def test_at_zero_offsets_the_2017_gradient_is_exactly_zero_and_the_paired_one_is_not(rng, gradients, layout, alive):
    inputs = rng.normal(size=(3, 5, 5, 2)).astype("float32")
    layer = ConvOffset2D(layout=layout)
    layer.build(inputs.shape)
    kernel = layer.offset_conv.kernel
    (by_kernel,) = gradients(
        lambda values: layer.stateless_call([values], [], inputs)[0], rng.normal(size=inputs.shape), kernel.numpy()
    )
    assert by_kernel.shape == (3, 3, 2, 4)
    assert (by_kernel != 0).any() == alive


def test_the_ceil_sampler_is_blind_on_the_grid_alone(rng, gradients):
    images = rng.normal(size=(3, 5, 5, 1)).astype("float32")
    on_grid = rng.integers(-2, 8, size=(3, 5, 5, 2)).astype("float32")
    upstream = rng.normal(size=images.shape)
    for offset, blind in ((0, True), (0.25, False)):
        (by_coords,) = gradients(lambda c: conv_offset.ceil_sample(images, c), upstream, on_grid + np.float32(offset))
        assert (by_coords == 0).all() == blind


def test_the_ceil_sampler_has_the_values_of_bilinear_interpolation_with_edge_padding(rng):
    images = rng.normal(size=(3, 5, 5, 1)).astype("float32")
    coords = rng.uniform(-2, 7, size=(3, 5, 5, 2)).astype("float32")
    expected = reference.bilinear_sample(images, coords, padding="edge")
    np.testing.assert_allclose(conv_offset.ceil_sample(images, coords), expected, atol=1e-5)


@pytest.mark.parametrize("layout, shape", [("paired", (HEIGHT, WIDTH, 2)), ("2017", (5, 5, 2))])
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_an_empty_batch_works(request, layout, shape, graph):
    model = keras.Sequential([keras.Input(shape), ConvOffset2D(layout=layout)])
    if graph:
        tf = request.getfixturevalue("tf")
        model = tf.function(model, input_signature=[tf.TensorSpec([None, *shape])])
    assert model(np.zeros((0, *shape), "float32")).shape == (0, *shape)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_sizes_unknown_at_build_time_work(request, rng, dtype, tolerance, graph):
    layer = with_random_offsets(rng, (None, None, None, 2), dtype=dtype)
    inputs = keras.Input((None, None, 2), dtype=dtype)
    model = keras.Model(inputs, layer(inputs))
    assert model.output.shape == (None, None, None, 2)
    if graph:
        tf = request.getfixturevalue("tf")
        model = tf.function(model, input_signature=[tf.TensorSpec([None, None, None, 2], dtype)])
    for shape in ((3, HEIGHT, WIDTH, 2), (2, 3, 6, 2)):
        images = rng.normal(size=shape).astype(dtype)
        np.testing.assert_allclose(
            *map(convert_to_numpy, (as_used(model)(images), as_used(layer)(images))), atol=tolerance
        )


def test_bfloat16_offsets_move_pixels_in_float32(rng):
    inputs = rng.normal(size=(3, HEIGHT, WIDTH, 2)).astype("float32")
    layer = with_random_offsets(rng, inputs.shape, dtype="mixed_bfloat16")
    exact = with_random_offsets(rng, inputs.shape)
    exact.set_weights(layer.get_weights())
    outputs = layer(inputs)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    # Inputs, values and offsets of up to 4 carry 8 bits: 0.4 % of 3, and 0.016 pixels times a slope of up to 5.
    expected = convert_to_numpy(exact(inputs))
    np.testing.assert_allclose(convert_to_numpy(outputs).astype("float32"), expected, atol=0.1)


def test_config_and_file_bring_back_the_same_layer(rng, tmp_path):
    layer = with_random_offsets(rng, (None, 5, 5, 2), layout="2017", name="moves")
    again = ConvOffset2D.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.layout, again.name) == ("2017", "moves")

    model = keras.Sequential([keras.Input((5, 5, 2)), layer, with_random_offsets(rng, (None, 5, 5, 2))])
    model.save(tmp_path / "model.keras")
    inputs = rng.normal(size=(3, 5, 5, 2)).astype("float32")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(*map(convert_to_numpy, (loaded(inputs), model(inputs))))


def test_an_unknown_layout_is_refused():
    with pytest.raises(ValueError, match=r'`layout` must be "paired" or "2017"; received \'2018\''):
        ConvOffset2D(layout="2018")


@pytest.mark.parametrize(
    "layout, shape, words",
    [
        ("2017", (3, 5, 4, 2), r"square inputs only; received shape \(3, 5, 4, 2\)"),
        ("2017", (None, None, None, 2), r"square inputs only; received shape \(None, None, None, 2\)"),
        ("paired", (None, 5, 4, None), r"channels, must be known; received shape \(None, 5, 4, None\)"),
    ],
)
def test_an_input_that_the_layout_cannot_take_is_refused(layout, shape, words):
    with pytest.raises(ValueError, match=words):
        ConvOffset2D(layout=layout).build(shape)


def test_an_image_without_its_batch_axis_is_refused():
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        ConvOffset2D()(np.zeros((5, 4, 2)))
