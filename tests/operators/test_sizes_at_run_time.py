"""Sizes that only the running graph of TensorFlow knows: what does not fit is refused there, on every path."""

import re

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("elsewhere sizes are known when a function is called", allow_module_level=True)

import tensorflow as tf

from deformconv import bilinear_sample, deform_conv2d, deform_roi_pool2d
from deformconv.engines.switches import stock_operations
from deformconv.operators.aggregate import deform_aggregate2d

# A 5 x 4 image, "same", a 3 x 2 kernel: 5 x 4 pixels come out.
INPUTS, OFFSETS, MASK, KERNEL = (3, 5, 4, 2), (3, 5, 4, 12), (3, 5, 4, 6), (3, 2, 2, 7)
BOXES, BINS = (3, 9, 4), (3, 2)


def convolve(inputs, offsets, mask, padding="same"):
    return deform_conv2d(inputs, offsets, np.ones(KERNEL, "float32"), mask=mask, padding=padding)


def aggregate(inputs, offsets, mask, padding="same"):
    return deform_aggregate2d(inputs, offsets, mask, kernel_size=(3, 2), padding=padding)


def pool(inputs, boxes, offsets, mask):
    return deform_roi_pool2d(inputs, boxes, offsets, output_size=BINS, mask=mask)


def gradient_of(function):
    def by_all(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            outputs = function(*tensors)
        return tape.gradient(outputs, tensors)[0]

    return by_all


@pytest.fixture(params=["kernels, or what serves in their place", "stock", "XLA"])
def trace(request):
    """`trace(function, *shapes)`: the graph of a function, told the ranks and the last axes of its tensors alone.

    It takes shapes, and is called with ones.
    """

    def made(function, *shapes):
        def traced(*tensors):
            if request.param == "stock":
                with stock_operations():
                    return function(*tensors)
            return function(*tensors)

        signature = [tf.TensorSpec([None] * (len(shape) - 1) + [shape[-1]]) for shape in shapes]
        graph = tf.function(traced, input_signature=signature, jit_compile=request.param == "XLA")
        return lambda *shapes: graph(*(np.ones(shape, "float32") for shape in shapes))

    return made


def why_refused(graph, *shapes):
    """What the error says, without punctuation."""
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        graph(*shapes)
    return " ".join(re.findall(r"[\w-]+", str(error.value)))


def refused(graph, name, expected, received, *shapes):
    """Whether it ends in an error that names the argument, and both sizes."""
    said = why_refused(graph, *shapes)
    assert f"{name} must have" in said.replace("_", " ")
    for sizes in (expected, received):
        assert " ".join(map(str, sizes)) in said


@pytest.mark.parametrize("function", [convolve, aggregate, gradient_of(convolve)], ids=["conv", "sum", "gradient"])
def test_offsets_and_mask_of_another_size_are_refused(trace, function):
    shapes = [INPUTS, OFFSETS, MASK]
    graph = trace(function, *shapes)
    assert graph(*shapes).shape[:3] == (3, 5, 4)
    for name, place in (("offsets", 1), ("mask", 2)):
        for wrong in ((3, 4, 5), (1, 5, 4), (3, 1, 1), (3, 5, 3), (3, 0, 4)):
            given = list(shapes)
            given[place] = (*wrong, shapes[place][-1])
            refused(graph, name, (3, 5, 4), wrong, *given)


def test_boxes_for_other_images_are_refused(trace):
    graph = trace(lambda inputs, boxes: deform_roi_pool2d(inputs, boxes, output_size=BINS), INPUTS, BOXES)
    assert graph(INPUTS, BOXES).shape == (3, 9, *BINS, 2)
    for wrong in ((1, 9, 4), (2, 9, 4)):
        refused(graph, "boxes", (3,), wrong[:1], INPUTS, wrong)


def test_a_pooling_with_offsets_for_other_boxes_is_refused(trace):
    shapes = [INPUTS, BOXES, (3, 9, *BINS, 2), (3, 9, *BINS)]
    graph = trace(pool, *shapes)
    assert graph(*shapes).shape == (3, 9, *BINS, 2)
    for wrong in ((1, 9, *BINS), (3, 1, *BINS), (3, 9, 1, 2)):
        refused(graph, "offsets", (3, 9, *BINS), wrong, *shapes[:2], (*wrong, 2), shapes[3])
        refused(graph, "mask", (3, 9, *BINS), wrong, *shapes[:3], wrong)


def test_a_pooling_says_what_it_knows_before_it_runs(trace):
    wrong = (3, 9, 2, 3)
    with pytest.raises(ValueError, match=r"`mask` must have shape \(None, None, 3, 2\).*received shape .*None, 3\)"):
        trace(pool, INPUTS, BOXES, (3, 9, *BINS, 2), wrong)(INPUTS, BOXES, (3, 9, *BINS, 2), wrong)


@pytest.mark.parametrize("padding", ["zeros", "edge"])
def test_points_for_other_images_are_refused(trace, padding):
    graph = trace(lambda *tensors: bilinear_sample(*tensors, padding=padding), INPUTS, (3, 9, 2))
    assert graph(INPUTS, (3, 9, 2)).shape == (3, 9, 2)
    for images, coords in ((INPUTS, (1, 9, 2)), ((1, 5, 4, 2), (3, 9, 2)), (INPUTS, (2, 6, 2))):
        refused(graph, "coords", images[:1], coords[:1], images, coords)


@pytest.mark.parametrize("function", [convolve, aggregate])
def test_images_smaller_than_the_kernel_are_refused(trace, function):
    """Not a result without pixels, nor a negative size."""
    graph = trace(lambda *tensors: function(*tensors, padding="valid"), INPUTS, OFFSETS, MASK)
    for height in (0, 1, 2):
        shapes = (3, height, 4, 2), (3, 0, 3, 12), (3, 0, 3, 6)
        assert "inputs must be at least as large as the dilated kernel" in why_refused(graph, *shapes).replace("_", " ")


def test_known_sizes_cost_a_graph_nothing():
    def call(*tensors):
        with stock_operations():
            return convolve(*tensors)

    graph = tf.function(call).get_concrete_function(*map(tf.TensorSpec, (INPUTS, OFFSETS, MASK))).graph
    assert not [node for node in graph.as_graph_def().node if node.op == "Assert"]
