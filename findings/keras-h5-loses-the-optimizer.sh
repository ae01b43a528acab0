#!/bin/sh
# Keras: saving to `.h5` loses the optimizer, in that file and in every file after it; and weights may change places.
#
# 1. `model.save("m.h5")` writes the optimizer's numbers. `load_model` builds the new optimizer for the weights that the
#    model holds itself, which a Sequential or functional model has none of, and so has no place for Adam's moments:
#    training goes on with fresh ones.
# 2. Writing takes the optimizer out of the configuration that `compile` left in the model. A `.keras` file that is
#    written afterwards names no optimizer, and is loaded with the default, RMSprop, without the optimizer's state; the
#    warning that tells of it speaks of a number of variables.
# 3. Weights are written in the order "those that learn, then those that do not", and read in that order, with their
#    shapes compared but not their names. Where shapes are alike, a model that is frozen otherwise than the one that
#    wrote the file gets weights in each other's places, in silence.
#
# Seen with keras 3.15.1 and tensorflow 2.20.0 on Linux, x86-64. Exit status 0: still so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.20.0 keras==3.15.1
cat >"$folder/look.py" <<'PYTHON'
import sys
import warnings

import keras
import numpy as np
import tensorflow as tf

warnings.simplefilter("ignore")
print(f"keras {keras.__version__}, tensorflow {tf.__version__}")


def trained():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("adam", keras.losses.MeanSquaredError())
    model.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0)
    return model


def told(model):
    return type(model.optimizer).__name__, len(model.optimizer.variables)


found = {}
for files in (["m.keras"], ["m.h5"], ["m.h5", "m.keras"]):
    model = trained()
    for file in files:
        model.save(file)
    found[" then ".join(files)] = told(keras.saving.load_model(files[-1]))
    print(f"  {told(model)} saved as {' then '.join(files)}, loaded: {found[' then '.join(files)]}")


def attention():
    inputs, layer = keras.Input((3, 4)), keras.layers.MultiHeadAttention(2, 2, use_bias=False)
    return keras.Model(inputs, layer(inputs, inputs)), layer


source, layer = attention()
for inner in (layer._query_dense, layer._output_dense):
    inner.trainable = False
source.save("source.h5")
target, _ = attention()
target.load_weights("source.h5")
names = [weight.path.split("/")[-2] for weight in source.weights]
got = {
    name: next(n for n, w in zip(names, source.get_weights()) if np.array_equal(w, weight))
    for name, weight in zip(names, target.get_weights())
}
print(f"  query and output frozen; another model that loads the file has, at each place, the weights of: {got}")
as_seen = found == {"m.keras": ("Adam", 6), "m.h5": ("Adam", 2), "m.h5 then m.keras": ("RMSprop", 4)}
sys.exit(not (as_seen and got == {"query": "key", "key": "value", "value": "query", "attention_output": "attention_output"}))
PYTHON
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 KERAS_BACKEND=tensorflow CUDA_VISIBLE_DEVICES= "$folder/venv/bin/python" look.py
