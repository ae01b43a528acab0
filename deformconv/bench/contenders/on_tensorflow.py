"""The contenders on TensorFlow, all on the CPU: Keras's own convolution, and this package's in three ways."""

import contextlib

import keras
import tensorflow as tf

from deformconv.bench.contenders.runner import Runner, check_engine
from deformconv.engines.switches import stock_operations


class Ours(Runner):
    """This package's `deform_conv2d`."""

    options = {}  # of tf.function
    within = contextlib.nullcontext

    def connect(self):
        check_engine("tensorflow")
        return "cpu"

    def function(self, inputs, offsets, kernel, mask=None):
        from deformconv import deform_conv2d

        with self.within():
            return deform_conv2d(inputs, offsets, kernel, mask=mask, padding="same")

    def load(self, case, given, precision, rounded):
        read = self.read(given)
        tensors = [tf.convert_to_tensor(array) for array in read.values()]
        upstream = tf.constant(given["upstream"])

        @tf.function(**self.options)
        def both(*tensors):
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                outputs = self.function(*tensors)
            gradients = tape.gradient(outputs, tensors, output_gradients=upstream)
            if any(gradient is None for gradient in gradients):
                raise ValueError("a gradient was not computed: the time would be too short")
            # With the outputs: the gradient alone would not need them, and a graph leaves out what is not needed.
            return {"outputs": outputs, **{f"gradient of {name}": g for name, g in zip(read, gradients, strict=True)}}

        alone = tf.function(self.function, **self.options)
        # Eager execution on a CPU returns when the work is done. The outputs as an array, as the runtimes give them.
        self.forward = lambda: {"outputs": alone(*tensors).numpy()}
        self.backward = lambda: both(*tensors)


class Stock(Ours):
    """On TensorFlow's own operations, without this package's kernels."""

    within = staticmethod(stock_operations)


class XLA(Ours):
    """Compiled by XLA."""

    options = {"jit_compile": True}


class Conv2D(Ours):
    """Keras's own convolution, without offsets: the yardstick. It has fewer numbers to read and to differentiate."""

    reads = ("inputs", "kernel")

    def function(self, inputs, kernel):
        return keras.ops.conv(inputs, kernel, padding="same", data_format="channels_last")
