"""`export_onnx`: real `DeformConv` nodes, and onnxruntime computes what Keras does."""

import logging
import sys

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from keras import layers

from deformconv import (
    ConvOffset2D,
    DCNv3,
    DCNv4,
    DeformableConv2D,
    DeformableRoIPooling2D,
    SpatialTransformer,
    bilinear_sample,
    export_onnx,
    openvino_extension,
)
from deformconv.exchange import onnx_export
from deformconv.study.digits import models

# Elsewhere each export starts a process: one test of that, below, is enough.
on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="converts on TensorFlow")

SIZE = HEIGHT, WIDTH, CHANNELS = 5, 4, 4
FILTERS, KERNEL_SIZE = 6, (3, 2)
OTHER_SIZE = (9, 7, CHANNELS)
UNKNOWN = (None, None, CHANNELS)


def scattered(rng, model):
    """The model with random weights throughout, so that taps are some pixels from their places."""
    for weight in model.weights:
        if "variance" in weight.path:
            weight.assign(rng.uniform(0.5, 2, weight.shape))
        elif len(weight.shape) > 0 and "float" in weight.dtype:
            fan_in = np.prod(weight.shape[:-1]) if len(weight.shape) > 1 else 4
            weight.assign(rng.normal(size=weight.shape) * (1.5 / np.sqrt(fan_in)))
    return model


def sequential(rng, *made, size=SIZE):
    return scattered(rng, keras.Sequential([keras.Input(size, name="image"), *made]))


def run(path, *tensors):
    """The outputs by onnxruntime, by name, for inputs in the model's order."""
    session = onnxruntime.InferenceSession(path)
    names = [put.name for put in session.get_inputs()]
    outputs = session.run(None, dict(zip(names, tensors, strict=True)))
    return dict(zip([put.name for put in session.get_outputs()], outputs, strict=True))


def by_keras(model, inputs):
    return [keras.ops.convert_to_numpy(made) for made in keras.tree.flatten(model(inputs, training=False))]


