"""Keras's own `model.export`: its files are loaded elsewhere and compute what the model does, or it says why not."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from deformconv import ConvOffset2D, DCNv3, DCNv4, DeformableConv2D, SpatialTransformer
from deformconv.engines import switches

ENGINE = keras.backend.backend()
MODELS = {
    "DeformableConv2D": lambda: [
        keras.Input((9, 7, 4)),
        DeformableConv2D(6, (3, 2), strides=2, padding="same", modulated=True),
        DeformableConv2D(4, 3, groups=2, offset_groups=2),
    ],
    "unknown sizes": lambda: [keras.Input((None, None, 4)), DeformableConv2D(6, (3, 2), strides=2, padding="same")],
    "DCNv3, DCNv4": lambda: [keras.Input((9, 7, 4)), DCNv3((3, 2), activation="relu"), DCNv4(3)],
    "warps": lambda: [
        keras.Input((9, 7, 4)),
        SpatialTransformer(keras.layers.GlobalAveragePooling2D()),
        ConvOffset2D(),
    ],
}


@pytest.fixture(params=MODELS)
def model(request, rng):
    made = keras.Sequential(MODELS[request.param]())
    for weight in made.weights:
        weight.assign(rng.normal(size=weight.shape, scale=0.3))
    made.kind = request.param
    made(images(rng))  # Keras exports no model that was never called
    return made


def images(rng):
    return rng.normal(size=(3, 9, 7, 4)).astype("float32")


def by_keras(model, inputs):
    return keras.ops.convert_to_numpy(model(inputs, training=False))


LOADS = """
import sys, numpy as np, tensorflow as tf
loaded = tf.saved_model.load("saved")
assert "deformconv" not in sys.modules
np.save("outputs.npy", loaded.serve(np.load("inputs.npy")).numpy())
"""


@pytest.mark.skipif(ENGINE == "torch", reason="Keras exports no SavedModel of an unknown batch from PyTorch")
def test_a_saved_model_is_loaded_by_a_program_that_has_tensorflow_alone(model, rng, tmp_path):
    pytest.importorskip("tensorflow")
    if ENGINE == "jax" and model.kind == "unknown sizes":
        pytest.skip("JAX has no gradient of a convolution with strides on sizes by name, and Keras exports it too")
    inputs = images(rng)
    model.export(tmp_path / "saved", verbose=False)
    np.save(tmp_path / "inputs.npy", inputs)
    subprocess.run([sys.executable, "-c", LOADS], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), by_keras(model, inputs), rtol=1e-5, atol=1e-5)


def test_a_saved_model_holds_the_compiled_operators_if_asked_for(tf, rng, tmp_path):
    from deformconv.engines import native

    if native.kernels() is None:
        pytest.skip("no kernels here")
    model = keras.Sequential([keras.Input((9, 7, 4)), DeformableConv2D(6, (3, 2))])
    with switches.compiled_operations():
        model.export(tmp_path / "saved", verbose=False)
    assert b"DeformConv" in (tmp_path / "saved" / "saved_model.pb").read_bytes()
    model.export(tmp_path / "portable", verbose=False)
    assert b"DeformConv" not in (tmp_path / "portable" / "saved_model.pb").read_bytes()


def test_an_onnx_file_is_loaded(tf, model, rng, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    if model.kind == "unknown sizes":
        pytest.skip("tf2onnx leaves one size for all in it; `export_onnx` does not")
    inputs = images(rng)
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (outputs,) = session.run(None, {session.get_inputs()[0].name: inputs})
    np.testing.assert_allclose(outputs, by_keras(model, inputs), rtol=1e-5, atol=1e-4)


def test_a_litert_file_is_loaded_where_sizes_are_known(tf, model, rng, tmp_path):
    if model.kind == "unknown sizes":
        pytest.skip("needs TensorFlow's own operations beside it")
    inputs = images(rng)
    model.export(tmp_path / "model.tflite", format="litert", verbose=False)
    interpreter = tf.lite.Interpreter(str(tmp_path / "model.tflite"))
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], inputs.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], inputs)
    interpreter.invoke()
    np.testing.assert_allclose(interpreter.get_tensor(made["index"]), by_keras(model, inputs), rtol=1e-5, atol=1e-5)


def test_openvino_is_told_of_in_a_sentence(tf, rng, tmp_path):
    pytest.importorskip("openvino")
    model = keras.Sequential([keras.Input((9, 7, 4)), DeformableConv2D(6, (3, 2))])
    with pytest.raises(ValueError, match="Call deformconv.export_onnx, and read the file with deformconv.openvino_ext"):
        model.export(str(tmp_path / "model.xml"), format="openvino", verbose=False)


@pytest.mark.parametrize(("padding", "strides"), [("same", 1), ("same", 2), ("valid", 2), (1, 2)])
def test_a_jax_program_takes_sizes_by_name(rng, padding, strides):
    if ENGINE != "jax":
        pytest.skip("JAX's export")
    import jax

    layer = DeformableConv2D(6, (3, 2), strides=strides, padding=padding, modulated=True)
    layer.build((None, None, None, 4))
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape, scale=0.3))
    sizes = jax.export.symbolic_shape("b, h, w", constraints=["h >= 8", "w >= 8"])
    program = jax.export.export(jax.jit(lambda inputs: layer(inputs)))(jax.ShapeDtypeStruct((*sizes, 4), "float32"))
    for shape in ((2, 9, 11, 4), (3, 12, 8, 4)):
        inputs = rng.normal(size=shape).astype("float32")
        np.testing.assert_allclose(program.call(inputs), by_keras(layer, inputs), atol=2e-5)
