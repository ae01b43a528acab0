"""The compiled kernels on PyTorch: values and gradients, whatever the sizes and threads; where they serve."""

import ctypes
import subprocess
import sys

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's kernels", allow_module_level=True)

import torch

from deformconv.engines import native

if not native.kernels():
    pytest.skip(f"no compiled kernels: {native.status()}", allow_module_level=True)

from torch_calls import aggregate_of, assert_same, call_of, gradients, portably, sample_of

from deformconv import DeformableConv2D, engines
from deformconv.engines.native import library
from deformconv.engines.native import torch_operators as operators

CONVOLVE_ALL = {operators.CONVOLVE, operators.POINTS_GRADIENT, operators.KERNEL_GRADIENT}


# Channels and filters that fill vectors and tiles, and that leave some over; groups that lie within offset groups,
# across them and around them; depthwise, with several filters a channel too; more threads than images and fewer.
CASES = pytest.mark.parametrize(
    "batch, size, channels, filters, groups, offset_groups",
    [
        (1, (7, 5), 64, 64, 1, 1),
        (3, (7, 5), 37, 19, 1, 1),
        (1, (6, 9), 48, 130, 1, 3),
        (2, (30, 17), 16, 6, 2, 4),
        (2, (4, 3), 12, 9, 3, 2),
        (5, (4, 3), 24, 24, 24, 2),
        (2, (5, 4), 6, 12, 6, 1),
        (1, (1, 1), 2, 1, 1, 2),
    ],
)


@CASES
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-6), ("float64", 1e-14)])
def test_values_and_gradients_are_the_portable_ones(
    rng, ran, batch, size, channels, filters, groups, offset_groups, masked, dtype, tolerance
):
    convolve, tensors = call_of(rng, batch, size, channels, filters, groups, offset_groups, masked, dtype)
    got = gradients(convolve, tensors)
    assert {operation for operation, _ in ran} == CONVOLVE_ALL
    assert_same(got, gradients(portably(convolve), tensors), 10 * tolerance)


@pytest.mark.parametrize("channels, groups, taps", [(64, 1, 9), (37, 1, 4), (6, 3, 2), (24, 24, 5)])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-5), ("float64", 1e-13)])
def test_the_aggregate_too(rng, ran, channels, groups, taps, dtype, tolerance):
    aggregate, tensors = aggregate_of(rng, 3, (5, 4), channels, 11, groups, taps, dtype)
    got = gradients(aggregate, tensors)
    assert {operation for operation, _ in ran} == {operators.AGGREGATE, operators.AGGREGATE_GRADIENT}
    assert_same(got, gradients(portably(aggregate), tensors), tolerance)
    sample, tensors = sample_of(rng)
    assert_same(gradients(sample, tensors), gradients(portably(sample), tensors))


@pytest.mark.parametrize("dtype, tolerance", [("bfloat16", 2e-2), ("float16", 3e-3)])
@pytest.mark.parametrize("groups", [1, 4])
def test_half_types_are_summed_in_float(rng, ran, dtype, tolerance, groups):
    """Nearer to float64's result than a rounding or two; offsets have to be float32."""
    convolve, tensors = call_of(rng, 3, (9, 7), 16, 8, groups, 2, True, dtype)
    got = gradients(convolve, tensors)
    assert len(ran) == 3
    assert [t.dtype for t in got] == [tensors[0].dtype, tensors[0].dtype, torch.float32, *[tensors[0].dtype] * 2]
    aggregate, to_aggregate = aggregate_of(rng, 3, channels=16, dtype=dtype)
    got += gradients(aggregate, to_aggregate)
    assert got[-2].dtype == torch.float32
    expected = gradients(portably(convolve), [t.double() for t in tensors])
    expected += gradients(portably(aggregate), [t.double() for t in to_aggregate])
    assert_same([t.double() for t in got], expected, tolerance)