def check_same(path, model, *tensors):
    expected = by_keras(model, tensors[0] if len(tensors) == 1 else list(tensors))
    for ours, theirs in zip(run(path, *tensors).values(), expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def images(rng, batch=3, size=SIZE):
    return rng.normal(size=(batch, *size)).astype("float32")


def node_types(path):
    return [node.op_type for node in onnx.load(path).graph.node]


CASES = {
    "valid": {},
    "same": {"padding": "same"},
    "padding by number": {"padding": 2},
    "padding by side": {"padding": ((1, 0), (0, 2))},
    "strides": {"strides": (2, 1)},
    "strides, same": {"strides": (2, 3), "padding": "same"},
    "strides that leave out the last column": {"strides": (1, 2), "padding": ((0, 0), (1, 0))},
    "dilation": {"dilation_rate": (1, 2)},
    "dilation, same": {"dilation_rate": (2, 1), "padding": "same"},
    "groups": {"groups": 2},
    "offset groups": {"offset_groups": 4},
    "modulated": {"modulated": True},
    "modulated without a bias": {"modulated": True, "use_bias": False},
    "no bias": {"use_bias": False},
    "bounded offsets": {"modulated": True, "max_offset": 2.5},
    "activation": {"activation": "tanh"},
    "all": {
        "padding": "same",
        "strides": (2, 1),
        "groups": 2,
        "offset_groups": 2,
        "modulated": True,
        "activation": "relu",
    },
}


@on_tensorflow
@pytest.mark.parametrize("size", [SIZE, UNKNOWN], ids=["known size", "unknown size"])
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_onnxruntime_computes_what_the_layer_does(rng, tmp_path, options, size):
    layer = DeformableConv2D(FILTERS, KERNEL_SIZE, **options)
    model = sequential(rng, layer, size=size)
    offsets, _ = layer.offsets_and_mask(images(rng))
    assert 2 < np.abs(offsets).max() < 20
    export_onnx(model, tmp_path / "model.onnx")
    for tried in [SIZE] if size == SIZE else [SIZE, OTHER_SIZE]:
        for batch in (0, 1, 3):
            check_same(tmp_path / "model.onnx", model, images(rng, batch, tried))


@on_tensorflow
@pytest.mark.parametrize("size", [SIZE, UNKNOWN], ids=["known size", "unknown size"])
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_openvino_computes_what_the_layer_does(rng, tmp_path, options, size):
    openvino = pytest.importorskip("openvino")
    model = sequential(rng, DeformableConv2D(FILTERS, KERNEL_SIZE, **options), size=size)
    export_onnx(model, tmp_path / "model.onnx")
    core = openvino.Core()
    core.add_extension(openvino_extension())
    read = core.compile_model(tmp_path / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for tried in [SIZE] if size == SIZE else [SIZE, OTHER_SIZE]:
        given = images(rng, size=tried)
        (expected,) = by_keras(model, given)
        np.testing.assert_allclose(read(given)[0], expected, rtol=1e-5, atol=1e-5)


def test_without_openvino_its_extension_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino.frontend.onnx", None)
    with pytest.raises(ImportError, match="pip install openvino"):
        openvino_extension()


def test_a_diverged_model_is_refused(rng, tmp_path):
    model = sequential(rng, DeformableConv2D(FILTERS, KERNEL_SIZE, name="mine"))
    model.layers[0].offset_conv.bias.assign(np.r_[np.nan, np.zeros(11)])
    with pytest.raises(ValueError, match="'.*mine/offset_conv/bias' has not: the training diverged"):
        export_onnx(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
    infinite = sequential(rng, layers.Rescaling(3e38), DeformableConv2D(FILTERS, KERNEL_SIZE))
    with pytest.raises(ValueError, match="must give finite outputs"):
        export_onnx(infinite, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@on_tensorflow
def test_a_diverged_model_is_exported_if_asked_for(rng, tmp_path):
    model = sequential(rng, layers.Conv2D(3, 1))
    model.layers[0].bias.assign([np.inf, 0, 0])
    assert export_onnx(model, tmp_path / "model.onnx", finite=False) < 1e-5
    (outputs,) = run(tmp_path / "model.onnx", images(rng)).values()
    assert np.isinf(outputs[..., 0]).all() and np.isfinite(outputs[..., 1:]).all()


def test_the_largest_difference_is_told(rng, tmp_path):
    model = sequential(rng, DeformableConv2D(FILTERS, KERNEL_SIZE))
    assert 0 <= export_onnx(model, tmp_path / "model.onnx") < 1e-5


@on_tensorflow
def test_outputs_that_are_no_floats_are_compared_too(rng, tmp_path):
    model = sequential(rng, DeformableConv2D(FILTERS, KERNEL_SIZE), layers.Lambda(lambda x: x > 0))
    assert export_onnx(model, tmp_path / "model.onnx") == 0


@on_tensorflow
def test_a_file_that_computes_something_else_is_not_written(rng, tmp_path, monkeypatch):
    made, other = onnx_export.convert_here, sequential(rng, DeformableConv2D(FILTERS, KERNEL_SIZE))
    monkeypatch.setattr(onnx_export, "convert_here", lambda model, signature: made(other, signature))
    with pytest.raises(RuntimeError, match="does not compute what the model does: in onnxruntime .* differs by"):
        export_onnx(sequential(rng, DeformableConv2D(FILTERS, KERNEL_SIZE)), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@on_tensorflow
def test_a_layer_becomes_one_deform_conv_node_of_opset_22_with_its_arguments(rng, tmp_path):
    layer = DeformableConv2D(
        FILTERS,
        KERNEL_SIZE,
        strides=(2, 1),
        dilation_rate=(1, 2),
        padding=((1, 0), (0, 3)),
        groups=2,
        offset_groups=4,
        modulated=True,
    )
    export_onnx(sequential(rng, layer), tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 22)]
    assert {node.domain for node in model.graph.node} == {""}
    [node] = [node for node in model.graph.node if node.op_type == "DeformConv"]
    assert {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute} == {
        "kernel_shape": [3, 2],
        "strides": [2, 1],
        "dilations": [1, 2],
        # Before, then after. Of the three columns on the right all are seen; no row below is.
        "pads": [1, 0, 0, 3],
        "group": 2,
        "offset_group": 4,
    }
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
    np.testing.assert_array_equal(constants[node.input[1]], np.transpose(layer.kernel, (3, 2, 0, 1)))
    np.testing.assert_array_equal(constants[node.input[3]], layer.bias)


@on_tensorflow
@pytest.mark.parametrize("modulated", [False, True])
def test_a_layer_costs_no_more_nodes_than_its_parts(rng, tmp_path, modulated):
    model = sequential(rng, DeformableConv2D(FILTERS, KERNEL_SIZE, padding="same", modulated=modulated))
    export_onnx(model, tmp_path / "model.onnx")
    split = ["Slice", "Slice", "Sigmoid", "Mul"] if modulated else []
    assert sorted(node_types(tmp_path / "model.onnx")) == sorted(
        ["Transpose", "Conv", *split, "DeformConv", "Transpose"]
    )


@on_tensorflow
def test_an_unknown_size_needs_no_nodes_for_padding_same_without_strides(rng, tmp_path):
    model = sequential(rng, DeformableConv2D(FILTERS, KERNEL_SIZE, padding="same"), size=UNKNOWN)
    export_onnx(model, tmp_path / "model.onnx")
    assert node_types(tmp_path / "model.onnx") == ["Transpose", "Conv", "DeformConv", "Transpose"]


@on_tensorflow
def test_the_digit_classifier_gives_the_same_probabilities(rng, tmp_path):
    model = scattered(rng, models.digit_classifier(models.deformable))
    export_onnx(model, tmp_path / "model.onnx")
    assert node_types(tmp_path / "model.onnx").count("DeformConv") == 3
    inputs = rng.uniform(size=(3, 28, 28, 1)).astype("float32")
    check_same(tmp_path / "model.onnx", model, inputs)
    [probabilities] = run(tmp_path / "model.onnx", inputs).values()
    assert 0.01 < probabilities.std() < 0.29  # neither all alike nor all 0 and 1


@on_tensorflow
def test_branches_inputs_and_outputs_keep_their_order_and_names(rng, tmp_path):
    left, right = keras.Input(SIZE, name="zeta"), keras.Input(OTHER_SIZE, name="alpha")
    branch = DeformableConv2D(CHANNELS, KERNEL_SIZE, padding="same", activation="relu")
    joined = layers.Add(name="sum")([left, branch(left)])
    shared = DeformableConv2D(FILTERS, KERNEL_SIZE, strides=(2, 1), modulated=True)
    pooled = layers.Concatenate(name="both")(
        [layers.GlobalAveragePooling2D()(shared(x)) for x in (joined, right)],
    )
    model = scattered(rng, keras.Model([left, right], [joined, pooled]))
    export_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert [put.name for put in session.get_inputs()] == ["zeta", "alpha"]
    assert [put.name for put in session.get_outputs()] == ["sum", "both"]
    assert node_types(tmp_path / "model.onnx").count("DeformConv") == 3  # the shared layer twice
    check_same(tmp_path / "model.onnx", model, images(rng), images(rng, size=OTHER_SIZE))


@on_tensorflow
def test_an_output_that_is_an_input_and_outputs_of_one_layer_have_names_of_their_own(rng, tmp_path):
    image, layer = keras.Input(SIZE, name="image"), layers.ReLU(name="relu")
    model = keras.Model(image, [layer(image), image, layer(2 * image)])
    export_onnx(model, tmp_path / "model.onnx")
    inputs = images(rng)
    assert list(run(tmp_path / "model.onnx", inputs)) == ["relu", "image_1", "relu_1"]
    check_same(tmp_path / "model.onnx", model, inputs)


def others_of_the_package():
    image = keras.Input(SIZE, name="image")
    boxes = keras.Input((2, 4), name="boxes")
    pose = keras.Sequential([layers.Flatten(), layers.Dense(6)])
    return {
        "ConvOffset2D": keras.Model(image, ConvOffset2D()(image)),
        "SpatialTransformer": keras.Model(image, SpatialTransformer(pose, padding="edge")(image)),
        "DeformableRoIPooling2D": keras.Model([image, boxes], DeformableRoIPooling2D((3, 2), True)(image, boxes)),
        "DCNv3": keras.Model(image, DCNv3(groups=2)(image)),
        "DCNv4": keras.Model(image, DCNv4(groups=2)(image)),
    }


@on_tensorflow
@pytest.mark.parametrize("name", ["ConvOffset2D", "SpatialTransformer", "DeformableRoIPooling2D", "DCNv3", "DCNv4"])
def test_the_other_layers_of_this_package_give_the_same(rng, tmp_path, name):
    model = scattered(rng, others_of_the_package()[name])
    export_onnx(model, tmp_path / "model.onnx")
    for batch in (1, 3):
        boxes = np.sort(rng.uniform(0, 4, size=(batch, 2, 2, 2)), axis=2).reshape(batch, 2, 4).astype("float32")
        check_same(tmp_path / "model.onnx", model, *[images(rng, batch), boxes][: len(model.inputs)])


@on_tensorflow
@pytest.mark.parametrize("cls", [DeformableConv2D, ConvOffset2D, DCNv3, DCNv4])
def test_a_layer_with_channels_first_is_turned_in_the_file_as_well(rng, tmp_path, cls):
    arguments = (FILTERS, KERNEL_SIZE) if cls is DeformableConv2D else ()
    layer = cls(*arguments, data_format="channels_first")
    model = sequential(rng, layer, size=(CHANNELS, HEIGHT, WIDTH))
    export_onnx(model, tmp_path / "model.onnx")
    check_same(tmp_path / "model.onnx", model, images(rng, size=(CHANNELS, HEIGHT, WIDTH)))


STANDARD = {
    "constants that are no weights": lambda: layers.Normalization(mean=np.arange(4.0), variance=np.arange(1, 5.0)),
    "large constants": lambda: keras.Sequential(
        [layers.Flatten(), layers.Normalization(mean=np.arange(80.0), variance=np.arange(1, 81.0))]
    ),
    "compiled by Keras itself": lambda: layers.Conv2D(FILTERS, KERNEL_SIZE, groups=2),
    "an operation that tf2onnx lacks": lambda: layers.Dense(FILTERS, activation="gelu"),
    "recurrent": lambda: keras.Sequential([layers.Reshape((HEIGHT, -1)), layers.LSTM(3)]),
    "what only training does": lambda: keras.Sequential([layers.Dropout(0.5), layers.BatchNormalization()]),
    "each frame": lambda: keras.Sequential(
        [layers.Reshape((1, *SIZE)), layers.TimeDistributed(DeformableConv2D(FILTERS, KERNEL_SIZE))]
    ),
}


@on_tensorflow
@pytest.mark.parametrize("make", STANDARD.values(), ids=STANDARD)
def test_standard_layers_around_it_give_the_same(rng, tmp_path, make):
    model = sequential(rng, DeformableConv2D(CHANNELS, KERNEL_SIZE, padding="same"), make())
    export_onnx(model, tmp_path / "model.onnx")
    assert [put.name for put in onnx.load(tmp_path / "model.onnx").graph.input] == ["image"]
    for batch in (1, 3):
        check_same(tmp_path / "model.onnx", model, images(rng, batch))


class Looped(layers.Layer):
    """One deformable convolution, three times over, in a loop of the graph."""

    def __init__(self):
        super().__init__()
        self.step = DeformableConv2D(CHANNELS, KERNEL_SIZE, padding="same")

    def build(self, input_shape):
        self.step.build(input_shape)

    def call(self, inputs):
        return keras.ops.fori_loop(0, 3, lambda _, x: keras.ops.tanh(self.step(x)), inputs)


@on_tensorflow
def test_a_convolution_inside_a_loop_is_a_node_too(rng, tmp_path):
    model = sequential(rng, Looped())
    export_onnx(model, tmp_path / "model.onnx")
    check_same(tmp_path / "model.onnx", model, images(rng))


class Subclassed(keras.Model):
    """A model that does not say its inputs, a dictionary."""

    def __init__(self):
        super().__init__()
        self.look = DeformableConv2D(FILTERS, KERNEL_SIZE)

    def call(self, inputs):
        return {"seen": self.look(inputs["image"]), "read": bilinear_sample(inputs["image"], inputs["coords"])}


@on_tensorflow
def test_a_subclassed_model_takes_its_inputs_from_the_signature(rng, tmp_path):
    model = Subclassed()
    inputs = {"image": images(rng), "coords": rng.uniform(-1, 5, size=(3, 7, 2)).astype("float32")}
    model(inputs)
    scattered(rng, model)
    with pytest.raises(ValueError, match="Model 'subclassed.*' does not say its inputs: give `input_signature`"):
        export_onnx(model, tmp_path / "model.onnx")
    signature = {
        "image": keras.layers.InputSpec(shape=(None, *UNKNOWN), dtype="float32", name="pixels"),
        "coords": keras.KerasTensor((None, 7, 2), name="coords"),
    }
    export_onnx(model, tmp_path / "model.onnx", input_signature=signature)
    made = run(tmp_path / "model.onnx", inputs["coords"], inputs["image"])
    for name, expected in model(inputs).items():
        np.testing.assert_allclose(made[name], expected, atol=1e-5)
    assert [put.name for put in onnx.load(tmp_path / "model.onnx").graph.input] == ["coords", "pixels"]


@on_tensorflow
def test_a_signature_fixes_sizes_that_the_model_leaves_open(rng, tmp_path):
    model = sequential(rng, DeformableConv2D(FILTERS, KERNEL_SIZE, strides=(2, 1), padding="same"), size=UNKNOWN)
    export_onnx(model, tmp_path / "model.onnx", input_signature=keras.KerasTensor((3, *SIZE), name="fixed"))
    [put] = onnxruntime.InferenceSession(tmp_path / "model.onnx").get_inputs()
    assert (put.name, put.shape) == ("fixed", [3, *SIZE])
    assert "Shape" not in node_types(tmp_path / "model.onnx")
    check_same(tmp_path / "model.onnx", model, images(rng))


@pytest.fixture
def on_another_engine(monkeypatch):
    """Where the engine is TensorFlow, it is taken for JAX."""
    if keras.backend.backend() == "tensorflow":
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")


def test_the_model_of_another_engine_is_converted_on_tensorflow(rng, tmp_path, on_another_engine):
    model = sequential(rng, DeformableConv2D(FILTERS, KERNEL_SIZE, padding="same", strides=(2, 1), modulated=True))
    export_onnx(model, tmp_path / "model.onnx", input_signature=keras.KerasTensor((None, *OTHER_SIZE), name="larger"))
    assert node_types(tmp_path / "model.onnx").count("DeformConv") == 1
    inputs = images(rng, size=OTHER_SIZE)
    [ours] = run(tmp_path / "model.onnx", inputs).values()
    np.testing.assert_allclose(ours, keras.ops.convert_to_numpy(model(inputs)), atol=1e-5)


def test_a_layer_that_only_its_own_program_knows_is_named_when_another_engine_is_in_use(
    rng, tmp_path, on_another_engine
):
    with pytest.raises(RuntimeError, match="KERAS_BACKEND=tensorflow(.|\n)*Looped"):
        export_onnx(sequential(rng, Looped()), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@on_tensorflow
def test_what_tf2onnx_cannot_convert_is_named_and_leaves_the_old_file_alone(rng, tmp_path, caplog):
    (tmp_path / "model.onnx").write_bytes(b"old")
    model = sequential(rng, layers.Resizing(3, 2, antialias=True))
    with pytest.raises(RuntimeError, match="tf2onnx could not convert the model(.|\n)*ScaleAndTranslate"):
        export_onnx(model, tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_bytes() == b"old"
    assert caplog.records == []  # said once, by the exception


@on_tensorflow
def test_what_tf2onnx_converts_wrongly_is_refused(rng, tmp_path):
    """Its scale for 6 -> 5 columns, 0.8333, makes 4 of them."""
    model = sequential(rng, layers.Resizing(7, 5), DeformableConv2D(FILTERS, KERNEL_SIZE), size=(8, 6, CHANNELS))
    with pytest.raises(RuntimeError, match="not valid ONNX"):
        export_onnx(model, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@on_tensorflow
def test_a_good_conversion_is_silent_and_leaves_logging_and_tensorflow_as_they_were(rng, tmp_path, caplog):
    import tensorflow as tf

    logger = logging.getLogger("tf2onnx")
    before = logger.level, logger.propagate, list(logger.handlers)
    caplog.set_level(logging.INFO)
    path = tmp_path / "model.onnx"
    export_onnx(sequential(rng, DeformableConv2D(FILTERS, KERNEL_SIZE)), path)
    assert caplog.records == []
    assert (logger.level, logger.propagate, list(logger.handlers)) == before
    assert not tf.config.functions_run_eagerly()
    # A file like any other, not a temporary one's mode.
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_a_model_that_is_not_float32_is_refused_with_the_layer(rng, tmp_path, dtype):
    odd = keras.Sequential([layers.Conv2D(3, 1, dtype=dtype, name="odd")])
    with pytest.raises(ValueError, match=f"'odd' computes in {dtype.removeprefix('mixed_')}"):
        export_onnx(sequential(rng, layers.ReLU(), odd), tmp_path / "model.onnx")


@pytest.mark.parametrize("missing", ["tf2onnx", "onnx"])
def test_a_missing_converter_names_the_extra(rng, tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"Export needs {missing}: pip install \"deformconv\[onnx\]\""):
        export_onnx(sequential(rng, layers.ReLU()), tmp_path / "model.onnx")


def test_a_bad_argument_is_refused_with_its_reason(rng, tmp_path):
    model = sequential(rng, layers.ReLU())
    with pytest.raises(ValueError, match="`model` must be a keras.Model; received ReLU"):
        export_onnx(layers.ReLU(), tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="`path` must be a file in a folder that exists; received '.*nowhere"):
        export_onnx(model, tmp_path / "nowhere" / "model.onnx")
    with pytest.raises(ValueError, match="`path` must be a file"):
        export_onnx(model, tmp_path)
    with pytest.raises(
        ValueError, match=r"`input_signature` must have a keras.KerasTensor.*received \(None, 5, 4, 4\)"
    ):
        export_onnx(model, tmp_path / "model.onnx", input_signature=(None, *SIZE))
    assert list(tmp_path.iterdir()) == []
