"""A batch of no images passes through every layer, known beforehand or not, and back: its gradients are zero."""

import keras
import numpy as np
import pytest
from keras import ops

from deformconv import (
    ConvOffset2D,
    DCNv3,
    DCNv4,
    DeformableConv2D,
    DeformableRoIPooling2D,
    SpatialTransformer,
)

SIZE = (7, 6, 4)
THINNED = {
    "strides": (2, 1),
    "dilation_rate": (1, 2),
}  # the offsets' convolution has no such pair, and leaves pixels out
FULL = {"modulated": True, "offset_groups": 2, "groups": 2, "max_offset": 2.0, "offset_lr_multiplier": 0.1}


def warp(**options):
    localisation = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(5)]
    return SpatialTransformer(keras.Sequential(localisation), **options)


LAYERS = {
    "plain": lambda: DeformableConv2D(6, (3, 2)),
    "strides, same": lambda: DeformableConv2D(6, (3, 2), padding="same", strides=(2, 1)),
    "dilation, explicit": lambda: DeformableConv2D(6, (3, 2), padding=((1, 0), (0, 2)), dilation_rate=(1, 2), **FULL),
    "thinned, valid": lambda: DeformableConv2D(6, (3, 2), **THINNED, **FULL),
    "thinned, same": lambda: DeformableConv2D(6, (3, 2), padding="same", **THINNED),
    "ConvOffset2D": ConvOffset2D,
    "DCNv3": lambda: DCNv3((3, 2), groups=2, padding="valid", center_feature_scale=True, **THINNED),
    "DCNv4": lambda: DCNv4((3, 2), groups=2, padding=((3, 0), (1, 6)), dw_kernel_size=3, center_feature_scale=True),
    "pooling": lambda: DeformableRoIPooling2D((3, 2), modulated=True, offset_units=(4,)),
    "pooling, no boxes": lambda: DeformableRoIPooling2D((3, 2), modulated=True),
    "warp": lambda: warp(output_size=(3, 5)),
    "warp, edge": lambda: warp(padding="edge"),
}


@pytest.fixture(params=LAYERS)
def layer_and_nothing(request):
    """A layer that has its weights, and inputs of which there are none."""
    layer = LAYERS[request.param]()
    shapes = [(0, *SIZE)]
    if request.param.startswith("pooling"):
        shapes = [(2, *SIZE), (2, 0, 4)] if "no boxes" in request.param else [(0, *SIZE), (0, 3, 4)]
    layer(*(np.ones((2, *shape[1:]), "float32") for shape in shapes))
    return layer, [np.zeros(shape, "float32") for shape in shapes]


def check(layer, nothing, outputs, gradients):
    assert tuple(outputs.shape) == tuple(layer.compute_output_shape(*(each.shape for each in nothing)))
    assert len(gradients) == len(layer.trainable_weights) > 0 or isinstance(layer, SpatialTransformer)
    for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
        assert gradient is not None, f"nothing for {weight.path}"
        np.testing.assert_array_equal(ops.convert_to_numpy(gradient), np.zeros(weight.shape))


def test_at_once(layer_and_nothing):
    layer, nothing = layer_and_nothing
    check(layer, nothing, *outputs_and_gradients(layer)(*map(ops.convert_to_tensor, nothing)))


@pytest.mark.parametrize("stock", [False, True], ids=["kernels", "stock"])
def test_in_a_graph_that_does_not_know(tf, layer_and_nothing, stock):
    from deformconv.engines.switches import stock_operations

    layer, nothing = layer_and_nothing

    def call(*tensors):
        if stock:
            with stock_operations():
                return outputs_and_gradients(layer)(*tensors)
        return outputs_and_gradients(layer)(*tensors)

    signature = [tf.TensorSpec([None] * (each.ndim - 1) + [each.shape[-1]]) for each in nothing]
    check(layer, nothing, *tf.function(call, input_signature=signature)(*nothing))


def outputs_and_gradients(layer):
    """A function of inputs: what the layer makes of them, and the gradients of its sum by the layer's weights."""
    return {"tensorflow": _by_tensorflow, "jax": _by_jax, "torch": _by_torch}[keras.backend.backend()](layer)


def _by_tensorflow(layer):
    import tensorflow as tf

    def call(*tensors):
        with tf.GradientTape() as tape:
            outputs = layer(*tensors)
            total = tf.reduce_sum(outputs)
        return outputs, tape.gradient(total, [weight.value for weight in layer.trainable_weights])

    return call


def _by_jax(layer):
    import jax

    def total(weights, *tensors):
        fixed = [variable.value for variable in layer.non_trainable_variables]
        outputs, _ = layer.stateless_call(weights, fixed, *tensors)
        return outputs.sum(), outputs

    @jax.jit
    def differentiated(weights, *tensors):
        (_, outputs), gradients = jax.value_and_grad(total, has_aux=True)(weights, *tensors)
        return outputs, gradients

    return lambda *tensors: differentiated([variable.value for variable in layer.trainable_variables], *tensors)


def _by_torch(layer):
    def call(*tensors):
        outputs = layer(*tensors)
        outputs.sum().backward()
        return outputs, [weight.value.grad for weight in layer.trainable_weights]

    return call