@pytest.mark.parametrize(
    "wanted, spared",
    [((0, 1, 3), operators.KERNEL_GRADIENT), ((1,), operators.KERNEL_GRADIENT), ((2,), operators.POINTS_GRADIENT)],
)
def test_a_gradient_that_nobody_asks_for_is_not_computed(rng, ran, wanted, spared):
    convolve, tensors = call_of(rng)
    got = gradients(convolve, tensors, wanted)
    assert {operation for operation, _ in ran} == CONVOLVE_ALL - {spared}
    assert_same(got, gradients(portably(convolve), tensors, wanted))


@pytest.mark.parametrize("batch, size", [(0, (5, 4)), (2, (0, 4))])
def test_nothing_gives_nothing(rng, batch, size):
    convolve, tensors = call_of(rng, batch, size)
    assert_same(gradients(convolve, tensors), gradients(portably(convolve), tensors))
    aggregate, tensors = aggregate_of(rng, batch)
    tensors[1:] = [t[:, :0] for t in tensors[1:]]  # no points
    assert_same(gradients(aggregate, tensors), gradients(portably(aggregate), tensors))


def test_tensors_in_another_order_of_memory(rng, ran):
    """Channels-first images seen channels-last, and the upstream gradient of a sum, which is a single number."""
    convolve, tensors = call_of(rng)
    tensors = [t.movedim(-1, 0).contiguous().movedim(0, -1) for t in tensors]
    assert not any(t.is_contiguous() for t in tensors)

    def by_all(function):
        watched = [t.requires_grad_() for t in tensors]
        return torch.autograd.grad(function(*watched).sum(), watched)

    assert_same(by_all(convolve), by_all(portably(convolve)))
    assert {operation for operation, _ in ran} == CONVOLVE_ALL


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_threads_are_as_many_as_pytorch_has(rng, ran, threads):
    convolve, tensors = call_of(rng, 3, (30, 17), 37, 19, 1)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        got = gradients(convolve, tensors)
    finally:
        torch.set_num_threads(before)
    assert ran == [(operation, threads) for operation in sorted(CONVOLVE_ALL)]
    assert_same(got, gradients(portably(convolve), tensors))
    convolve, tensors = call_of(rng)
    ran.clear()
    gradients(convolve, tensors)
    assert {count for _, count in ran} == {1}  # so small a call is not worth waking others


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc")
def test_they_come_from_pytorchs_own_pool():
    """A second OpenMP library would keep threads of its own, which fight with the first one's for the cores."""
    script = """
import os, re
import torch, deformconv
from deformconv import deform_conv2d
from deformconv.engines import native
def loaded(pattern):
    paths = {line.split()[-1] for line in open("/proc/self/maps") if "/" in line}
    return {path for path in paths if re.search(pattern, os.path.basename(path))}
torch.set_num_threads(3)
torch.rand(1 << 20).exp().sum()
before, threads = loaded("gomp|libomp|libiomp"), len(os.listdir("/proc/self/task"))
deform_conv2d(torch.ones(4, 16, 16, 64), torch.ones(4, 16, 16, 18), torch.ones(3, 3, 64, 64), padding="same")
assert native.status() == "compiled"
(library,) = loaded("^plain-.*so$")
print(loaded("gomp|libomp|libiomp") == before, len(os.listdir("/proc/self/task")) == threads, end=" ")
print(b"GOMP_parallel" in open(library, "rb").read() or b"__kmpc" in open(library, "rb").read())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"] * 3


def test_without_openmp_they_make_threads_of_their_own(rng, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    missing = ["-fopenmp", "-lthere-is-no-such-library"]
    core = library.loaded("plain.cc", [], [], lambda path: ctypes.CDLL(str(path)).deformconv_run, optional=missing)
    (made,) = (tmp_path / "deformconv").iterdir()
    assert b"GOMP_" not in made.read_bytes()
    ran = []
    monkeypatch.setattr(operators, "core", lambda: lambda *call: (ran.append((call[0], call[-1])), core(*call)))
    convolve, tensors = call_of(rng, 3, (30, 17), 37, 19, 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert_same(gradients(convolve, tensors), gradients(portably(convolve), tensors))
    assert set(ran) == {(operation, 3) for operation in CONVOLVE_ALL}


def test_autocast_leaves_offsets_in_float32(ran):
    """Half a pixel is what bfloat16 can tell apart at 100: 0.3 would become 0.5."""
    images = torch.arange(-100.0, 100.0)[None, None, :, None]
    offsets = torch.tensor([0, 100.3]).expand(1, 1, 200, 2)
    options = {"strides": (1, 1), "pads": (0, 0), "dilation_rate": (1, 1), "out_size": (1, 200)}
    options |= {"mask": None, "bias": None, "groups": 1, "offset_groups": 1}

    def convolve(images, offsets, kernel):
        with torch.autocast("cpu", torch.bfloat16):
            return engines.convolve(images, offsets, kernel, **options)

    got = gradients(convolve, [images, offsets, torch.ones(1, 1, 1, 1)])
    assert {operation for operation, _ in ran} == CONVOLVE_ALL
    assert got[0][0, 0, 0, 0].item() == pytest.approx(0.3, abs=0.01)
    assert_same(got, gradients(portably(convolve), [images, offsets, torch.ones(1, 1, 1, 1)]), 0.02)
    convolve, tensors = call_of(np.random.default_rng(0))
    with torch.autocast("cpu", torch.bfloat16):
        assert convolve(*tensors).dtype == torch.float64


class Kind(torch.Tensor):
    """A tensor of somebody else's."""


