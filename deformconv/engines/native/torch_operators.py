"""PyTorch's operators, `torch.ops.deformconv`: what they compute and of which shapes.

    aggregate(images, coords, weights)                            and aggregate_gradient
    convolve(images, offsets, weights, kernel, geometry, ...)     and convolve_points_gradient, convolve_kernel_gradient

`weights` may be None: all are one. `geometry` is strides, pads, dilation and the output's size, each `(y, x)`.
"""

import ctypes
import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.library import custom_op

from deformconv.engines.native.library import loaded

AGGREGATE, AGGREGATE_GRADIENT, CONVOLVE, POINTS_GRADIENT, KERNEL_GRADIENT = range(5)  # as core/run.h counts them
TYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
ENOUGH = 1 << 13  # numbers read by the taps: with fewer there is nothing to win by waking other threads
ByPoints = tuple[Tensor, Tensor, Tensor]  # gradients by images, coordinates or offsets, weights


@functools.cache
def core() -> Callable:
    """The core, a C function. Its OpenMP binds to the pool of threads that PyTorch has loaded before."""
    return loaded("plain.cc", [], [], lambda path: ctypes.CDLL(str(path)).deformconv_run, optional=["-fopenmp"])


def _run(operation, numbers, inputs, shapes, outputs):
    """Runs an operation of the core, whose run.h tells the order of everything; `shapes` is what inputs must have."""
    given = [None if tensor is None else tensor.contiguous() for tensor in inputs]
    types = [given[0].dtype, in_sums(given[0].dtype)] + [given[0].dtype] * (len(given) - 2)
    for tensor, shape, dtype in zip(given, shapes, types, strict=False):
        if tensor is not None and (tensor.shape != shape or tensor.dtype != dtype):
            wanted = ", ".join(f"{dtype} {tuple(shape)}" for shape, dtype in zip(shapes, types, strict=False))
            raise ValueError(
                f"tensors do not fit together; wanted {wanted}, one of them is {tensor.dtype} {tuple(tensor.shape)}"
            )
    batch, channels, rows, taps = (numbers[i] for i in (0, 3, 4, 6))
    threads = torch.get_num_threads() if batch * rows * taps * channels > ENOUGH else 1
    core()(
        operation,
        TYPES[given[0].dtype],
        (ctypes.c_int64 * len(numbers))(*numbers),
        (ctypes.c_void_p * len(given))(*(None if tensor is None else tensor.data_ptr() for tensor in given)),
        (ctypes.c_void_p * len(outputs))(*(tensor.data_ptr() for tensor in outputs)),
        threads,
    )


def in_sums(dtype):
    """The type that sums, coordinates and offsets have."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _run_aggregate(operation, inputs, outputs):
    batch, height, width, channels = inputs[0].shape
    rows, groups, taps = inputs[1].shape[1:4]
    if channels % groups:
        raise ValueError(f"{groups} groups do not divide {channels} channels")
    numbers = [batch, height, width, channels, rows, groups, taps]
    points = (batch, rows, groups, taps)
    _run(operation, numbers, inputs, [inputs[0].shape, (*points, 2), points, (batch, rows, channels)], outputs)


def _run_convolve(operation, inputs, geometry, groups, offset_groups, outputs):
    batch, height, width, channels = inputs[0].shape
    kernel_height, kernel_width, _, filters = inputs[3].shape
    if channels % groups or filters % groups or channels % offset_groups:
        raise ValueError(f"{groups} groups or {offset_groups} offset groups do not divide {channels} channels")
    taps, pixels = kernel_height * kernel_width, (batch, *geometry[6:])
    points = offset_groups * taps
    kernel_shape = (kernel_height, kernel_width, channels // groups, filters)
    shapes = [inputs[0].shape, (*pixels, 2 * points), (*pixels, points), kernel_shape, (*pixels, filters)]
    sizes = [batch, height, width, channels, geometry[6] * geometry[7], offset_groups, taps, filters, groups]
    _run(operation, [*sizes, *geometry[:6], kernel_width, *geometry[6:]], inputs, shapes, outputs)


def _by_points(images, points, weights):
    """Room for the gradients by these."""
    by_weights = images.new_empty(0 if weights is None else weights.shape)
    return images.new_empty(images.shape), points.new_empty(points.shape), by_weights


def _values(images, coords, weights):
    return images.new_empty((images.shape[0], coords.shape[1], images.shape[3]))


def _outputs(images, offsets, weights, kernel, geometry, groups, offset_groups):
    return images.new_empty((images.shape[0], geometry[6], geometry[7], kernel.shape[3]))


@custom_op("deformconv::aggregate", mutates_args=(), device_types="cpu")
def aggregate(images: Tensor, coords: Tensor, weights: Tensor | None) -> Tensor:
    values = _values(images, coords, weights)
    _run_aggregate(AGGREGATE, [images, coords, weights], [values])
    return values


@custom_op("deformconv::aggregate_gradient", mutates_args=(), device_types="cpu")
def aggregate_gradient(images: Tensor, coords: Tensor, weights: Tensor | None, upstream: Tensor) -> ByPoints:
    gradients = _by_points(images, coords, weights)
    _run_aggregate(AGGREGATE_GRADIENT, [images, coords, weights, upstream], gradients)
    return gradients


@custom_op("deformconv::convolve", mutates_args=(), device_types="cpu")
def convolve(
    images: Tensor,
    offsets: Tensor,
    weights: Tensor | None,
    kernel: Tensor,
    geometry: Sequence[int],
    groups: int,
    offset_groups: int,
) -> Tensor:
    outputs = _outputs(images, offsets, weights, kernel, geometry, groups, offset_groups)
    _run_convolve(CONVOLVE, [images, offsets, weights, kernel], geometry, groups, offset_groups, [outputs])
    return outputs


# Two operators: with a frozen kernel nobody asks for the second, with a frozen rest nobody for the first.
@custom_op("deformconv::convolve_points_gradient", mutates_args=(), device_types="cpu")
def convolve_points_gradient(
    images: Tensor,
    offsets: Tensor,
    weights: Tensor | None,
    kernel: Tensor,
    upstream: Tensor,
    geometry: Sequence[int],
    groups: int,
    offset_groups: int,
) -> ByPoints:
    gradients = _by_points(images, offsets, weights)
    inputs = [images, offsets, weights, kernel, upstream]
    _run_convolve(POINTS_GRADIENT, inputs, geometry, groups, offset_groups, gradients)
    return gradients


@custom_op("deformconv::convolve_kernel_gradient", mutates_args=(), device_types="cpu")
def convolve_kernel_gradient(
    images: Tensor,
    offsets: Tensor,
    weights: Tensor | None,
    kernel: Tensor,
    upstream: Tensor,
    geometry: Sequence[int],
    groups: int,
    offset_groups: int,
) -> Tensor:
    gradient = kernel.new_empty(kernel.shape)
    inputs = [images, offsets, weights, kernel, upstream]
    _run_convolve(KERNEL_GRADIENT, inputs, geometry, groups, offset_groups, [gradient])
    return gradient


aggregate.register_fake(_values)
aggregate_gradient.register_fake(lambda images, coords, weights, upstream: _by_points(images, coords, weights))
convolve.register_fake(_outputs)
convolve_points_gradient.register_fake(lambda images, offsets, weights, *_: _by_points(images, offsets, weights))
convolve_kernel_gradient.register_fake(lambda images, offsets, weights, kernel, *_: kernel.new_empty(kernel.shape))
