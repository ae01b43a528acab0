"""`DeformableConv2D`: starts as the plain convolution, learns where to look, survives saving, types and odd sizes."""

import json

import keras
import numpy as np
import pytest
from as_used import as_used
from keras.ops import convert_to_numpy

from deformconv import DeformableConv2D, deform_conv2d, reference

SHAPE = BATCH, HEIGHT, WIDTH, CHANNELS = 3, 5, 4, 4
FILTERS, KERNEL_SIZE = 6, (3, 2)


def scattered(rng, layer, shape=SHAPE):
    """The layer, built, with random weights throughout: taps a pixel or so from their places."""
    layer.build(shape)
    layer.set_weights([rng.normal(size=w.shape) / 4 for w in layer.get_weights()])
    return layer


def images(rng, dtype="float32", shape=SHAPE):
    return rng.normal(size=shape).astype(dtype)


@pytest.mark.parametrize("padding", ["valid", "same", 1, ((1, 0), (0, 2))], ids=str)
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("options", [{}, {"strides": (2, 1)}, {"strides": 3}, {"dilation_rate": (1, 2)}], ids=str)
@pytest.mark.parametrize("extras", [{}, {"modulated": True, "offset_groups": 2}], ids=["v1", "v2"])
def test_it_starts_as_the_plain_convolution_and_its_output_has_the_shape_it_says(rng, padding, groups, options, extras):
    options = options | {"groups": groups, "activation": "relu", "bias_initializer": "random_normal"}
    layer = DeformableConv2D(FILTERS, KERNEL_SIZE, padding=padding, **options, **extras)
    inputs = images(rng)
    layer.build(SHAPE)
    outputs = as_used(layer)(inputs)
    assert layer.compute_output_shape(SHAPE) == outputs.shape

    named = padding in ("valid", "same")
    plain = keras.layers.Conv2D(FILTERS, KERNEL_SIZE, padding=padding if named else "valid", **options)
    if not named:
        rows, columns = ((padding, padding),) * 2 if isinstance(padding, int) else padding
        inputs = np.pad(inputs, ((0, 0), rows, columns, (0, 0)))
    plain.build(inputs.shape)
    plain.set_weights([layer.kernel, layer.bias])
    np.testing.assert_allclose(*map(convert_to_numpy, (outputs, plain(inputs))), atol=1e-5)


def test_an_unknown_size_stays_unknown_in_the_output_shape():
    layer = DeformableConv2D(FILTERS, KERNEL_SIZE, strides=(2, 1), padding="same")
    assert layer.compute_output_shape((None, None, WIDTH, CHANNELS)) == (None, None, WIDTH, FILTERS)
    assert layer.compute_output_shape((None, HEIGHT, None, CHANNELS)) == (None, 3, None, FILTERS)


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("padding", ["same", ((1, 0), (0, 2))], ids=str)
def test_offsets_and_mask_come_from_the_offset_convolution_group_by_group(rng, modulated, padding):
    """With a zero kernel the offset convolution says its bias: here it is known which number is which."""
    layer = DeformableConv2D(
        FILTERS, KERNEL_SIZE, strides=(2, 1), padding=padding, offset_groups=2, modulated=modulated, use_bias=False
    )
    inputs = images(rng)
    layer.build(SHAPE)
    assert layer.bias is None
    said = rng.uniform(-2, 2, size=36 if modulated else 24).astype("float32")
    layer.offset_conv.bias.assign(said)
    out_size = layer.compute_output_shape(SHAPE)[:3]
    expected = reference.deform_conv2d(
        inputs,
        np.tile(said[:24], (*out_size, 1)),
        convert_to_numpy(layer.kernel),
        mask=np.tile(2 / (1 + np.exp(-said[24:])), (*out_size, 1)) if modulated else None,
        strides=(2, 1),
        padding=padding,
    )
    np.testing.assert_allclose(convert_to_numpy(layer(inputs)), expected, atol=2e-5)


@pytest.mark.parametrize("modulated", [False, True])
def test_it_is_the_function_of_its_own_offsets_mask_and_weights(rng, modulated):
    options = {"padding": ((1, 0), (0, 2)), "strides": (2, 1), "groups": 2}
    layer = scattered(rng, DeformableConv2D(FILTERS, KERNEL_SIZE, modulated=modulated, offset_groups=2, **options))
    inputs = images(rng)
    offsets, mask = layer.offsets_and_mask(inputs)
    assert np.abs(convert_to_numpy(offsets)).max() > 1
    expected = deform_conv2d(inputs, offsets, layer.kernel, mask=mask, bias=layer.bias, **options)
    np.testing.assert_allclose(*map(convert_to_numpy, (layer(inputs), expected)), atol=1e-6)