@pytest.mark.parametrize("change", [lambda t: t.to("meta"), lambda t: t.as_subclass(Kind)], ids=["meta", "Kind"])
def test_tensors_that_they_do_not_take(rng, ran, change):
    convolve, tensors = call_of(rng)
    assert not native.kernels().serves(change(tensors[0]))
    assert convolve(*map(change, tensors)).shape == (2, 3, 4, 6)
    assert not ran
    assert convolve(*tensors).shape == (2, 3, 4, 6)
    assert ran


def test_tensors_that_do_not_fit_are_refused_by_the_operators_themselves(rng):
    """They read memory by its address: nothing else stands between a slip and the end of the process."""
    _, (images, offsets, kernel, mask) = call_of(rng)
    rest = [2, 1, 2, 1, 1, 2, 3, 4], 2, 1
    assert operators.convolve(images, offsets, mask, kernel, *rest).shape == (2, 3, 4, 6)
    for slip in (
        (images[:1], offsets, mask, kernel),
        (images, offsets[..., :-1], mask, kernel),
        (images, offsets, mask[:, :1], kernel),
        (images, offsets, mask, kernel[:, :, :1]),
        (images, offsets, mask, kernel.float()),
        (images.float(), offsets, mask.float(), kernel.float()),
    ):
        with pytest.raises(ValueError, match="do not fit together"):
            operators.convolve(*slip, *rest)
    with pytest.raises(ValueError, match="do not divide"):
        operators.convolve(images, offsets, mask, kernel, *rest[:1], 3, 1)
    _, (images, coords, weights) = aggregate_of(rng)
    with pytest.raises(ValueError, match="do not fit together"):
        operators.aggregate(images, coords[..., :1], weights)
    with pytest.raises(ValueError, match="do not divide"):
        operators.aggregate(images[..., :3], coords, weights)


@pytest.mark.parametrize("trainable", [True, False])
def test_a_model_trains_on_them(rng, ran, trainable):
    layer = DeformableConv2D(6, (3, 2), padding="same", modulated=True)
    model = keras.Sequential([keras.Input((5, 4, 3)), layer, keras.layers.GlobalAveragePooling2D()])
    layer.kernel.trainable = trainable
    model.compile("sgd", "mse")
    before = [np.array(keras.ops.convert_to_numpy(weight)) for weight in model.trainable_weights]
    ran.clear()
    model.fit(rng.normal(size=(6, 5, 4, 3)), rng.normal(size=(6, 6)), batch_size=3, verbose=0)
    assert {operation for operation, _ in ran} == CONVOLVE_ALL - (set() if trainable else {operators.KERNEL_GRADIENT})
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert np.abs(keras.ops.convert_to_numpy(weight) - old).max() > 0, weight.path
