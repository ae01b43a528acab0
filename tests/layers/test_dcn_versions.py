"""`DCNv3` and `DCNv4`: their authors' modules with their authors' weights, at any stride, padding and type."""

import json

import dcn_oracle
import keras
import numpy as np
import pytest
from keras import ops

from deformconv import DCNv3, DCNv4

SHAPE = BATCH, HEIGHT, WIDTH, CHANNELS = 3, 6, 9, 6
GROUPS = 2
LAYERS = [DCNv3, DCNv4]
SIXTH = keras.initializers.Constant(1 / 6)
# Whatever the type, Keras takes the root of 2 of GELU in float32 on TensorFlow, and all of `matmul` on PyTorch.
TOLERANCE = {DCNv3: 1e-6, DCNv4: 1e-10} if keras.backend.backend() != "torch" else {DCNv3: 2e-5, DCNv4: 2e-5}

# Here -> the name in the authors' checkpoints, without `.weight` and `.bias`.
NAMES = {
    "input_proj": "input_proj",
    "value_proj": "value_proj",
    "dw_conv": "dw_conv.0",
    "norm": "dw_conv.1.1",
    "offset": "offset",
    "mask": "mask",
    "offset_mask_dw": "offset_mask_dw",
    "offset_mask": "offset_mask",
    "center_feature_scale_proj": "center_feature_scale_proj",
    "output_proj": "output_proj",
}


def images(rng, dtype="float32", shape=SHAPE):
    return rng.normal(size=shape).astype(dtype)


def scattered(rng, layer, shape=SHAPE):
    """The layer, built, with random weights throughout: taps a pixel or so from their places."""
    layer.build(shape)
    layer.set_weights([rng.normal(size=w.shape) / 2 for w in layer.get_weights()])
    return layer


def checkpoint_of(layer):
    """The layer's weights as the authors' modules would save them."""
    state = {}
    for weight in layer.weights:
        *_, owner, kind = weight.path.split("/")
        value = ops.convert_to_numpy(weight)
        value = value.transpose(2, 3, 0, 1) if value.ndim == 4 else value.T
        separator = "_" if owner == "center_feature_scale_proj" else "."
        state[NAMES[owner] + separator + ("bias" if kind in ("bias", "beta") else "weight")] = value
    return state


GEOMETRIES = [
    {},
    {"kernel_size": 3, "padding": 1, "dw_kernel_size": 5, "center_feature_scale": True},
    {"strides": (2, 1), "dilation_rate": (1, 2), "offset_scale": 1.5, "center_feature_scale": True},
    {"strides": 3, "padding": "valid", "dw_kernel_size": (1, 4)},
    {"kernel_size": (2, 4), "padding": ((3, 0), (1, 6)), "strides": (1, 2), "center_feature_scale": True},
    {"kernel_size": (3, 5), "strides": (2, 1), "offset_scale": 0.5, "remove_center": True},
]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("cls", LAYERS)
def test_it_is_the_authors_module_with_the_authors_weights(rng, cls, geometry):
    layer = scattered(rng, cls(**{"kernel_size": (3, 2), "groups": GROUPS} | geometry, dtype="float64"))
    inputs = images(rng, "float64")
    module = dcn_oracle.dcnv3 if cls is DCNv3 else dcn_oracle.dcnv4
    padding = ((1, 1), (1, 1)) if layer.padding == 1 else layer.padding
    pads = dcn_oracle.pads_of((HEIGHT, WIDTH), layer.kernel_size, layer.strides, layer.dilation_rate, padding)
    expected = module(
        checkpoint_of(layer),
        inputs,
        layer.kernel_size,
        layer.strides,
        pads,
        layer.dilation_rate,
        GROUPS,
        offset_scale=layer.offset_scale,
        remove_center=layer.remove_center,
    )
    outputs = layer(inputs)
    assert tuple(outputs.shape) == layer.compute_output_shape(SHAPE)
    np.testing.assert_allclose(ops.convert_to_numpy(outputs), expected, atol=TOLERANCE[cls])


