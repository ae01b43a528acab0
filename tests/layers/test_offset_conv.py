"""How a deformable layer gets its offsets: their own learning rate, their precision, and weights from a plain layer."""

import keras
import numpy as np
import pytest
from keras import ops

from deformconv import DeformableConv2D, deform_conv2d

SHAPE = BATCH, HEIGHT, WIDTH, CHANNELS = 3, 7, 5, 4
FILTERS, KERNEL_SIZE = 6, (3, 2)


def images(rng, shape=SHAPE):
    return rng.normal(size=shape).astype("float32")


def array(tensor):
    return ops.convert_to_numpy(tensor)


def layer_with(rng, offset_weights=0.2, **options):
    """A layer whose weights are random, and the same in each call with an `rng` of the same state."""
    layer = DeformableConv2D(FILTERS, KERNEL_SIZE, modulated=True, **options)
    layer.build(SHAPE)
    layer.kernel.assign(rng.normal(size=layer.kernel.shape))
    for weight in layer.offset_conv.weights:
        weight.assign(offset_weights * rng.normal(size=weight.shape))
    return layer


def train(layer, optimizer, inputs, steps=3):
    model = keras.Sequential([keras.Input(SHAPE[1:]), layer])
    model.compile(optimizer, "mse")
    model.fit(inputs, np.ones(layer.compute_output_shape(SHAPE)), epochs=steps, verbose=0)
    return [array(weight) for weight in layer.offset_conv.weights]


@pytest.mark.parametrize(
    "optimizer", [lambda: keras.optimizers.SGD(0.05), lambda: keras.optimizers.Adam(0.01)], ids=["SGD", "Adam"]
)
def test_offsets_learn_at_their_own_rate_under_any_optimizer(optimizer):
    """At zero the two layers are the same, so their first steps differ by the multiplier alone."""
    inputs = images(np.random.default_rng(1))
    full, slow = (layer_with(np.random.default_rng(0), 0, offset_lr_multiplier=multiplier) for multiplier in (1.0, 0.1))
    for whole, stored in zip(train(full, optimizer(), inputs, 1), train(slow, optimizer(), inputs, 1), strict=True):
        assert np.abs(whole).max() > 1e-4
        np.testing.assert_allclose(stored, whole, rtol=1e-4, atol=1e-7)  # what is in use is a tenth of it
    np.testing.assert_allclose(array(full.kernel), array(slow.kernel), rtol=1e-6)
    np.testing.assert_allclose(
        array(slow.offset_conv(inputs)), 0.1 * array(full.offset_conv(inputs)), rtol=1e-3, atol=1e-6
    )


