"""Whole models and whole calls under each engine's own compiler: the numbers are those of running step by step."""

import shutil

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy

from deformconv import ConvOffset2D, DeformableConv2D, deform_conv2d, engines
from deformconv.engines import native
from deformconv.engines.switches import stock_operations

SHAPE = BATCH, HEIGHT, WIDTH, CHANNELS = 3, 5, 4, 4
FILTERS, KERNEL_SIZE = 6, (3, 2)
OPTIONS = {"strides": (2, 1), "padding": "same", "dilation_rate": (1, 2), "groups": 2}


def call(inputs, offsets, kernel, mask, bias):
    return deform_conv2d(inputs, offsets, kernel, mask=mask, bias=bias, **OPTIONS)


@pytest.fixture
def tensors(rng):
    """What `call` takes: two offset groups, two groups."""
    shapes = SHAPE, (BATCH, 3, 4, 24), (*KERNEL_SIZE, CHANNELS // 2, FILTERS), (BATCH, 3, 4, 12), (FILTERS,)
    return [rng.uniform(-2, 2, size=shape).astype("float32") for shape in shapes]


def tiny_model(supports_jit=None, **options):
    """The same weights at every call; its taps are off the grid, so the gradients are smooth."""
    keras.utils.set_random_seed(0)
    layer = DeformableConv2D(FILTERS, KERNEL_SIZE, padding="same", modulated=True, offset_groups=2)
    if supports_jit is not None:
        layer.supports_jit = supports_jit
    model = keras.Sequential([keras.Input(SHAPE[1:]), layer, keras.layers.GlobalAveragePooling2D()])
    layer.offset_conv.bias.assign(np.linspace(0.2, 0.7, layer.offset_conv.bias.shape[0]))
    model.compile(keras.optimizers.SGD(0.1), "mse", **options)
    return model


def fit_two_steps(model, rng):
    inputs, targets = rng.normal(size=(2 * BATCH, *SHAPE[1:])), rng.normal(size=(2 * BATCH, FILTERS))
    model.fit(inputs.astype("float32"), targets.astype("float32"), batch_size=BATCH, shuffle=False, verbose=0)
    return model.get_weights()


@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_two_steps_of_fit_change_every_weight_those_of_the_offsets_too(rng, jit_compile):
    model = tiny_model(jit_compile=jit_compile)
    before = [convert_to_numpy(weight) for weight in model.weights]
    fit_two_steps(model, rng)
    paths = [weight.path for weight in model.weights]
    assert sum("offset_conv" in path for path in paths) == 2
    for path, old, new in zip(paths, before, model.get_weights(), strict=True):
        assert np.isfinite(new).all(), path
        assert np.abs(new - old).max() > 1e-6, path


def test_xla_trains_a_model_to_the_weights_that_the_native_kernel_does(tf, rng):
    """Keras takes `jit_compile=True` back where a layer says that it has something better; here it insists."""
    state = rng.bit_generator.state
    by_native = fit_two_steps(tiny_model(jit_compile=False), rng)
    rng.bit_generator.state = state
    model = tiny_model(supports_jit=True, jit_compile=True)
    assert model.jit_compile
    by_xla = fit_two_steps(model, rng)
    for got, expected in zip(by_xla, by_native, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_xla_compiles_a_call_and_its_gradients(tf, rng, gradients, tensors):
    compiled = tf.function(call, jit_compile=True)
    np.testing.assert_allclose(compiled(*tensors), call(*tensors), atol=2e-5)
    upstream = rng.normal(size=(BATCH, 3, 4, FILTERS))
    of_compiled, of_eager = (gradients(function, upstream, *tensors) for function in (compiled, call))
    for got, expected in zip(of_compiled, of_eager, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.fixture
def warned(recwarn):
    """What is said of XLA from here on, as if nothing had been before."""
    engines._warn_of_xla.cache_clear()
    return lambda: [str(one.message) for one in recwarn if "XLA" in str(one.message)]


@pytest.fixture
def kernels(tf):
    return native.kernels() or pytest.skip("there are no kernels here that XLA could leave out")


def test_xla_in_place_of_the_kernels_is_told_of_once(tf, rng, tensors, kernels, warned):
    tf.function(call)(*tensors)
    assert warned() == []
    tf.function(call, jit_compile=True)(*tensors)
    (message,) = warned()
    assert "times as slow on a CPU" in message and "Leave `jit_compile` out" in message
    fit_two_steps(tiny_model(supports_jit=True, jit_compile=True), rng)
    assert len(warned()) == 1


def test_a_model_that_insists_on_xla_is_told_of(tf, rng, kernels, warned):
    fit_two_steps(tiny_model(supports_jit=True, jit_compile=True), rng)
    assert len(warned()) == 1


def test_nothing_is_said_of_xla_where_no_kernel_would_serve(tf, tensors, kernels, warned, monkeypatch):
    with stock_operations():
        tf.function(call, jit_compile=True)(*tensors)
    monkeypatch.setattr(engines, "_only_cpus", lambda: False)  # a TPU beside
    tf.function(call, jit_compile=True)(*tensors)
    monkeypatch.undo()
    # Without a compiler, on a GPU, or with DEFORMCONV_CPU_KERNELS=0.
    monkeypatch.setattr(native, "kernels", lambda: None)
    tf.function(call, jit_compile=True)(*tensors)
    assert warned() == []


def test_nothing_is_said_of_xla_where_the_package_itself_uses_it(tf, rng, kernels, warned):
    ConvOffset2D("2017")(rng.normal(size=(3, 5, 5, 2)))
    assert warned() == []


def test_jax_compiles_a_call_and_its_gradients(jax, rng, tensors):
    upstream = rng.normal(size=(BATCH, 3, 4, FILTERS)).astype("float32")

    def loss(*tensors):
        return (upstream * call(*tensors)).sum()

    np.testing.assert_allclose(jax.jit(call)(*tensors), call(*tensors), atol=2e-5)
    gradient = jax.grad(loss, argnums=range(5))
    for got, expected in zip(jax.jit(gradient)(*tensors), gradient(*tensors), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_jax_compiles_a_layer_that_is_called_without_state(jax, rng):
    layer = tiny_model().layers[0]
    trainable, other = ([w.value for w in ws] for ws in (layer.trainable_variables, layer.non_trainable_variables))
    inputs = rng.normal(size=SHAPE).astype("float32")
    outputs, _ = jax.jit(layer.stateless_call)(trainable, other, inputs)
    np.testing.assert_allclose(outputs, layer(inputs), atol=1e-5)


def test_pytorch_compiles_a_call_and_its_gradients(torch, rng, gradients, tensors):
    can_build = any(shutil.which(compiler) for compiler in ("c++", "g++", "clang++"))
    compiled = torch.compile(call, backend="inductor" if can_build else "aot_eager")
    upstream = rng.normal(size=(BATCH, 3, 4, FILTERS))
    np.testing.assert_allclose(*(convert_to_numpy(f(*map(torch.tensor, tensors))) for f in (compiled, call)), atol=2e-5)
    of_compiled, of_eager = (first_gradients(torch, function, upstream, tensors) for function in (compiled, call))
    for got, expected in zip(of_compiled, of_eager, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-4)


def first_gradients(torch, function, upstream, arrays):
    """Without a graph of the gradients themselves, which compiled PyTorch does not give."""
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    outputs = function(*tensors)
    return torch.autograd.grad(outputs, tensors, torch.tensor(upstream, dtype=outputs.dtype))