@pytest.mark.parametrize("bias", [False, True])
def test_dcnv4_without_pointwise_layers_or_without_their_bias(rng, bias):
    bare = scattered(rng, DCNv4((3, 2), groups=GROUPS, without_pointwise=True, dtype="float64"))
    assert {w.path.split("/")[-2] for w in bare.weights} == {"offset_mask"}
    full = scattered(rng, DCNv4((3, 2), groups=GROUPS, output_bias=bias, dtype="float64"))
    assert ("output_proj.bias" in checkpoint_of(full)) == bias
    inputs = images(rng, "float64")
    for layer in (bare, full):
        expected = dcn_oracle.dcnv4(checkpoint_of(layer), inputs, (3, 2), (1, 1), ((1, 1), (0, 1)), (1, 1), GROUPS)
        np.testing.assert_allclose(ops.convert_to_numpy(layer(inputs)), expected, atol=TOLERANCE[DCNv4])


def test_dcnv3_starts_as_average_pooling_between_two_dense_layers(rng):
    layer = DCNv3((3, 2), strides=(2, 1), padding="valid", groups=GROUPS)
    inputs = images(rng)
    outputs = layer(inputs)
    pooled = keras.layers.AveragePooling2D((3, 2), (2, 1), data_format="channels_last")(layer.input_proj(inputs))
    np.testing.assert_allclose(*(ops.convert_to_numpy(x) for x in (outputs, layer.output_proj(pooled))), atol=1e-5)
    offsets, mask = layer.offsets_and_mask(inputs)
    assert offsets.shape == (BATCH, 2, 8, 24)
    np.testing.assert_array_equal(ops.convert_to_numpy(offsets), np.zeros((BATCH, 2, 8, 24)))
    np.testing.assert_allclose(ops.convert_to_numpy(mask), np.full((BATCH, 2, 8, 12), 1 / 6), rtol=1e-6)


def test_dcnv4_starts_at_zero(rng):
    np.testing.assert_array_equal(ops.convert_to_numpy(DCNv4(groups=GROUPS)(images(rng))), np.zeros(SHAPE))


def test_dcnv4_may_start_as_average_pooling_between_two_dense_layers(rng):
    layer = DCNv4((3, 2), strides=(2, 1), padding="valid", groups=GROUPS, mask_bias_initializer=SIXTH)
    inputs = images(rng)
    outputs = layer(inputs)
    pooled = keras.layers.AveragePooling2D((3, 2), (2, 1), data_format="channels_last")(layer.value_proj(inputs))
    np.testing.assert_allclose(*(ops.convert_to_numpy(x) for x in (outputs, layer.output_proj(pooled))), atol=1e-5)


@pytest.mark.parametrize("remove_center", [False, True])
def test_an_initial_mask_is_the_masks_alone(remove_center):
    layer = DCNv4((3, 5), groups=GROUPS, remove_center=remove_center, mask_bias_initializer=SIXTH)
    layer.build(SHAPE)
    offsets, mask = layer.offsets_and_mask(np.ones(SHAPE, "float32"))
    assert not ops.convert_to_numpy(offsets).any()
    expected = np.full(30, 1 / 6)
    if remove_center:
        expected[[7, 22]] = 0
    np.testing.assert_allclose(ops.convert_to_numpy(mask)[2, 4, 1], expected, rtol=1e-6)
    assert np.count_nonzero(ops.convert_to_numpy(layer.offset_mask.bias)) == (28 if remove_center else 30)


@pytest.mark.parametrize("cls", LAYERS)
def test_initial_weights_are_drawn_as_the_authors_draw_them(cls):
    layer = cls(3, groups=32, dw_kernel_size=(2, 8), center_feature_scale=True)
    layer.build((None, None, None, 256))
    for weight in layer.weights:
        owner, kind = weight.path.split("/")[-2:]
        value = ops.convert_to_numpy(weight)
        if owner in ("input_proj", "value_proj", "output_proj") and kind == "kernel":
            limit = np.sqrt(6 / 512)
        elif owner in ("dw_conv", "offset_mask_dw"):
            limit = 1 / 4
        else:
            np.testing.assert_array_equal(value, 1 if kind == "gamma" else 0)
            continue
        assert 0.95 * limit < np.abs(value).max() <= limit
        assert abs(value.mean()) < 0.1 * limit


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("cls", LAYERS)
def test_training_moves_the_offsets_and_stays_finite(rng, cls, policy):
    layer = cls((3, 2), groups=GROUPS, center_feature_scale=True, dtype=policy)
    model = keras.Sequential([keras.Input(SHAPE[1:]), layer])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    inputs, targets = images(rng), images(rng)
    maker = layer.offset if cls is DCNv3 else layer.offset_mask
    is_mask = np.zeros(maker.units, bool)
    if cls is DCNv4:  # each group: 12 offsets, 6 masks; and 4 channels that only fill
        is_mask[12:18] = is_mask[30:36] = True
    steps = []
    for _ in range(2):
        model.fit(inputs, targets, verbose=0)
        steps.append(np.abs(ops.convert_to_numpy(maker.kernel)).max(axis=0))
    assert all(np.isfinite(ops.convert_to_numpy(w)).all() for w in layer.weights)
    if cls is DCNv3:
        assert (steps[0] > 0).all()
        return
    # A mask of zero hides where the taps look: they start to move one step later.
    np.testing.assert_array_equal(steps[0] > 0, is_mask)
    assert (steps[1][:36] > 0).all()
    assert (steps[1][36:] == 0).all()


