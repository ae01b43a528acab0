#!/bin/sh
# Keras: a frozen layer that is made of layers learns again once it is loaded from a file.
#
# `layer.trainable = False` is in a layer's configuration, so a frozen layer should come back frozen from a `.keras` file
# and from `clone_model`. A layer with weights of its own does: its weights are made while it is frozen.
# A layer that is made of layers (MultiHeadAttention, or one of your own) does not. `__init__` or `build` makes the inner
# layers anew, nothing tells them, and the model counts their weights among those that learn. The layer itself
# still says `trainable == False`, and the next `fit` changes its weights. No warning is given.
#
# Seen with keras 3.15.1 and tensorflow 2.20.0 on Linux, x86-64. Exit status 0: still so.
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

print(f"keras {keras.__version__}, tensorflow {tf.__version__}")


def frozen(layer, call):
    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, call(layer, inputs))
    layer.trainable = False
    return model


def loaded(model):
    model.save("model.keras")
    return keras.saving.load_model("model.keras")


found = []
for name, layer, call in (
    ("Dense", keras.layers.Dense(5), lambda layer, x: layer(x)),
    ("MultiHeadAttention", keras.layers.MultiHeadAttention(2, 2), lambda layer, x: layer(x, x)),
):
    model = frozen(layer, call)
    for way, arrived in (("load_model", loaded(model)), ("clone_model", keras.models.clone_model(model))):
        inner = arrived.layers[-1]
        learn = len(arrived.trainable_weights)
        print(f"  {name}, {way}: weights that learn {len(model.trainable_weights)} -> {learn}; trainable: {inner.trainable}")
        found.append((len(model.trainable_weights), learn, inner.trainable))

arrived.compile("sgd", "mse")
before = arrived.get_weights()
x = np.random.default_rng(0).normal(size=(8, 3, 4)).astype("float32")
arrived.fit(x, np.zeros_like(x), verbose=0)
moved = sum(not np.array_equal(a, b) for a, b in zip(before, arrived.get_weights()))
print(f"  a step of fit then changes {moved} of {len(before)} weights of the frozen MultiHeadAttention")
as_seen = found == [(0, 0, False)] * 2 + [(0, 8, False)] * 2 and moved > 0
sys.exit(not as_seen)
PYTHON
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 KERAS_BACKEND=tensorflow CUDA_VISIBLE_DEVICES= "$folder/venv/bin/python" look.py
