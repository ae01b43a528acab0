#!/bin/sh
# tf2onnx writes a file that no runtime loads for Keras's exact GELU, with status 0.
#
# TensorFlow makes its exact GELU of the operation Erfc, which ONNX does not have: ONNX has Erf. tf2onnx logs an error,
# leaves a node named Erfc in ONNX's own domain, and returns the model as converted. Keras's `model.export(format="onnx")` does not look at the log: the file is written, and every
# runtime refuses it. GELU is the activation of most networks made since transformers.
#
# Seen with tensorflow 2.20.0, keras 3.15.1, tf2onnx 1.17.0, onnx 1.23.2 and onnxruntime 1.32.0 on Linux, x86-64. Exit
# status 0: still so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.20.0 keras==3.15.1 tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0
cat >"$folder/look.py" <<'PYTHON'
import sys

import keras
import numpy as np
import onnx
import onnxruntime


def look(activation):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation=activation)])
    model(np.ones((2, 4)))
    model.export("model.onnx", format="onnx", verbose=False)
    types = [node.op_type for node in onnx.load("model.onnx").graph.node]
    try:
        onnxruntime.InferenceSession("model.onnx")
        return "Erfc" in types, "loads"
    except Exception as error:
        return "Erfc" in types, type(error).__name__


print(f"keras {keras.__version__}, onnxruntime {onnxruntime.__version__}")
found = {}
for name, activation in (
    ("gelu", "gelu"),
    ("approximate gelu", lambda x: keras.activations.gelu(x, approximate=True)),
    ("relu", "relu"),
):
    found[name] = look(activation)
    print(f"  {name}: a node Erfc: {found[name][0]}; onnxruntime: {found[name][1]}")
sys.exit(found != {"gelu": (True, "InvalidGraph"), "approximate gelu": (False, "loads"), "relu": (False, "loads")})
PYTHON
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 KERAS_BACKEND=tensorflow CUDA_VISIBLE_DEVICES= "$folder/venv/bin/python" look.py