@pytest.mark.parametrize("cls", LAYERS)
def test_mixed_bfloat16_keeps_coordinates_in_float32_and_comes_close(rng, cls):
    arguments = {"kernel_size": (3, 2), "groups": GROUPS, "center_feature_scale": True, "dw_kernel_size": 3}
    exact = scattered(rng, cls(**arguments))
    layer = cls(**arguments, dtype="mixed_bfloat16")
    layer.build(SHAPE)
    layer.set_weights(exact.get_weights())
    inputs = images(rng)
    outputs = layer(inputs)
    offsets, _ = layer.offsets_and_mask(ops.cast(inputs, "bfloat16"))
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    assert keras.backend.standardize_dtype(offsets.dtype) == "float32"
    assert {w.dtype for w in layer.weights} == {"float32"}
    expected = ops.convert_to_numpy(exact(inputs))
    outputs = ops.convert_to_numpy(ops.cast(outputs, "float32"))
    np.testing.assert_allclose(outputs, expected, atol=0.05 * np.abs(expected).max())


COMMON = {
    "kernel_size": (3, 5),
    "strides": (2, 1),
    "padding": ((1, 0), (0, 2)),
    "dilation_rate": (1, 2),
    "groups": 3,
    "offset_scale": 0.5,
    "dw_kernel_size": (5, 2),
    "center_feature_scale": True,
    "remove_center": True,
    "name": "gathers",
    "dtype": "mixed_bfloat16",
}


@pytest.mark.parametrize(
    "cls, more",
    [
        (DCNv3, {"activation": "relu"}),
        (DCNv4, {"output_bias": False, "without_pointwise": True, "mask_bias_initializer": SIXTH}),
    ],
    ids=["DCNv3", "DCNv4"],
)
def test_the_config_is_plain_and_brings_back_every_argument(cls, more):
    arguments = COMMON | more
    config = cls(**arguments).get_config()
    assert set(arguments) <= set(config)
    again = cls.from_config(json.loads(json.dumps(config)))
    assert json.dumps(again.get_config()) == json.dumps(config)
    for name in set(arguments) - {"activation", "dtype", "padding", "mask_bias_initializer"}:
        assert getattr(again, name) == arguments[name], name
    assert again.compute_output_shape((None, 6, None, 6)) == (None, 3, None, 6)
    assert again.compute_output_shape((3, 6, 9, 6)) == (3, 3, 3, 6)
    assert cls is DCNv3 or again.mask_bias_initializer.value == 1 / 6


@pytest.mark.parametrize("cls", LAYERS)
def test_a_saved_model_loads_without_being_told_of_the_layer(rng, tmp_path, cls):
    layer = cls((3, 2), groups=GROUPS, strides=(2, 1), dw_kernel_size=3, center_feature_scale=True)
    model = keras.Sequential([keras.Input(SHAPE[1:]), scattered(rng, layer)])
    inputs = images(rng)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(*(ops.convert_to_numpy(m(inputs)) for m in (again, model)))


