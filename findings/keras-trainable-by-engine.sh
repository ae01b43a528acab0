#!/bin/sh
# Keras: `layer.trainable = True` frees frozen weights on JAX, and does nothing on TensorFlow.
#
# Setting `trainable` tells a layer's weights and everything inside it; so says its docstring. On TensorFlow a layer is
# also TensorFlow's own trackable object, which leaves an assignment out when the attribute holds that very value already.
# `trainable` is True from the start: so a model of which one layer, or one weight, was frozen stays as it is after
# `model.trainable = True`, and the same program trains other weights on another engine. Setting False first, then
# True, has the effect that was asked for.
#
# Seen with keras 3.15.1, tensorflow 2.20.0 and jax 0.10.2 on Linux, x86-64. Exit status 0: still so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.20.0 keras==3.15.1 jax==0.10.2
cat >"$folder/look.py" <<'PYTHON'
import sys

import keras


def learning(*settings):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)])
    model.layers[0].trainable = False
    for setting in settings:
        model.trainable = setting
    return len(model.trainable_weights)


found = learning(), learning(True), learning(False, True)
print(f"keras {keras.__version__} on {keras.backend.backend()}: weights that learn, one of two layers frozen: {found[0]}; "
      f"after model.trainable = True: {found[1]}; after False, then True: {found[2]}")
sys.exit(found != (2, {"tensorflow": 2, "jax": 4}[keras.backend.backend()], 4))
PYTHON
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES= JAX_PLATFORMS=cpu
for engine in tensorflow jax; do KERAS_BACKEND=$engine "$folder/venv/bin/python" "$folder/look.py"; done