def test_the_multiplier_leaves_the_gradient_by_the_input_true(gradients):
    """Ten times the weights at a tenth is the same function, with the same derivative by what it reads."""
    inputs = images(np.random.default_rng(1))
    plain, slow = (
        layer_with(np.random.default_rng(0), weights, offset_lr_multiplier=multiplier)
        for weights, multiplier in ((0.2, 1.0), (2.0, 0.1))
    )
    np.testing.assert_allclose(array(slow(inputs)), array(plain(inputs)), atol=1e-4)
    upstream = np.ones(plain.compute_output_shape(SHAPE), "float32")
    (by_plain,), (by_slow,) = (gradients(layer, upstream, inputs) for layer in (plain, slow))
    np.testing.assert_allclose(by_slow, by_plain, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("padding", ["valid", "same", 1, ((1, 0), (0, 2))], ids=str)
@pytest.mark.parametrize("strides", [1, (2, 1), (2, 3)])
@pytest.mark.parametrize("dilation_rate", [1, (1, 2)])
def test_the_offsets_are_a_convolution_of_the_layers_own_geometry(padding, strides, dilation_rate):
    """Keras has no strides with dilation; the deformable convolution with zero offsets has."""
    rng = np.random.default_rng(0)
    options = {"padding": padding, "strides": strides, "dilation_rate": dilation_rate}
    layer, inputs = layer_with(rng, **options), images(rng)
    kernel, bias = layer.offset_conv.weights
    out_size = layer.compute_output_shape(SHAPE)[1:3]
    expected = deform_conv2d(inputs, np.zeros((BATCH, *out_size, 12)), kernel, bias=bias, **options)
    np.testing.assert_allclose(array(layer.offset_conv(inputs)), array(expected), atol=1e-5)
    assert layer(inputs).shape == layer.compute_output_shape(SHAPE)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
def test_offsets_are_made_in_float32_whatever_the_policy(policy):
    """Two layers that differ in the policy alone find the same points, to float32's last bits but for the image's."""
    rng = np.random.default_rng(0)
    layer, exact = (layer_with(np.random.default_rng(2), dtype=dtype) for dtype in (policy, "float32"))
    inputs = array(ops.cast(ops.cast(images(rng), layer.compute_dtype), "float32"))  # which half precision can hold
    offsets, _ = layer.offsets_and_mask(inputs)
    assert keras.backend.standardize_dtype(offsets.dtype) == "float32"
    np.testing.assert_allclose(array(offsets), array(exact.offsets_and_mask(inputs)[0]), rtol=1e-5, atol=1e-5)
    outputs = layer(inputs)
    assert keras.backend.standardize_dtype(outputs.dtype) == layer.compute_dtype


def test_a_bound_is_approached_and_not_passed_and_near_zero_it_is_not_felt(rng):
    """Offsets of a bias that is known: a thousandth of the bound, its half, and far beyond it on both sides."""
    layer = DeformableConv2D(FILTERS, KERNEL_SIZE, modulated=True, offset_groups=2, max_offset=3)
    layer.build(SHAPE)
    said = np.zeros(36, "float32")
    said[:24] = np.tile([0.003, -1.5, 50, -np.inf], 6)
    said[24:] = 9
    layer.offset_conv.bias.assign(said)
    offsets, mask = (array(made)[0, 0, 0] for made in layer.offsets_and_mask(images(rng)))
    np.testing.assert_allclose(offsets, np.tile([0.003, -3 * np.tanh(0.5), 3, -3], 6), rtol=1e-5)
    np.testing.assert_allclose(mask, 2 / (1 + np.exp(-9)), rtol=1e-5)  # the mask is not bounded


def test_an_offset_beyond_the_bound_is_still_called_back(gradients):
    """The slope is 1 at zero, and not zero at three times the bound, where a sharp cut would be dead."""
    inputs = images(np.random.default_rng(1))
    layers = [layer_with(np.random.default_rng(0), 0, max_offset=bound) for bound in (None, 0.5)]

    def by_bias(layer, offset):
        layer.offset_conv.bias.assign(np.repeat(np.float32([offset, 0]), [12, 6]))  # 6 taps of (y, x), and the mask
        values = [array(weight) for weight in layer.trainable_weights]
        found = gradients(lambda *given: layer.stateless_call(given, [], inputs)[0], np.ones((3, 5, 4, 6)), *values)
        return found[[weight.path for weight in layer.trainable_weights].index(layer.offset_conv.bias.path)][:12]

    np.testing.assert_allclose(by_bias(layers[1], 0.0), by_bias(layers[0], 0.0), rtol=1e-4)
    # Both look equally far away: the gradients differ by the slope of the bound alone.
    slope = 1 / np.cosh(3) ** 2
    np.testing.assert_allclose(by_bias(layers[1], 1.5), slope * by_bias(layers[0], 0.5 * np.tanh(3)), rtol=1e-3)
    assert np.abs(by_bias(layers[1], 1.5)).min() > 1e-4


def test_a_bounded_layer_trains_within_its_bound_where_a_free_one_leaves(rng):
    inputs = images(rng)
    free, bound = (layer_with(np.random.default_rng(0), 0, max_offset=limit) for limit in (None, 0.25))
    for layer in (free, bound):
        train(layer, keras.optimizers.Adam(0.5), inputs)
    assert np.abs(array(free.offsets_and_mask(inputs)[0])).max() > 1
    assert 0.1 < np.abs(array(bound.offsets_and_mask(inputs)[0])).max() <= 0.25


@pytest.mark.parametrize("max_offset", [0, -1.0, "2", float("nan"), float("inf")])
def test_a_bound_that_is_none_is_refused(max_offset):
    with pytest.raises(ValueError, match="`max_offset` must be a number of pixels > 0, or None; received"):
        DeformableConv2D(FILTERS, KERNEL_SIZE, max_offset=max_offset)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strides": (2, 1), "padding": "same", "activation": "relu"},
        {"groups": 2, "use_bias": False, "name": "my_conv"},
        {"dilation_rate": (1, 2), "kernel_regularizer": "l2", "bias_initializer": "random_normal"},
    ],
    ids=str,
)
def test_a_plain_layer_becomes_deformable_in_one_call(rng, options):
    plain, inputs = keras.layers.Conv2D(FILTERS, KERNEL_SIZE, **options), images(rng)
    expected = array(plain(inputs))
    layer = DeformableConv2D.from_conv2d(plain, modulated=True, offset_groups=2)
    assert layer.built and layer.name == plain.name and layer.modulated and layer.offset_groups == 2
    np.testing.assert_allclose(array(layer(inputs)), expected, atol=1e-5)
    assert (layer.kernel_regularizer is None) == (plain.kernel_regularizer is None)
    plain.kernel.assign(0 * plain.kernel)
    np.testing.assert_allclose(array(layer(inputs)), expected, atol=1e-5)  # a copy, not a share


def test_a_plain_layer_without_weights_gives_a_layer_without():
    layer = DeformableConv2D.from_conv2d(keras.layers.Conv2D(FILTERS, KERNEL_SIZE), name="other", trainable=False)
    assert not layer.built and layer.name == "other" and not layer.trainable


def test_a_plain_layer_with_channels_first_gives_a_layer_with_channels_first(rng):
    """It is not called: TensorFlow's refuses to compute so on a CPU. Its weights are those of channels last."""
    first, last = (
        keras.layers.Conv2D(FILTERS, KERNEL_SIZE, strides=(2, 1), padding="same", activation="relu", data_format=order)
        for order in ("channels_first", "channels_last")
    )
    first.build((None, CHANNELS, HEIGHT, WIDTH))
    last.build(SHAPE)
    last.set_weights(first.get_weights())
    layer, inputs = DeformableConv2D.from_conv2d(first, modulated=True), images(rng)
    assert layer.built and layer.data_format == "channels_first"
    outputs = array(layer(inputs.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(outputs, array(last(inputs)).transpose(0, 3, 1, 2), atol=1e-5)
