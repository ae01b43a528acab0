"""TensorFlow's binding of the kernels: its graphs, its memory, what it refuses."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow's binding", allow_module_level=True)

import tensorflow as tf

from deformconv import DeformableConv2D, deform_conv2d
from deformconv.engines import native
from deformconv.engines.switches import stock_operations

if not native.kernels():
    pytest.skip(f"no compiled kernels: {native.status()}", allow_module_level=True)

from deformconv.engines.native import tensorflow as binding


def test_a_graph_with_a_frozen_kernel_leaves_its_gradient_out(rng):
    """So TensorFlow prunes what a custom gradient gives and nobody asks for."""
    options = {"strides": (1, 1), "pads": (0, 0), "dilation_rate": (1, 1), "groups": 1, "offset_groups": 1}
    inputs, kernel = (tf.constant(rng.normal(size=size), tf.float32) for size in ((2, 7, 5, 8), (3, 2, 8, 4)))

    @tf.function
    def by_offsets(offsets):
        with tf.GradientTape() as tape:
            tape.watch(offsets)
            outputs = binding.convolve(inputs, offsets, kernel, mask=None, bias=None, out_size=(5, 4), **options)
        return tape.gradient(outputs, offsets)

    graph = by_offsets.get_concrete_function(tf.TensorSpec([2, 5, 4, 12])).graph
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


def refused(words, call, **tensors):
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        call(**tensors)


def test_inputs_that_do_not_fit_are_refused_by_the_kernel_itself():
    made = binding._operators()
    given = {"images": tf.zeros([3, 5, 4, 2]), "weights": tf.zeros([0]), "kernel": tf.zeros([18, 6])}
    geometry = tf.constant([1, 1, 1, 1, 1, 1, 3, 5, 4], tf.int64)
    refused("do not fit together", made.deform_conv, points=tf.zeros([3, 5, 4, 17]), geometry=geometry, **given)
    given["points"] = tf.zeros([3, 5, 4, 18])
    assert made.deform_conv(geometry=geometry, **given).shape == (3, 5, 4, 6)
    for wrong in ({"geometry": geometry[:8]}, {"groups": 5}, {"weights": tf.zeros([3, 5, 4, 8])}):
        refused("do not fit together", made.deform_conv, **{"geometry": geometry} | given | wrong)
    upstream = tf.zeros([3, 5, 3, 6])
    refused("do not fit together", made.deform_conv_kernel_grad, upstream=upstream, geometry=geometry, **given)


def test_what_the_kernel_refuses_it_names():
    made = binding._operators()
    sizes = r"batch, height and width of the output, \(3, 5, 4\); received shape \[3,4,5,"
    given = {"images": tf.zeros([3, 5, 4, 2]), "kernel": tf.zeros([18, 6])}
    given["geometry"] = tf.constant([1, 1, 1, 1, 1, 1, 3, 5, 4], tf.int64)
    upstream = {"upstream": tf.zeros([3, 5, 4, 6])}
    operators = (
        (made.deform_conv, {}),
        (made.deform_conv_points_grad, upstream),
        (made.deform_conv_kernel_grad, upstream),
    )
    for operator, more in operators:
        for name, size in (("offsets", (3, 4, 5)), ("mask", (3, 5, 4))):
            tensors = {"points": tf.zeros([*size, 18]), "weights": tf.zeros([3, 4, 5, 9])}
            refused(f"`{name}` must have {sizes}", operator, **given, **more, **tensors)
        small = given | {"geometry": tf.constant([1, 1, 0, 0, 1, 1, 3, 0, 2], tf.int64)}
        tensors = {"points": tf.zeros([3, 0, 2, 18]), "weights": tf.zeros([0])}
        words = r"`inputs` must be at least as large as the dilated kernel.*\(5, 4\), the output's would be \(0, 2\)"
        refused(words, operator, **small, **more, **tensors)

    given = {"images": tf.zeros([3, 5, 4, 2]), "points": tf.zeros([3, 7, 1, 2, 2]), "weights": tf.zeros([3, 7, 1, 2])}
    assert made.deform_aggregate(**given).shape == (3, 7, 2)
    upstream = {"upstream": tf.zeros([3, 7, 2])}
    for operator, more in (made.deform_aggregate, {}), (made.deform_aggregate_grad, upstream):
        wrong = given | {"points": tf.zeros([2, 7, 1, 2, 2])}
        refused(
            r"`coords` must have the batch size of `images`, \(3\); received shape \[2,7,", operator, **wrong, **more
        )
        wrong = given | {"weights": tf.zeros([3, 2, 1, 7])}
        refused(r"`weights` must have .* \(3, 7, 1, 2\); received shape \[3,2,1,7\]", operator, **wrong, **more)


def test_the_layer_runs_on_them(rng):
    graph = tf.function(DeformableConv2D(3, (3, 2))).get_concrete_function(tf.TensorSpec([None, 7, 5, 2]))
    kinds = {node.op for node in graph.graph.as_graph_def().node}
    assert "DeformConv" in kinds and "CropAndResize" not in kinds
    inputs, offsets = rng.normal(size=(2, 5, 4, 2)), np.zeros((2, 3, 3, 12))
    assert ops.shape(deform_conv2d(inputs, offsets, rng.normal(size=(3, 2, 2, 3)))) == (2, 3, 3, 3)
