"""What the test files share: seeded random numbers, gradients as arrays, each engine's own module; a finished study."""

import functools
import importlib
import os
import socket

# Both before anything imports Keras: quiet TensorFlow's start; let JAX compute in float64, as the other two do.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_ENABLE_X64", "1")

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def seeded():
    """The weights that a layer draws for itself are the same in every run, too."""
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def channels_first_setting():
    """A machine whose `keras.json` says that images have their channels first."""
    import keras

    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format(before)


@pytest.fixture
def tf():
    """TensorFlow, for a test of what this engine alone has: the test is skipped on the others."""
    return _module_of_engine("tensorflow")


@pytest.fixture
def jax():
    """JAX, likewise."""
    return _module_of_engine("jax")


@pytest.fixture
def torch():
    """PyTorch, likewise."""
    return _module_of_engine("torch")


def _module_of_engine(name):
    import keras

    if keras.backend.backend() != name:
        pytest.skip(f"only on {name}")
    return importlib.import_module(name)


@pytest.fixture
def gradients():
    """`gradients(function, upstream, *arrays)`: of `sum(upstream * function(*arrays))` by each array, on any engine.

    `gradients.as_tensors` gives tensors that can be differentiated again.
    """
    import keras

    differentiate = {"tensorflow": _by_tensorflow, "jax": _by_jax, "torch": _by_torch}[keras.backend.backend()]

    def as_tensors(function, upstream, *arrays):
        return differentiate(function, upstream, [keras.ops.convert_to_tensor(array) for array in arrays])

    def compute(function, upstream, *arrays):
        return [keras.ops.convert_to_numpy(gradient) for gradient in as_tensors(function, upstream, *arrays)]

    compute.as_tensors = as_tensors
    return compute


def _by_tensorflow(function, upstream, tensors):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = function(*tensors)
    upstream = tf.convert_to_tensor(upstream, outputs.dtype)
    return tape.gradient(outputs, tensors, output_gradients=upstream)


def _by_jax(function, upstream, tensors):
    import jax

    @jax.jit  # compiled as a whole: step by step takes five times as long
    def differentiate(upstream, *tensors):
        outputs, pull_back = jax.vjp(function, *tensors)
        return pull_back(upstream.astype(outputs.dtype))

    return differentiate(jax.numpy.asarray(upstream), *tensors)


def _by_torch(function, upstream, tensors):
    import torch

    tensors = [t if t.requires_grad else t.clone().requires_grad_() for t in tensors]
    outputs = function(*tensors)
    upstream = torch.as_tensor(upstream, dtype=outputs.dtype, device=outputs.device)
    return torch.autograd.grad(outputs, tensors, upstream, create_graph=True)


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
    from deformconv.study.digits import datasets

    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # and never listens
        monkeypatch.setattr(datasets, "MNIST_URL", f"http://127.0.0.1:{deaf.getsockname()[1]}/mnist.npz")
        yield nothing_cached


@pytest.fixture(scope="session")
def tiny_budget():
    """A budget for the machinery, not for accuracy, which is measured in batches as small."""
    from deformconv import training

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
    from deformconv.study.digits import datasets, experiment
    from deformconv.study.digits.variants import VARIANTS

    settings = experiment.Settings("digits", "tiny", **tiny_budget)
    study = experiment.Study(datasets.load("digits"), settings, tmp_path_factory.mktemp("study"), progress=False)
    for variant in VARIANTS:
        study.run(variant, 0)
    return study


@pytest.fixture
def make_run():
    """`make_run(variant, seed, regular, scaled, **more)`: what a results file says of a finished run."""

    def make(variant, seed=0, regular=0.5, scaled=0.25, **more):
        run = {"variant": variant, "seed": seed, "dataset": "digits", "regular": regular, "scaled": scaled}
        return {**run, "trained_parameters": 704, **more}

    return make
