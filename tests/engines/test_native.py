"""The compiled CPU kernels: against the portable engine, whatever the sizes and threads; and how they come to be."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow's kernels", allow_module_level=True)

import tensorflow as tf

from deformconv import DeformableConv2D, deform_conv2d
from deformconv.engines import columns, native, portable
from deformconv.engines.switches import stock_operations

if not native.kernels():
    pytest.skip(f"no compiled kernels: {native.status()}", allow_module_level=True)

from deformconv.engines.native import operators


def call_of(rng, batch, size, channels, filters, offset_groups, masked, dtype="float32"):
    """Tensors and options of one convolution with a 3 x 2 kernel, strides, dilation and padding; offsets reach out."""
    options = {"strides": (2, 1), "pads": (2, 1), "dilation_rate": (1, 2), "groups": 1, "offset_groups": offset_groups}
    out_size = ((size[0] + 3 - 3) // 2 + 1, size[1] + 2 - 3 + 1)
    taps = 6 * offset_groups
    tensors = {
        "inputs": rng.normal(size=(batch, *size, channels)),
        "offsets": rng.normal(scale=2, size=(batch, *out_size, 2 * taps)),
        "kernel": rng.normal(size=(3, 2, channels, filters)),
        "mask": rng.normal(size=(batch, *out_size, taps)) if masked else None,
        "bias": None,
    }
    tensors = {name: None if t is None else tf.constant(t, dtype) for name, t in tensors.items()}
    return tensors, options | {"out_size": out_size}


def portably(**arguments):
    return columns.convolve(portable.sample, **arguments)


def gradients_of(convolve, tensors, options, upstream):
    watched = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    with tf.GradientTape() as tape:
        tape.watch(list(watched.values()))
        outputs = convolve(**tensors, **options)
    return outputs, tape.gradient(outputs, watched, output_gradients=upstream)


# Channels and filters that fill vectors and tiles, and that leave some over; more threads than images and fewer; a
# kernel too large for the cache.
CASES = pytest.mark.parametrize(
    "batch, size, channels, filters, offset_groups",
    [
        (1, (7, 5), 64, 64, 1),
        (3, (7, 5), 37, 19, 1),
        (1, (6, 9), 48, 130, 3),
        (2, (30, 17), 16, 5, 2),
        (5, (4, 3), 2, 1, 2),
        (2, (9, 7), 170, 260, 1),
    ],
)


@CASES
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-13)])
def test_values_and_gradients_are_the_portable_ones(
    rng, batch, size, channels, filters, offset_groups, masked, dtype, tolerance
):
    tensors, options = call_of(rng, batch, size, channels, filters, offset_groups, masked, dtype)
    upstream = tf.constant(rng.normal(size=(batch, *options["out_size"], filters)), dtype)
    outputs, by_all = gradients_of(operators.convolve, tensors, options, upstream)
    expected, by_all_expected = gradients_of(portably, tensors, options, upstream)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(outputs, expected, atol=tolerance * scale)
    for name, gradient in by_all.items():
        scale = np.abs(by_all_expected[name]).max()
        np.testing.assert_allclose(gradient, by_all_expected[name], atol=tolerance * scale, err_msg=name)


@pytest.mark.parametrize("masked", [False, True])
def test_second_derivatives_are_the_portable_ones(rng, masked):
    tensors, options = call_of(rng, 2, (5, 4), 4, 3, 2, masked, "float64")
    upstream = tf.constant(rng.normal(size=(2, *options["out_size"], 3)))
    directions = {name: tf.constant(rng.normal(size=t.shape)) for name, t in tensors.items() if t is not None}

    def second(convolve):
        watched = {name: tensor for name, tensor in tensors.items() if tensor is not None} | {"upstream": upstream}
        with tf.GradientTape() as tape:
            tape.watch(list(watched.values()))
            _, first = gradients_of(convolve, tensors, options, upstream)
            along = sum(tf.reduce_sum(first[name] * direction) for name, direction in directions.items())
        return tape.gradient(along, watched)

    expected = second(portably)
    for name, gradient in second(operators.convolve).items():
        assert np.abs(expected[name]).max() > 1e-3
        np.testing.assert_allclose(gradient, expected[name], atol=1e-11, err_msg=name)


def test_a_graph_with_a_frozen_kernel_leaves_its_gradient_out(rng):
    """So TensorFlow prunes what a custom gradient gives and nobody asks for."""
    tensors, options = call_of(rng, 2, (7, 5), 8, 4, 1, False)

    @tf.function
    def by_offsets(offsets):
        with tf.GradientTape() as tape:
            tape.watch(offsets)
            outputs = operators.convolve(**tensors | {"offsets": offsets}, **options)
        return tape.gradient(outputs, offsets)

    graph = by_offsets.get_concrete_function(tensors["offsets"]).graph
    used = tf.compat.v1.graph_util.extract_sub_graph(graph.as_graph_def(), [graph.outputs[0].op.name])
    kinds = {node.op for node in used.node}
    assert "DeformConvPointsGrad" in kinds and "DeformConvKernelGrad" not in kinds


def test_the_column_buffer_never_exists(rng):
    """A case whose columns are 2.4 GB runs, both ways, in far less."""
    script = """
