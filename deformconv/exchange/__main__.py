"""`python -m deformconv.exchange model.keras model.onnx`, the input signature on standard input.

On TensorFlow: `export_onnx` runs it when another engine is in use.
"""

import json
import sys
from pathlib import Path

import keras

import deformconv.layers  # noqa: F401 (registers the layers that the file may hold)
from deformconv.exchange.onnx_export import convert_here

if __name__ == "__main__":
    _, saved, target = sys.argv
    signature = keras.saving.deserialize_keras_object(json.load(sys.stdin))
    Path(target).write_bytes(convert_here(keras.saving.load_model(saved, compile=False), signature))
