"""What the test files share: a quiet TensorFlow, seeded random numbers, gradients as arrays; a small finished study."""

import functools
import os
import socket

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


@pytest.fixture
def nothing_cached(monkeypatch, tmp_path):
    """A machine without data: no `$DEFORMCONV_DATA`, no proxy, and an empty cache, whose folder it returns."""
    monkeypatch.delenv("DEFORMCONV_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "keras" / "datasets"


@pytest.fixture
def no_network(nothing_cached, monkeypatch):
    """The same machine, where MNIST's address refuses every connection."""
    from deformconv.study import datasets

    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # and never listens
        monkeypatch.setattr(datasets, "MNIST_URL", f"http://127.0.0.1:{deaf.getsockname()[1]}/mnist.npz")
        yield nothing_cached


@pytest.fixture(scope="session")
def tiny_budget():
    """A budget for the machinery, not for accuracy, which is measured in batches as small."""
    from deformconv.study import training

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "accuracy", functools.partial(training.accuracy, batch_size=10))
        yield {
            "regular_steps": 6,
            "finetune_steps": 3,
            "test_images": 40,
            "zoom_images": 10,
            "batch_size": 16,
            "batchnorm_momentum": 0.9,
        }


@pytest.fixture(scope="session")
def study(tiny_budget, tmp_path_factory):
    """A real study, finished: every variant, seed 0, a few steps on the digits. Only to look at."""
    from deformconv.study import datasets, experiment

    settings = experiment.Settings("digits", "tiny", **tiny_budget)
    study = experiment.Study(datasets.load("digits"), settings, tmp_path_factory.mktemp("study"), progress=False)
    for variant in experiment.VARIANTS:
        study.run(variant, 0)
    return study


@pytest.fixture
def make_run():
    """`make_run(variant, seed, regular, scaled, **more)`: what a results file says of a finished run."""

    def make(variant, seed=0, regular=0.5, scaled=0.25, **more):
        run = {"variant": variant, "seed": seed, "dataset": "digits", "regular": regular, "scaled": scaled}
        return {**run, "trained_parameters": 704, **more}

    return make
