"""Calls of the primitives on PyTorch, for tests: functions and their tensors, gradients, the portable engine's too."""

import functools

import numpy as np
import torch

from deformconv import engines
from deformconv.engines.native.torch_operators import in_sums
from deformconv.engines.switches import stock_operations


def call_of(rng, batch=2, size=(5, 4), channels=4, filters=6, groups=2, offset_groups=1, masked=True, dtype="float64"):
    """A function of its tensors, and these, of one convolution with a 3 x 2 kernel, strides, dilation and padding."""
    out_size = (size[0] // 2 + 1, size[1])
    options = {"strides": (2, 1), "pads": (2, 1), "dilation_rate": (1, 2), "groups": groups, "bias": None}
    taps = 6 * offset_groups
    shapes = [(batch, *size, channels), (batch, *out_size, 2 * taps), (3, 2, channels // groups, filters)]
    scales = [1, 2, 1, 1]
    shapes += [(batch, *out_size, taps)] if masked else []
    tensors = [torch.tensor(rng.normal(scale=s, size=shape)) for s, shape in zip(scales, shapes, strict=False)]
    tensors = [t.to(getattr(torch, dtype)) for t in tensors]
    if dtype not in ("float32", "float64"):
        tensors[1] = tensors[1].float()

    def convolve(inputs, offsets, kernel, mask=None):
        height, width = inputs.shape[1] // 2 + 1, inputs.shape[2]
        return engines.convolve(
            inputs, offsets, kernel, mask=mask, out_size=(height, width), offset_groups=offset_groups, **options
        )

    return convolve, tensors


def aggregate_of(rng, batch=2, size=(5, 4), channels=4, rows=7, groups=2, taps=3, dtype="float64"):
    shapes = (batch, *size, channels), (batch, rows, groups, taps, 2), (batch, rows, groups, taps)
    tensors = [torch.tensor(rng.normal(scale=2, size=shape)).to(getattr(torch, dtype)) for shape in shapes]
    return engines.aggregate, [tensors[0], tensors[1].to(in_sums(tensors[0].dtype)), tensors[2]]


def sample_of(rng):
    _, (images, coords, _) = aggregate_of(rng)
    return engines.sample, [images, coords[:, :, 0, 0]]


def portably(function):
    @functools.wraps(function)
    def portable(*tensors):
        with stock_operations():
            return function(*tensors)

    return portable


def gradients(function, tensors, wanted=None):
    tensors = [t.detach().requires_grad_(wanted is None or i in wanted) for i, t in enumerate(tensors)]
    outputs = function(*tensors)
    weights = torch.cos(torch.arange(outputs.numel())).reshape(outputs.shape).to(outputs.dtype)
    return [outputs, *torch.autograd.grad(outputs, [t for t in tensors if t.requires_grad], weights)]


def assert_same(got, expected, tolerance=1e-12):
    got, expected = (torch.utils._pytree.tree_leaves(tree) for tree in (got, expected))
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        scale = other.abs().max().item() if other.numel() else 0
        np.testing.assert_allclose(one.detach().double(), other.detach().double(), atol=tolerance * scale)
