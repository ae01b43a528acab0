"""A whole model through tf2onnx, on TensorFlow: traced with the stand-ins of `onnx_node`, named, mended."""

import logging
from contextlib import contextmanager

import keras
import numpy as np

from deformconv.engines.switches import recording
from deformconv.exchange import onnx_node

TF2ONNX_OPSET = 18


def convert(model, signature):
    """The model at tf2onnx's opset, its deformable convolutions in `onnx_node.DOMAIN`.

    Raises:
        RuntimeError: if tf2onnx cannot convert a layer, with what it says.
    """
    import tensorflow as tf
    import tf2onnx
    from onnx import helper

    flat = keras.tree.flatten(signature)
    input_names = _unique([tensor.name for tensor in flat])
    output_names = []

    def call(*tensors):
        outputs = model(keras.tree.pack_sequence_as(signature, tensors), training=False)
        tensors = keras.tree.flatten(outputs)
        output_names[:] = _unique([*input_names, *_names(model, outputs, len(tensors))])[len(input_names) :]
        return dict(zip(output_names, tensors, strict=True))

    specs = [tf.TensorSpec(t.shape, t.dtype, name) for t, name in zip(flat, input_names, strict=True)]
    function = tf.function(call, input_signature=specs, autograph=False)
    with recording(onnx_node.record), _functions_inlined():
        traced = function.get_concrete_function()
    with _errors_of("tf2onnx") as errors:
        converted, _ = tf2onnx.convert.from_function(
            function,
            specs,
            opset=TF2ONNX_OPSET,
            custom_op_handlers={"PyFunc": (onnx_node.make_node, []), "Erfc": (_make_erfc, [])},
            extra_opset=[helper.make_opsetid(onnx_node.DOMAIN, 1)],
        )
    if errors:
        raise RuntimeError("tf2onnx could not convert the model:\n" + "\n".join(errors))
    _hold_constants(converted.graph, traced.graph.captures)
    # TensorFlow sorts a dictionary's outputs by name: back to the model's order.
    outputs = {output.name: output for output in converted.graph.output}
    del converted.graph.output[:]
    converted.graph.output.extend(outputs[name] for name in output_names)
    return converted


def _names(model, outputs, count):
    """Of the outputs: the keys of a dictionary, else the names of the layers they come from, else numbers."""
    if isinstance(outputs, dict) and len(outputs) == count:
        return sorted(outputs)  # the order in which Keras flattens it
    return getattr(model, "output_names", None) or [f"output_{i}" for i in range(count)]


def _hold_constants(graph, captures):
    """Tensors that layers hold as constants, not weights (Normalization does), come out as inputs: moved to where
    weights are."""
    from onnx import numpy_helper

    constants = {symbol.name: value for value, symbol in captures if symbol.dtype != "resource"}
    used = {name for made in onnx_node.nodes(graph) for name in made.input}
    for held in [held for held in graph.input if held.name in constants]:
        graph.input.remove(held)
        if held.name in used:
            graph.initializer.append(numpy_helper.from_array(constants[held.name].numpy(), held.name))


@contextmanager
def _functions_inlined():
    """Within: a traced model's own compiled functions become part of its graph; tf2onnx cannot see into them."""
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def _make_erfc(graph, erfc, name, _):
    """tf2onnx's handler of 1 - erf, which it lacks and which GELU is made of."""
    dtype, shape = graph.get_dtype(erfc.output[0]), graph.get_shape(erfc.output[0])
    graph.remove_node(name)
    one = graph.make_const(f"{name}_one", np.ones((), "float32")).output[0]
    erf = graph.make_node("Erf", erfc.input, shapes=[shape], dtypes=[dtype]).output[0]
    graph.make_node("Sub", [one, erf], name=name, outputs=erfc.output, shapes=[shape], dtypes=[dtype])


@contextmanager
def _errors_of(name):
    """Within: the library `name` logs nothing; the errors that it would have logged go into the list."""
    errors = []

    class Collector(logging.Handler):
        def emit(self, record):
            errors.append(self.format(record))

    logger, collector = logging.getLogger(name), Collector(logging.ERROR)
    before = logger.level, logger.propagate
    logger.addHandler(collector)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        yield errors
    finally:
        logger.level, logger.propagate = before
        logger.removeHandler(collector)


def _unique(names):
    """The names, a number added to those that were there before."""
    unique = []
    for name in names:
        number, candidate = 0, name
        while candidate in unique:
            number += 1
            candidate = f"{name}_{number}"
        unique.append(candidate)
    return unique