import resource, numpy as np, tensorflow as tf
from deformconv import deform_conv2d
from deformconv.engines import native
native.kernels()
x = tf.random.normal([1, 1024, 1024, 64]); offsets = tf.random.normal([1, 1024, 1024, 18])
kernel = tf.random.normal([3, 3, 64, 4])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with tf.GradientTape() as tape:
    tape.watch([x, offsets, kernel])
    outputs = deform_conv2d(x, offsets, kernel, padding="same")
tape.gradient(outputs, [x, offsets, kernel])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1.2


def test_stock_operations_keep_a_saved_model_free_of_this_package(rng, tmp_path):
    model = keras.Sequential([keras.Input((7, 5, 2)), DeformableConv2D(3, (3, 2), padding="same")])
    inputs = rng.normal(size=(2, 7, 5, 2)).astype("float32")
    with stock_operations():
        model.export(tmp_path / "served", verbose=False)
    np.save(tmp_path / "inputs.npy", inputs)
    script = (
        "import sys, numpy as np, tensorflow as tf\n"
        "served = tf.saved_model.load(sys.argv[1] + '/served')\n"
        "np.save(sys.argv[1] + '/outputs.npy', served.serve(np.load(sys.argv[1] + '/inputs.npy')))\n"
        "assert 'deformconv' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), model(inputs), atol=1e-5)


def test_inputs_that_do_not_fit_are_refused_by_the_kernel_itself(rng):
    with pytest.raises(tf.errors.InvalidArgumentError, match="do not fit together"):
        native.kernels().deform_sample(images=tf.zeros([3, 5, 4, 2]), coords=tf.zeros([2, 7, 1, 1, 2]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="do not fit together"):
        native.kernels().deform_conv(
            images=tf.zeros([3, 5, 4, 2]),
            offsets=tf.zeros([3, 5, 4, 17]),
            weights=tf.zeros([0]),
            kernel=tf.zeros([18, 6]),
            geometry=tf.ones([9], tf.int64),
        )


SAYS = "from deformconv.engines import native; assert native.kernels() is None; print(native.status())"


@pytest.mark.parametrize(
    "environment, words",
    [
        ({"DEFORMCONV_CPU_KERNELS": "0"}, "switched off by DEFORMCONV_CPU_KERNELS=0"),
        ({"CXX": "no-such-compiler"}, "no C++ compiler was found"),
        ({"CXX": "false"}, "false could not compile them"),
    ],
    ids=["switched off", "no compiler", "a compiler that fails"],
)
def test_without_them_the_reason_is_told_and_nothing_is_left_behind(tmp_path, environment, words):
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"} | environment
    done = subprocess.run([sys.executable, "-c", SAYS], env=environment, capture_output=True, text=True, check=True)
    assert words in done.stdout
    assert ("could not be compiled" in done.stderr) == ("CXX" in environment and environment["CXX"] == "false")
    assert not list((tmp_path / "deformconv").glob("*"))


def test_a_cache_that_cannot_be_written_to_is_no_obstacle(tmp_path, monkeypatch):
    (tmp_path / "deformconv").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native._cache().is_dir()


def test_the_layer_runs_on_them(rng):
    graph = tf.function(DeformableConv2D(3, (3, 2))).get_concrete_function(tf.TensorSpec([None, 7, 5, 2]))
    kinds = {node.op for node in graph.graph.as_graph_def().node}
    assert "DeformConv" in kinds and "CropAndResize" not in kinds
    inputs, offsets = rng.normal(size=(2, 5, 4, 2)), np.zeros((2, 3, 3, 12))
    assert ops.shape(deform_conv2d(inputs, offsets, rng.normal(size=(3, 2, 2, 3)))) == (2, 3, 3, 3)
