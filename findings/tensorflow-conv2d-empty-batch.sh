#!/bin/sh
# TensorFlow's oneDNN convolutions answer an empty batch with the shape of their input.
#
# A batch of no images through a convolution has a shape all the same: no images, of the size and the channels that the
# convolution makes. TensorFlow's own shape inference says so, and so does the kernel without oneDNN. With oneDNN, which
# is the default on most x86 machines, the kernel gives back the shape of the input: the wrong channels, and with a
# stride or padding "VALID" the wrong height and width too. No error is raised: the next operation meets the wrong shape.
# With a bias that is the layer itself: Keras's Conv2D then raises InvalidArgumentError. In a graph the tensor is not of
# the shape that was inferred for it, and an optimiser may have removed the reshape that would have set it right.
#
# Seen with tensorflow 2.20.0 and keras 3.15.1 on Linux, x86-64. Exit status 0: still so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.20.0 keras==3.15.1
cat >"$folder/look.py" <<'PYTHON'
import sys

import keras
import numpy as np
import tensorflow as tf


def shape(stride, padding):
    images, kernel = np.zeros((0, 5, 4, 2), "float32"), np.zeros((3, 3, 2, 7), "float32")
    got = tf.nn.conv2d(images, kernel, stride, padding)
    inferred = tf.function(tf.nn.conv2d).get_concrete_function(
        tf.TensorSpec(images.shape), tf.TensorSpec(kernel.shape), strides=stride, padding=padding
    )
    print(f"  stride {stride}, {padding}: {tuple(got.shape)}; inferred: {tuple(inferred.output_shapes)}")
    return tuple(got.shape), tuple(inferred.output_shapes)


def with_bias():
    try:
        return tuple(keras.layers.Conv2D(7, 3, padding="same")(np.zeros((0, 5, 4, 2), "float32")).shape)
    except tf.errors.InvalidArgumentError as error:
        return type(error).__name__


print(f"tensorflow {tf.__version__}, keras {keras.__version__}; oneDNN {sys.argv[1]}; (0, 5, 4, 2), 3 x 3, 2 -> 7")
shapes = [shape(1, "SAME"), shape(1, "VALID"), shape(2, "SAME")]
layer = with_bias()
print(f"  keras.layers.Conv2D with its bias: {layer}")
inferred = [(0, 5, 4, 7), (0, 3, 2, 7), (0, 3, 2, 7)]
if sys.argv[1] == "on":
    as_seen = shapes == [((0, 5, 4, 2), each) for each in inferred] and layer == "InvalidArgumentError"
else:
    as_seen = shapes == [(each, each) for each in inferred] and layer == (0, 5, 4, 7)
sys.exit(not as_seen)
PYTHON
export TF_CPP_MIN_LOG_LEVEL=3 KERAS_BACKEND=tensorflow CUDA_VISIBLE_DEVICES=
TF_ENABLE_ONEDNN_OPTS=1 "$folder/venv/bin/python" "$folder/look.py" on
TF_ENABLE_ONEDNN_OPTS=0 "$folder/venv/bin/python" "$folder/look.py" off