def test_the_mask_starts_at_one_and_the_offsets_at_zero(rng):
    offsets, mask = DeformableConv2D(FILTERS, KERNEL_SIZE, modulated=True, offset_groups=2).offsets_and_mask(
        images(rng)
    )
    np.testing.assert_array_equal(convert_to_numpy(offsets), np.zeros((BATCH, 3, 3, 24)))
    np.testing.assert_array_equal(convert_to_numpy(mask), np.ones((BATCH, 3, 3, 12)))
    assert DeformableConv2D(FILTERS, KERNEL_SIZE).offsets_and_mask(images(rng))[1] is None


def by_weights(gradients, layer, upstream, inputs):
    """The gradients of `sum(upstream * layer(inputs))` by each trainable weight, under the end of its path."""
    weights = {"/".join(weight.path.split("/")[-2:]): convert_to_numpy(weight) for weight in layer.trainable_weights}
    found = gradients(lambda *values: layer.stateless_call(values, [], inputs)[0], upstream, *weights.values())
    return dict(zip(weights, found, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("modulated", [False, True])
def test_at_zero_offsets_the_gradient_of_the_offset_convolution_is_not_zero(rng, gradients, dtype, modulated):
    layer = DeformableConv2D(FILTERS, KERNEL_SIZE, padding="same", modulated=modulated, dtype=dtype)
    inputs = images(rng, dtype)
    layer.build(SHAPE)
    found = by_weights(gradients, layer, rng.normal(size=(*SHAPE[:3], FILTERS)), inputs)
    by_kernel, by_bias = found["offset_conv/kernel"], found["offset_conv/bias"]
    alive = np.abs(by_kernel).max(axis=(0, 1, 2)) > 1e-3
    assert alive.all()  # every tap, y and x, and the mask
    assert (np.abs(by_bias) > 1e-3).all()


def test_train_only_offsets_trains_the_offset_convolution_and_nothing_else(rng):
    layer = DeformableConv2D(FILTERS, KERNEL_SIZE)
    model = keras.Sequential([keras.Input(SHAPE[1:]), layer])
    layer.trainable = False
    layer.train_only_offsets()
    assert [w.path.split("/")[-2:] for w in model.trainable_weights] == [
        ["offset_conv", "kernel"],
        ["offset_conv", "bias"],
    ]
    before = [w.numpy() for w in layer.weights]
    model.compile("sgd", "mse")
    model.fit(images(rng), images(rng, shape=(BATCH, 3, 3, FILTERS)), verbose=0)
    moved = {w.path for w, old in zip(layer.weights, before, strict=True) if not np.array_equal(w, old)}
    assert moved == {w.path for w in layer.offset_conv.weights}


def test_train_only_offsets_works_without_a_bias():
    layer = DeformableConv2D(FILTERS, KERNEL_SIZE, use_bias=False)
    layer.build(SHAPE)
    layer.train_only_offsets()
    assert len(layer.trainable_weights) == 2


def test_a_model_that_asks_for_automatic_compilation_trains(tf, rng):
    model = keras.Sequential(
        [keras.Input(SHAPE[1:]), DeformableConv2D(FILTERS, KERNEL_SIZE, padding="same", modulated=True)]
    )
    # XLA cannot compile the native kernel. Keras asks `supports_jit`, but on a CPU alone not even that.
    assert not model.layers[0].supports_jit
    model.compile("adam", "mse", jit_compile="auto")
    assert not model.jit_compile
    inputs, targets = images(rng), images(rng, shape=(*SHAPE[:3], FILTERS))
    losses = model.fit(inputs, targets, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


EVERY_ARGUMENT = {
    "filters": FILTERS,
    "kernel_size": KERNEL_SIZE,
    "strides": (2, 1),
    "padding": ((1, 0), (0, 2)),
    "dilation_rate": (1, 2),
    "groups": 2,
    "offset_groups": 4,
    "modulated": True,
    "offset_lr_multiplier": 0.1,
    "max_offset": 2.5,
    "activation": "tanh",
    "use_bias": True,
    "kernel_initializer": "he_normal",
    "bias_initializer": "ones",
    "kernel_regularizer": keras.regularizers.L2(0.5),
    "bias_regularizer": "l1",
    "activity_regularizer": "l2",
    "kernel_constraint": keras.constraints.MaxNorm(2.0),
    "bias_constraint": "non_neg",
    "name": "looks",
    "dtype": "mixed_bfloat16",
}


def test_the_config_is_plain_and_brings_back_every_argument():
    config = DeformableConv2D(**EVERY_ARGUMENT).get_config()
    assert set(EVERY_ARGUMENT) <= set(config)
    again = DeformableConv2D.from_config(json.loads(json.dumps(config)))
    assert json.dumps(again.get_config()) == json.dumps(config)
    for name in ("filters", "kernel_size", "strides", "dilation_rate", "groups", "use_bias", "name"):
        assert getattr(again, name) == EVERY_ARGUMENT[name], name
    for name in ("offset_groups", "modulated", "offset_lr_multiplier", "max_offset"):
        assert getattr(again, name) == EVERY_ARGUMENT[name], name
    assert again.activity_regularizer.l2 == 0.01
    assert again.activation is keras.activations.tanh
    assert again.kernel_regularizer.l2 == 0.5
    assert again.compute_output_shape(SHAPE) == (BATCH, 2, 4, FILTERS)
    dilated = DeformableConv2D(FILTERS, 3, dilation_rate=(1, 2), trainable=False)
    again = DeformableConv2D.from_config(dilated.get_config())
    assert (again.dilation_rate, again.trainable) == ((1, 2), False)


def test_regularizers_and_constraints_act_on_kernel_and_bias():
    layer = DeformableConv2D(**EVERY_ARGUMENT | {"dtype": "float32"})
    layer.build(SHAPE)
    expected = 0.5 * np.sum(np.square(convert_to_numpy(layer.kernel))) + 0.01 * FILTERS
    np.testing.assert_allclose(convert_to_numpy(sum(layer.losses)), expected, rtol=1e-5)
    assert isinstance(layer.kernel.constraint, keras.constraints.MaxNorm)
    assert isinstance(layer.bias.constraint, keras.constraints.NonNeg)


@pytest.mark.parametrize("padding", ["same", ((1, 0), (0, 2))], ids=str)
def test_a_saved_model_loads_without_being_told_of_the_layer(rng, tmp_path, padding):
    options = {"strides": (2, 1), "padding": padding, "modulated": True, "offset_groups": 2, "max_offset": 0.5}
    model = keras.Sequential(
        [keras.Input(SHAPE[1:]), scattered(rng, DeformableConv2D(FILTERS, KERNEL_SIZE, **options))]
    )
    inputs = images(rng)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(*map(convert_to_numpy, (loaded(inputs), model(inputs))))


def test_a_saved_model_of_tensorflow_serves_without_the_package(tf, rng, tmp_path):
    layer = scattered(rng, DeformableConv2D(FILTERS, KERNEL_SIZE, strides=(2, 1), modulated=True), SHAPE)
    unknown = keras.Input((None, None, CHANNELS))
    model = keras.Model(unknown, layer(unknown))
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    for shape in (SHAPE, (2, 6, 9, CHANNELS)):
        inputs = images(rng, shape=shape)
        np.testing.assert_allclose(served.serve(inputs), model(inputs), rtol=1e-5, atol=1e-5)  # two ways of reading


@pytest.mark.parametrize("padding", ["same", ((1, 0), (0, 2))], ids=str)
@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_an_empty_batch_works(request, padding, modulated, graph):
    layer = DeformableConv2D(FILTERS, KERNEL_SIZE, padding=padding, modulated=modulated)
    model = keras.Sequential([keras.Input(SHAPE[1:]), layer])
    if graph:
        tf = request.getfixturevalue("tf")
        model = tf.function(model, input_signature=[tf.TensorSpec([None, *SHAPE[1:]])])
    nothing = np.zeros((0, *SHAPE[1:]), "float32")
    assert model(nothing).shape == layer.compute_output_shape(nothing.shape)


@pytest.mark.parametrize("size", [(1, WIDTH), (HEIGHT, 1)])
def test_height_one_and_width_one_work(rng, size):
    layer = scattered(rng, DeformableConv2D(FILTERS, KERNEL_SIZE, padding="same"), (BATCH, *size, CHANNELS))
    inputs = images(rng, shape=(BATCH, *size, CHANNELS))
    offsets, _ = layer.offsets_and_mask(inputs)
    given = map(convert_to_numpy, (inputs, offsets, layer.kernel))
    expected = reference.deform_conv2d(*given, bias=convert_to_numpy(layer.bias), padding="same")
    np.testing.assert_allclose(convert_to_numpy(layer(inputs)), expected, atol=1e-5)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("padding", ["valid", "same", ((1, 0), (0, 2))], ids=str)
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_sizes_unknown_at_build_time_work(request, rng, dtype, tolerance, padding, graph):
    layer = DeformableConv2D(FILTERS, KERNEL_SIZE, strides=(2, 1), padding=padding, modulated=True, dtype=dtype)
    scattered(rng, layer, (None, None, None, CHANNELS))
    inputs = keras.Input((None, None, CHANNELS), dtype=dtype)
    model = keras.Model(inputs, layer(inputs))
    assert model.output.shape == (None, None, None, FILTERS)
    if graph:
        tf = request.getfixturevalue("tf")
        model = tf.function(model, input_signature=[tf.TensorSpec([None, None, None, CHANNELS], dtype)])
    for shape in (SHAPE, (2, 3, 7, CHANNELS)):
        given = images(rng, dtype, shape)
        np.testing.assert_allclose(
            *map(convert_to_numpy, (as_used(model)(given), as_used(layer)(given))), atol=tolerance
        )


def test_the_float64_policy_computes_in_float64(rng):
    layer = scattered(rng, DeformableConv2D(FILTERS, KERNEL_SIZE, modulated=True, dtype="float64"))
    inputs = images(rng, "float64")
    offsets, mask = layer.offsets_and_mask(inputs)
    given = map(convert_to_numpy, (inputs, offsets, layer.kernel))
    expected = reference.deform_conv2d(*given, mask=convert_to_numpy(mask), bias=convert_to_numpy(layer.bias))
    outputs = convert_to_numpy(layer(inputs))
    assert outputs.dtype == "float64"
    np.testing.assert_allclose(outputs, expected, atol=1e-12)


def test_mixed_bfloat16_computes_in_bfloat16_and_keeps_its_weights_and_gradients_in_float32(rng, gradients):
    exact = scattered(rng, DeformableConv2D(FILTERS, KERNEL_SIZE, padding="same", modulated=True))
    layer = DeformableConv2D(FILTERS, KERNEL_SIZE, padding="same", modulated=True, dtype="mixed_bfloat16")
    layer.build(SHAPE)
    layer.set_weights(exact.get_weights())
    inputs = images(rng)
    outputs = convert_to_numpy(layer(inputs))
    found = by_weights(gradients, layer, np.ones(outputs.shape), inputs).values()
    assert outputs.dtype == "bfloat16"
    assert {g.dtype.name for g in found} == {w.dtype for w in layer.weights} == {"float32"}
    assert all(np.isfinite(g).all() for g in found)
    # Loose: 8 bits in the offsets as well as in all the factors; 3 % of the largest output.
    expected = convert_to_numpy(exact(inputs))
    np.testing.assert_allclose(outputs.astype("float32"), expected, atol=0.03 * np.abs(expected).max())


@pytest.mark.parametrize(
    "options, words",
    [
        ({"filters": 0}, r"`filters` must be a positive int; received 0"),
        ({"filters": 6.0}, r"`filters` must be a positive int; received 6\.0"),
        ({"groups": 0}, r"`groups` must be a positive int; received 0"),
        ({"groups": 4}, r"`groups` must divide `filters`; received groups=4, filters=6"),
        ({"offset_groups": -1}, r"`offset_groups` must be a positive int; received -1"),
        ({"kernel_size": (3, 2, 1)}, r"`kernel_size` must be a positive int or a pair \(y, x\).*received \(3, 2, 1\)"),
        ({"strides": 0}, r"`strides` must be a positive int or a pair.*received 0"),
        ({"dilation_rate": "2"}, r"`dilation_rate` must be a positive int or a pair.*received '2'"),
        ({"padding": "SAME"}, r"`padding` must be \"valid\", \"same\", an int.*received 'SAME'"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_bad_argument_is_refused_with_its_reason(options, words):
    with pytest.raises(ValueError, match=words):
        DeformableConv2D(**{"filters": FILTERS, "kernel_size": KERNEL_SIZE} | options)


@pytest.mark.parametrize(
    "options, shape, words",
    [
        ({}, (None, 5, 4, None), r"channels, must be known; received shape \(None, 5, 4, None\)"),
        ({"groups": 3}, SHAPE, r"`groups` must divide the input's channels; received groups=3.*\(3, 5, 4, 4\)"),
        ({"offset_groups": 2}, (3, 4, 4, 5), r"`offset_groups` must divide.*\(3, 4, 4, 5\), whose last axis is taken"),
    ],
)
def test_an_input_shape_that_does_not_fit_is_refused_at_build_time(options, shape, words):
    with pytest.raises(ValueError, match=words):
        DeformableConv2D(FILTERS, KERNEL_SIZE, **options).build(shape)


@pytest.mark.parametrize(
    "shape, words",
    [((3, 4, 5, 7), "expected axis -1 of input shape to have value 4"), ((5, 4, 4), "expected ndim=4, found ndim=3")],
    ids=["channels first", "no batch axis"],
)
def test_an_input_that_does_not_fit_is_refused_once_built(shape, words):
    layer = DeformableConv2D(FILTERS, KERNEL_SIZE)
    layer.build(SHAPE)
    with pytest.raises(ValueError, match=words):
        layer(np.zeros(shape))


def test_freezing_before_there_are_weights_is_refused():
    with pytest.raises(ValueError, match="must be built"):
        DeformableConv2D(6, (3, 2)).train_only_offsets()
