"""The compiled kernels on JAX: against the portable engine, under each of JAX's transformations."""

import re
import subprocess
import sys
from functools import partial

import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("JAX's kernels", allow_module_level=True)

import jax
from jax import numpy as jnp

from deformconv import DeformableConv2D, deform_conv2d, engines
from deformconv.engines import columns, grouped, native, portable

if not native.kernels():
    pytest.skip(f"no compiled kernels: {native.status()}", allow_module_level=True)

from deformconv.engines.native import jax as binding

ALL = IMAGES, OFFSETS, KERNEL, MASK = 0, 1, 2, 3


def call_of(rng, batch=2, size=(5, 4), channels=4, filters=6, groups=1, offset_groups=2, dtype="float64"):
    """`(native, portable, tensors)` of a convolution with a 3 x 2 kernel; the mask may be left out of the call."""
    options = {"strides": (2, 1), "pads": (1, 2), "dilation_rate": (1, 2), "groups": groups, "bias": None}
    options |= {"offset_groups": offset_groups, "out_size": ((size[0] + 2 - 3) // 2 + 1, size[1] + 4 - 3 + 1)}
    points = (batch, *options["out_size"], 6 * offset_groups)
    shapes = (batch, *size, channels), (*points[:3], 2 * points[3]), (3, 2, channels // groups, filters), points
    tensors = [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]
    tensors[OFFSETS] = jnp.asarray(
        rng.normal(scale=2, size=shapes[OFFSETS]), "float64" if dtype == "float64" else "float32"
    )

    def of(convolve):
        return lambda images, offsets, kernel, mask=None: convolve(images, offsets, kernel, mask=mask, **options)

    return of(binding.convolve), of(partial(columns.convolve, portable.sample)), tensors


def close(got, expected, tolerance=1e-12):
    """Each of many arrays, as seen from the largest number in it."""
    got, expected = jax.tree.leaves(got), jax.tree.leaves(expected)
    assert len(got) == len(expected)
    for i, (one, other) in enumerate(zip(got, expected, strict=True)):
        one, other = (np.asarray(array, "float64") for array in (one, other))
        scale = max(np.abs(other[np.isfinite(other)]).max(initial=0), 1e-3)
        np.testing.assert_allclose(one, other, atol=tolerance * scale, rtol=0, err_msg=f"number {i}")


def with_gradients(function, upstream):
    """The value, and its gradients by all arguments."""

    @jax.jit
    def compute(*tensors):
        value, pull_back = jax.vjp(function, *tensors)
        return value, pull_back(upstream.astype(value.dtype))

    return compute


def squares(function):
    """A number whose second derivatives by everything are not zero."""
    return lambda *tensors: (function(*tensors) ** 2).sum()


def primitives(function, *tensors):
    """The operations of ours that a program holds, in order."""
    return re.findall(r"deformconv_(\w+)\[", str(jax.make_jaxpr(function)(*tensors)))


# Channels and filters that fill vectors and tiles, and that leave some over; groups and depthwise; more threads than
# images and fewer; no image, and a single pixel.
CASES = pytest.mark.parametrize(
    "sizes",
    [
        {"batch": 1, "size": (7, 5), "channels": 64, "filters": 64, "offset_groups": 1},
        {"batch": 3, "size": (6, 9), "channels": 37, "filters": 19, "offset_groups": 1},
        {"batch": 5, "size": (4, 3), "channels": 12, "filters": 8, "groups": 4, "offset_groups": 3},
        {"batch": 2, "size": (9, 7), "channels": 6, "filters": 12, "groups": 6},
        {"batch": 0},
        {"batch": 1, "size": (1, 1)},
    ],
    ids=lambda sizes: ",".join(f"{name}={value}" for name, value in sizes.items()),
)


@CASES
@pytest.mark.parametrize("masked", [False, True])
def test_values_and_gradients_are_the_portable_ones(rng, sizes, masked):
    convolve, expected, tensors = call_of(rng, **sizes)
    tensors = tensors if masked else tensors[:MASK]
    upstream = jnp.asarray(rng.normal(size=jax.eval_shape(convolve, *tensors).shape))
    close(with_gradients(convolve, upstream)(*tensors), with_gradients(expected, upstream)(*tensors))


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("bfloat16", 0.02), ("float16", 2e-3)])
def test_other_types_are_computed_by_kernels_too(rng, dtype, tolerance):
    convolve, expected, tensors = call_of(rng, dtype=dtype)
    upstream = jnp.asarray(rng.normal(size=jax.eval_shape(convolve, *tensors).shape), dtype)
    assert binding.serves(tensors[IMAGES])
    got = with_gradients(convolve, upstream)(*tensors)
    assert [t.dtype for t in jax.tree.leaves(got)] == [jnp.dtype(dtype), *(t.dtype for t in tensors)]
    exact = [tensor.astype("float64") for tensor in tensors]
    close(got, with_gradients(expected, upstream)(*exact), tolerance)


@pytest.mark.parametrize("groups, taps", [(1, 1), (3, 2), (6, 4)])
def test_sample_and_aggregate_are_the_portable_ones(rng, groups, taps):
    images, coords = rng.normal(size=(3, 5, 4, 6)), rng.uniform(-2, 6, size=(3, 7, groups, taps, 2))
    coords[0, :4, 0, 0] = [np.inf, 1], [1, -np.inf], [np.nan, 2], [-1e30, 1e30]
    tensors = [jnp.asarray(t) for t in (images, coords, rng.normal(size=(3, 7, groups, taps)))]
    upstream = jnp.asarray(rng.normal(size=(3, 7, 6)))
    expected = with_gradients(partial(grouped.aggregate, portable.sample), upstream)
    close(with_gradients(binding.aggregate, upstream)(*tensors), expected(*tensors))
    tensors = tensors[0], tensors[1][:, :, :, 0]
    expected = with_gradients(partial(grouped.sample, portable.sample), upstream)
    close(with_gradients(binding.sample, upstream)(*tensors), expected(*tensors))
    close(binding.sample(tensors[0], tensors[1][:, :, 0]), portable.sample(tensors[0], tensors[1][:, :, 0]))


DERIVATIVES = {
    "jvp": lambda f: lambda *tensors: jax.jvp(f, tensors, tuple(map(jnp.cos, tensors))),
    "jacfwd": lambda f: jax.jacfwd(f, ALL),
    "jacrev": lambda f: jax.jacrev(f, ALL),
    "linearize": lambda f: lambda *tensors: jax.linearize(f, *tensors)[1](*tensors),
    "hessian": lambda f: jax.hessian(squares(f), ALL),
    "jacrev of jacrev": lambda f: jax.jacrev(jax.jacrev(squares(f), ALL), ALL),
    "jacrev of jacfwd": lambda f: jax.jacrev(jax.jacfwd(squares(f), ALL), ALL),
    "jacfwd of jacfwd": lambda f: jax.jacfwd(jax.jacfwd(squares(f), ALL), ALL),
    "checkpoint": lambda f: jax.grad(jax.checkpoint(squares(f)), ALL),
    "hessian of checkpoint": lambda f: jax.hessian(jax.checkpoint(squares(f)), ALL),
}


@pytest.mark.parametrize("derive", DERIVATIVES.values(), ids=DERIVATIVES)
def test_derivatives_of_any_kind_are_the_portable_ones(rng, derive):
    convolve, expected, tensors = call_of(rng, batch=1, size=(3, 2), channels=2, filters=2, offset_groups=1)
    close(jax.jit(derive(convolve))(*tensors), jax.jit(derive(expected))(*tensors))


@pytest.mark.parametrize("by", [IMAGES, KERNEL, MASK])
def test_what_it_is_linear_in_can_be_transposed(rng, by):
    convolve, expected, tensors = call_of(rng)

    def transposed(function):
        linear = lambda tensor: function(*tensors[:by], tensor, *tensors[by + 1 :])  # noqa: E731
        return jax.linear_transpose(linear, tensors[by])(linear(tensors[by]))

    close(transposed(convolve), transposed(expected))


@pytest.mark.parametrize("axes", [(0, None, None, None), (None, 2, None, None), (None, None, 1, None), (1, 0, 3, 2)])
def test_vmap_over_each_argument(rng, axes):
    convolve, expected, tensors = call_of(rng, size=(3, 4), channels=2, filters=4)
    tensors = [
        tensor if axis is None else jnp.stack([tensor, jnp.sin(tensor), -tensor], axis)
        for tensor, axis in zip(tensors, axes, strict=True)
    ]

    def all_ways(function):
        mapped = jax.vmap(function, axes)
        gradients = jax.vmap(jax.grad(squares(function), ALL), axes)
        tangents = jax.vmap(DERIVATIVES["jvp"](function), axes)
        return lambda *t: [mapped(*t), jax.grad(squares(mapped), ALL)(*t), gradients(*t), tangents(*t)]

    close(jax.jit(all_ways(convolve))(*tensors), jax.jit(all_ways(expected))(*tensors))


def test_vmap_without_a_kernel_of_its_own_for_each_is_one_call(rng):
    convolve, _, tensors = call_of(rng)
    text = str(
        jax.make_jaxpr(jax.vmap(convolve, (0, 0, None, 0)))(
            *(jnp.stack([t] * 3) for t in tensors[:2]), tensors[2], jnp.stack([tensors[3]] * 3)
        )
    )
    assert "scan" not in text and text.count("deformconv_value") == 1
    none = jnp.zeros((0, *tensors[IMAGES].shape))
    assert jax.vmap(convolve, (0, None, None, None))(none, *tensors[1:]).shape == (0, 2, 3, 6, 6)


def test_scan_and_step_by_step(rng):
    convolve, expected, tensors = call_of(rng, filters=4)

    def three_times(function):
        def step(carried, scale):
            images, offsets = carried
            outputs = function(images, offsets * scale, *tensors[2:])
            return (images * (1 + outputs.mean()), offsets), outputs.sum()

        return lambda images, offsets: jax.lax.scan(step, (images, offsets), jnp.asarray([0.5, 1.0, 1.5]))[1].sum()

    gradients = (jax.jit(jax.grad(three_times(f), (0, 1))) for f in (convolve, expected))
    close(*(gradient(*tensors[:2]) for gradient in gradients))
    with jax.disable_jit():
        step_by_step = jax.grad(squares(convolve), ALL)(*tensors)
    close(step_by_step, jax.jit(jax.grad(squares(convolve), ALL))(*tensors))


def test_only_the_gradients_that_are_asked_for_are_computed(rng):
    convolve, _, tensors = call_of(rng)
    loss = squares(convolve)
    text = str(jax.make_jaxpr(jax.grad(loss, (IMAGES, OFFSETS)))(*tensors))
    assert re.findall(r"by=\((.*?)\)", text) == ["0, 1, 2"]  # by images, offsets and mask: one kernel
    text = str(jax.make_jaxpr(jax.grad(loss, KERNEL))(*tensors))
    assert re.findall(r"by=\((.*?)\)", text) == ["3,"]
    assert primitives(jax.grad(loss, ALL), *tensors) == ["value", "gradients", "gradients"]
    assert primitives(lambda *t: jax.jvp(convolve, t, t), *tensors) == ["value", "tangent"]


def test_what_is_exported_holds_standard_operations_and_runs(rng):
    convolve, _, tensors = call_of(rng, dtype="float32")
    step = jax.jit(jax.value_and_grad(squares(convolve), ALL))
    expected = step(*tensors)
    for platforms in (["cpu"], ["cpu", "cuda"]):
        exported = jax.export.export(step, platforms=platforms)(*tensors)
        assert "custom_call" not in exported.mlir_module()
        close(exported.call(*tensors), expected, 1e-5)
    assert step.lower(*tensors).as_text().count(binding.HANDLER) == 3
    assert binding.HANDLER not in step.trace(*tensors).lower(lowering_platforms=("cuda",)).as_text()


def test_sizes_may_be_left_open_in_an_export(rng):
    kernel = jnp.asarray(rng.normal(size=(3, 2, 2, 6)), "float32")
    convolve = jax.jit(lambda images, offsets: deform_conv2d(images, offsets, kernel, padding="same"))
    batch, height = jax.export.symbolic_shape("batch, height")
    shapes = (batch, height, 4, 2), (batch, height, 4, 12)
    exported = jax.export.export(convolve)(*(jax.ShapeDtypeStruct(shape, "float32") for shape in shapes))
    tensors = [jnp.asarray(rng.normal(size=(3, 5, *shape[2:])), "float32") for shape in shapes]
    close(exported.call(*tensors), convolve(*tensors), 1e-5)
    assert primitives(convolve, *tensors) == ["value"]


def test_many_calls_at_once_share_the_pool_and_none_waits_forever():
    """More callers than threads: each of XLA's threads may be one. In a process of its own, which can be ended."""
    script = """
import threading, jax, numpy as np
from jax import numpy as jnp
from deformconv import deform_conv2d
rng = np.random.default_rng(0)
tensors = [jnp.asarray(rng.normal(size=size)) for size in [(4, 9, 7, 8), (4, 9, 7, 18), (3, 3, 8, 6)]]
step = jax.grad(lambda *t: (deform_conv2d(*t, padding="same") ** 2).sum(), (0, 1, 2))

@jax.jit
def twelve(*tensors):
    return [sum(g.sum() for g in step(*(t * (1 + i / 8) for t in tensors))) for i in range(12)]

sums = []
threads = [threading.Thread(target=lambda: sums.extend(twelve(*tensors) for _ in range(20))) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(sums) == 160
np.testing.assert_allclose(sums, [twelve(*tensors)] * 160, rtol=1e-9)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_tensors_that_do_not_fit_together_are_refused(rng):
    convolve, _, tensors = call_of(rng)
    for i in ALL:
        for axis in range(4):
            wrong = [*tensors[:i], jnp.concatenate([tensors[i]] * 2, axis), *tensors[i + 1 :]]
            if (i, axis) not in [(IMAGES, 1), (IMAGES, 2), (KERNEL, 3)]:  # these sizes are free
                with pytest.raises(ValueError, match="do not fit together"):
                    convolve(*wrong)
    convolve, _, tensors = call_of(rng, groups=4)  # for 6 filters
    with pytest.raises(ValueError, match="do not fit together"):
        convolve(*tensors)
    with pytest.raises(ValueError, match=r"tensors of \(3, 5, 4, 2\), \(2, 7, 1, 1, 2\) do not fit together"):
        engines.sample(jnp.zeros((3, 5, 4, 2)), jnp.zeros((2, 7, 2)))


def test_a_model_is_trained_by_the_kernels(rng, monkeypatch):
    called = []
    for name in ("natively", "gradients"):
        one = getattr(binding.Convolution, name)
        spied = lambda self, *t, _one=one, **by: called.append(by.get("by")) or _one(self, *t, **by)  # noqa: E731
        monkeypatch.setattr(binding.Convolution, name, spied)
    model = keras.Sequential([keras.Input((5, 4, 2)), DeformableConv2D(3, (3, 2)), keras.layers.Flatten()])
    model.compile("sgd", "mse")
    assert model.layers[0].supports_jit and model.jit_compile
    model.fit(rng.normal(size=(4, 5, 4, 2)), rng.normal(size=(4, 27)), batch_size=2, verbose=0)
    assert called == [None, (0, 1), (2,)]


def test_on_a_gpu_the_portable_engine_serves(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(native.Unavailable, match="JAX uses a GPU"):
        binding.prepare.__wrapped__()
