"""A Keras that is set up otherwise: the types and the folders that `keras.json` and the environment name."""

import json
import os
import subprocess
import sys

import keras
import pytest

# Every layer learns for a step; every function computes.
LAYERS = """
import keras, numpy as np
from deformconv import *
assert keras.config.floatx() == FLOATX
images = np.ones((4, 7, 6, 4))
pooled = keras.layers.GlobalAveragePooling2D
for layer in (
    DeformableConv2D(3, 3, modulated=True, max_offset=1.0, offset_lr_multiplier=0.1),
    ConvOffset2D(),
    DCNv3(groups=2, center_feature_scale=True),
    DCNv4(groups=2, center_feature_scale=True),
    SpatialTransformer(keras.Sequential([pooled(), keras.layers.Dense(3)])),
):
    model = keras.Sequential([keras.Input((7, 6, 4)), layer, pooled()])
    model.compile("sgd", "mse")
    model.fit(images, np.zeros((4, model.output_shape[-1])), verbose=0)
    outputs = model.predict(images, verbose=0)
    assert outputs.dtype == FLOATX and np.isfinite(outputs).all(), layer
pooling = DeformableRoIPooling2D(2, modulated=True)
assert keras.backend.standardize_dtype(pooling(images, np.ones((4, 3, 4))).dtype) == FLOATX
for dtype in ("float16", "float32", "float64"):
    given = images.astype(dtype)
    for outputs in (
        deform_conv2d(given, np.zeros((4, 5, 5, 12)), np.ones((3, 2, 4, 6))),
        bilinear_sample(given, np.zeros((4, 5, 2)), padding="edge"),
        deform_roi_pool2d(given, np.zeros((4, 5, 4)), output_size=2),
    ):
        assert keras.backend.standardize_dtype(outputs.dtype) == dtype
"""
TRAIN = """
import numpy as np, sys
from deformconv import cli
np.savez("own.npz", x=np.random.default_rng(0).integers(0, 250, (20, 9, 7)).astype("uint8"), y=np.arange(20) % 2)
sys.exit(cli.main("train own.npz --steps 2 --batch-size 4".split()))
"""


@pytest.fixture(params=["float16", "float64"])
def run(request, tmp_path):
    """`run(script)` where `keras.json` names the type `run.floatx`."""
    settings = {"floatx": request.param, "backend": keras.backend.backend(), "image_data_format": "channels_last"}
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "keras.json").write_text(json.dumps(settings))
    environment = os.environ | {"KERAS_HOME": str(tmp_path / "keras")}

    def run_it(script):
        command = [sys.executable, "-c", f"FLOATX = {request.param!r}\n{script}"]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)

    run_it.floatx = request.param
    return run_it


def test_layers_and_functions_work_in_the_type_of_the_settings(run):
    done = run(LAYERS)
    assert done.returncode == 0, done.stderr


def test_a_training_works_or_says_in_a_line_what_it_needs(run):
    done = run(TRAIN)
    if run.floatx == "float64":
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "deformconv: error" in line]
    assert "`floatx` is 'float16'" in line and "Training needs 'float32'" in line
