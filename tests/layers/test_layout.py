"""`data_format`: each layer with channels first is that with channels last, turned; Keras's setting is followed."""

import keras
import numpy as np
import pytest
from as_used import as_used
from keras import ops

from deformconv import (
    ConvOffset2D,
    DCNv3,
    DCNv4,
    DeformableConv2D,
    DeformableRoIPooling2D,
    SpatialTransformer,
    diagnostics,
    training,
)
from deformconv.training.scaling import Scaling

SHAPE = BATCH, HEIGHT, WIDTH, CHANNELS = 3, 7, 5, 4
BOXES = np.array([[[0.5, 1, 6, 4.5], [2, 0, 5, 3]]] * BATCH, "float32")


def spatial_transformer(output_size=None, data_format=None, **options):
    """Its localisation sees the images as it does itself; of the mean over pixels both orders make the same."""
    localisation = keras.layers.GlobalAveragePooling2D(data_format=data_format)
    return SpatialTransformer(localisation, output_size, data_format=data_format, **options)


LAYERS = {
    "DeformableConv2D": lambda **options: DeformableConv2D(
        6, (3, 2), (2, 1), ((1, 0), (0, 2)), groups=2, offset_groups=2, modulated=True, **options
    ),
    "ConvOffset2D": ConvOffset2D,
    "DCNv3": lambda **options: DCNv3((3, 2), (2, 1), groups=2, center_feature_scale=True, **options),
    "DCNv4": lambda **options: DCNv4((3, 2), (2, 1), "valid", groups=2, dw_kernel_size=3, **options),
    "SpatialTransformer": spatial_transformer,
    "SpatialTransformer, other size": lambda **options: spatial_transformer((4, 6), **options),
    "DeformableRoIPooling2D": lambda **options: DeformableRoIPooling2D((3, 2), modulated=True, **options),
}
EACH = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


def boxes_of(layer):
    return (BOXES,) if isinstance(layer, DeformableRoIPooling2D) else ()


def first(maps):
    """`(..., h, w, c)` -> `(..., c, h, w)`."""
    return np.moveaxis(maps, -1, -3)


def both(rng, make, shape=SHAPE):
    """The layer in both orders, with the same random weights: taps a pixel or so from their places."""
    last, turned = (make(data_format=order) for order in ("channels_last", "channels_first"))
    boxes = [each.shape for each in boxes_of(last)]
    last.build(shape, *boxes)
    turned.build((shape[0], shape[3], *shape[1:3]), *boxes)
    last.set_weights([rng.normal(size=w.shape) / 4 for w in last.get_weights()])
    turned.set_weights(last.get_weights())
    return last, turned


def array(tensor):
    return ops.convert_to_numpy(tensor)


@EACH
def test_channels_first_is_channels_last_turned(rng, make):
    last, turned = both(rng, make)
    inputs, boxes = rng.normal(size=SHAPE).astype("float32"), boxes_of(last)
    outputs = array(as_used(turned)(first(inputs), *boxes))
    np.testing.assert_allclose(outputs, first(array(as_used(last)(inputs, *boxes))), atol=1e-5)
    own_shapes = [(BATCH, CHANNELS, HEIGHT, WIDTH), *(each.shape for each in boxes)]
    assert turned.compute_output_shape(*own_shapes) == outputs.shape
    if hasattr(last, "offsets_and_mask"):  # channels last, whatever the layer's order
        of_last, of_turned = last.offsets_and_mask(inputs, *boxes), turned.offsets_and_mask(first(inputs), *boxes)
        for one, other in zip(of_last, of_turned, strict=True):
            np.testing.assert_allclose(array(other), array(one), atol=1e-5)


@EACH
def test_gradients_are_turned_as_well(rng, gradients, make):
    last, turned = both(rng, make)
    inputs, boxes = rng.normal(size=SHAPE).astype("float32"), boxes_of(last)
    upstream = rng.normal(size=last.compute_output_shape(SHAPE, *(each.shape for each in boxes)))
    (by_last,) = gradients(lambda maps: last(maps, *boxes), upstream, inputs)
    (by_turned,) = gradients(lambda maps: turned(maps, *boxes), first(upstream), first(inputs))
    assert np.abs(by_last).max() > 0.01
    np.testing.assert_allclose(by_turned, first(by_last), atol=1e-4)


@EACH
def test_a_model_of_unknown_sizes_and_its_file_keep_the_order(rng, tmp_path, make):
    last, turned = both(rng, make, (None, None, None, CHANNELS))
    maps, boxes = keras.Input((CHANNELS, None, None)), [keras.Input(each.shape[1:]) for each in boxes_of(last)]
    model = keras.Model([maps, *boxes], turned(maps, *boxes))
    inputs = rng.normal(size=SHAPE).astype("float32")
    expected = first(array(last(inputs, *boxes_of(last))))
    assert all(known in (None, size) for known, size in zip(model.output.shape, expected.shape, strict=True))
    model.save(tmp_path / "model.keras")
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        outputs = each.predict([first(inputs), *boxes_of(last)], verbose=0)
        np.testing.assert_allclose(outputs, expected, atol=1e-5)


