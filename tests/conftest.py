"""What the test files share: a quiet TensorFlow, seeded random numbers, gradients as arrays."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def gradients():
    """`gradients(function, upstream, *arrays)`: of `sum(upstream * function(*arrays))` by each array."""
    import tensorflow as tf

    def compute(function, upstream, *arrays):
        tensors = [tf.convert_to_tensor(array) for array in arrays]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            outputs = function(*tensors)
        upstream = tf.convert_to_tensor(upstream, outputs.dtype)
        return [tf.convert_to_tensor(g).numpy() for g in tape.gradient(outputs, tensors, output_gradients=upstream)]

    return compute
