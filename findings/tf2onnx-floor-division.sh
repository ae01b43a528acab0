#!/bin/sh
# tf2onnx rounds the quotient of integers towards zero where TensorFlow rounds it down.
#
# TensorFlow's `//` is a floor division: -7 // 2 is -4. ONNX's Div of integers drops the fraction: -3. tf2onnx makes the one
# into the other, and corrects the result for floats only. Sizes are computed with integers, and "rounded up" is often
# written as -(-n // k): a shape that is known only at run time then comes out one too small, in a file that was converted
# without a word.
#
# Seen with tensorflow 2.20.0, tf2onnx 1.17.0, onnx 1.23.2 and onnxruntime 1.32.0 on Linux, x86-64. Exit status 0: still so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.20.0 tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0
cat >"$folder/look.py" <<'PYTHON'
import sys

import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx


def both(dtype):
    values = np.array([-7, -6, 7], dtype)
    function = tf.function(lambda x: x // 2, input_signature=[tf.TensorSpec([3], dtype, "x")])
    model, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=18)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return function(values).numpy().tolist(), session.run(None, {"x": values})[0].tolist()


print(f"tensorflow {tf.__version__}, tf2onnx {tf2onnx.__version__}, onnxruntime {onnxruntime.__version__}")
found = {dtype: both(dtype) for dtype in ("int32", "int64", "float32")}
for dtype, (ours, theirs) in found.items():
    print(f"  {dtype}: [-7, -6, 7] // 2 is {ours} in TensorFlow, {theirs} in the file")
integers = ([-4, -3, 3], [-3, -3, 3])
sys.exit(found != {"int32": integers, "int64": integers, "float32": ([-4, -3, 3], [-4, -3, 3])})
PYTHON
TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES= "$folder/venv/bin/python" "$folder/look.py"