@EACH
def test_keras_setting_is_followed_and_a_file_from_before_is_channels_last(channels_first_setting, make):
    assert make(data_format=None).data_format == "channels_first"
    layer = make(data_format="channels_last", dtype="mixed_bfloat16", name="mine")
    config = layer.get_config()
    assert config.pop("data_format") == "channels_last"
    again = type(layer).from_config(config)
    assert (again.data_format, again.name, again.dtype_policy.name) == ("channels_last", "mine", "mixed_bfloat16")


@EACH
def test_an_empty_batch_works(make):
    layer = make(data_format="channels_first")
    boxes = [each[:0] for each in boxes_of(layer)]
    outputs = layer(np.zeros((0, CHANNELS, HEIGHT, WIDTH), "float32"), *boxes)
    expected = layer.compute_output_shape((0, CHANNELS, HEIGHT, WIDTH), *(each.shape for each in boxes))
    assert tuple(outputs.shape) == expected


@pytest.mark.parametrize("layout, size", [("paired", (7, 5)), ("2017", (5, 5))])
def test_both_layouts_of_2017_know_height_from_width(rng, layout, size):
    last, turned = both(rng, lambda **options: ConvOffset2D(layout, **options), (BATCH, *size, CHANNELS))
    inputs = rng.normal(size=(BATCH, *size, CHANNELS)).astype("float32")
    np.testing.assert_allclose(array(turned(first(inputs))), first(array(last(inputs))), atol=1e-5)


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match=r"`data_format` must be .*received 'NCHW'\. It is \"channels_first\" here"):
        LAYERS["ConvOffset2D"](data_format="NCHW")


@pytest.mark.parametrize("name", ["DeformableConv2D", "DCNv3", "DCNv4"])
def test_messages_name_the_axis_of_the_channels(name):
    layer = LAYERS[name](data_format="channels_first")
    with pytest.raises(ValueError, match=r"received shape \(None, None, 7, 5\)\. Give it in keras\.Input") as refused:
        layer.build((None, None, 7, 5))
    assert str(refused.value).startswith("The second axis of the input, its channels, must be known")
    with pytest.raises(ValueError, match=r"`groups` must divide.*\(3, 7, 4, 6\), whose second axis is taken"):
        layer.build((3, 7, 4, 6))
    layer = LAYERS[name](data_format="channels_first")
    layer.build((3, CHANNELS, HEIGHT, WIDTH))
    with pytest.raises(ValueError, match="expected axis 1 of input shape to have value 4"):
        layer(np.zeros(SHAPE, "float32"))
    with pytest.raises(ValueError, match=r"`inputs` must have shape \(batch, channels, height, width\)"):
        layer.call(np.zeros(SHAPE[1:], "float32"))


@pytest.fixture
def classifier():
    """With channels first throughout, of layers that compute so on every engine."""
    order = {"data_format": "channels_first"}
    return keras.Sequential(
        [
            keras.Input((1, 8, 6)),
            DeformableConv2D(4, (3, 2), name="looks", **order),
            keras.layers.GlobalAveragePooling2D(**order),
            keras.layers.Dense(2, "softmax"),
        ]
    )


def test_a_training_with_channels_first_watches_its_offsets(rng, tmp_path, classifier):
    images, labels = rng.normal(size=(12, 1, 8, 6)).astype("float32"), np.arange(12) % 2
    training.fit(classifier, images, labels, steps=2, batch_size=4, seed=0, logs=tmp_path, every=1)
    (look,) = diagnostics.looks(classifier, images)
    assert look.offsets.shape == (12, 6, 5, 1, 3, 2, 2) and look.size == (8, 6)


@pytest.mark.parametrize(
    "read",
    [
        lambda model, images: diagnostics.dilation_on_digits(model, images),
        lambda model, images: diagnostics.effective_receptive_field(model, images[0], layer="looks"),
        lambda model, images: training.fit(
            model, images, np.zeros(3), steps=1, batch_size=1, seed=0, scaling=Scaling()
        ),
    ],
    ids=["dilation_on_digits", "effective_receptive_field", "fit"],
)
def test_what_reads_maps_channels_last_refuses_a_model_with_channels_first(classifier, read):
    with pytest.raises(ValueError, match="needs a model with channels last; layer 'looks' has data_format='channels_f"):
        read(classifier, np.zeros((3, 8, 6, 1), "float32"))