@pytest.mark.parametrize("padding", ["same", "valid", ((3, 0), (1, 6))], ids=str)
@pytest.mark.parametrize("cls", LAYERS)
def test_sizes_unknown_at_build_time_work(rng, cls, padding):
    layer = cls((3, 2), strides=(2, 1), padding=padding, groups=GROUPS, center_feature_scale=True)
    scattered(rng, layer, (None, None, None, CHANNELS))
    inputs = keras.Input((None, None, CHANNELS))
    model = keras.Model(inputs, layer(inputs))
    assert model.output.shape == (None, None, None, CHANNELS)
    for shape in (SHAPE, (2, 3, 7, CHANNELS)):
        given = images(rng, shape=shape)
        np.testing.assert_allclose(
            model.predict(given, verbose=0), ops.convert_to_numpy(layer(given)), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("cls", LAYERS)
def test_one_graph_serves_every_size_and_an_empty_batch(rng, tf, cls, padding):
    layer = scattered(rng, cls((3, 2), strides=(2, 1), padding=padding, groups=GROUPS, center_feature_scale=True))
    graph = tf.function(layer, input_signature=[tf.TensorSpec([None, None, None, CHANNELS])])
    for shape in (SHAPE, (2, 3, 7, CHANNELS), (0, *SHAPE[1:])):
        given = images(rng, shape=shape)
        np.testing.assert_allclose(graph(given), layer(given), atol=1e-5)


@pytest.mark.parametrize("cls", LAYERS)
def test_an_empty_batch_gives_an_empty_batch(cls):
    layer = cls((3, 2), groups=GROUPS, strides=(2, 1))
    assert tuple(layer(np.zeros((0, *SHAPE[1:]))).shape) == (0, 3, 9, CHANNELS)


@pytest.mark.parametrize("size", [(1, WIDTH), (HEIGHT, 1)])
@pytest.mark.parametrize("cls", LAYERS)
def test_height_one_and_width_one_work(rng, cls, size):
    layer = scattered(rng, cls((3, 2), groups=GROUPS), (BATCH, *size, CHANNELS))
    outputs = ops.convert_to_numpy(layer(images(rng, shape=(BATCH, *size, CHANNELS))))
    assert outputs.shape == (BATCH, *size, CHANNELS)
    assert np.isfinite(outputs).all()


@pytest.mark.parametrize(
    "options, words",
    [
        ({"kernel_size": (3, 2, 1)}, r"`kernel_size` must be a positive int or a pair.*received \(3, 2, 1\)"),
        ({"strides": 0}, r"`strides` must be a positive int or a pair.*received 0"),
        ({"padding": "SAME"}, r"`padding` must be \"valid\", \"same\", an int.*received 'SAME'"),
        ({"dilation_rate": 1.5}, r"`dilation_rate` must be a positive int or a pair.*received 1\.5"),
        ({"groups": 0}, r"`groups` must be a positive int; received 0"),
        ({"offset_scale": 0}, r"`offset_scale` must be a positive number; received 0\..*one point"),
        ({"offset_scale": "1"}, r"`offset_scale` must be a positive number; received '1'"),
        ({"offset_scale": float("nan")}, r"`offset_scale` must be a positive number; received nan"),
        ({"dw_kernel_size": 0}, r"`dw_kernel_size` must be a positive int or a pair.*received 0"),
        ({"kernel_size": 2, "remove_center": True}, r"`remove_center` must be False.*kernel_size=\(2, 2\).*odd"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("cls", LAYERS)
def test_a_bad_argument_is_refused_with_its_reason(cls, options, words):
    with pytest.raises(ValueError, match=words):
        cls(**options)


@pytest.mark.parametrize(
    "shape, words",
    [
        ((None, 6, 9, None), r"channels, must be known; received shape \(None, 6, 9, None\).*keras.Input"),
        ((3, 8, 9, 6), r"`groups` must divide the input's channels; received groups=4.*\(3, 8, 9, 6\), whose last"),
    ],
    ids=["unknown", "groups"],
)
@pytest.mark.parametrize("cls", LAYERS)
def test_an_input_shape_that_does_not_fit_is_refused_at_build_time(cls, shape, words):
    with pytest.raises(ValueError, match=words):
        cls().build(shape)


@pytest.mark.parametrize("cls", LAYERS)
def test_an_image_smaller_than_the_kernel_is_refused(cls):
    with pytest.raises(ValueError, match=r"`inputs` must be at least as large as the dilated kernel.*\(2, 9\)"):
        cls(3, padding="valid", groups=GROUPS)(np.zeros((3, 2, 9, 6)))
