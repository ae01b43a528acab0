"""The kernels on JAX: its custom calls, for whatever `jax_primitives` makes of them."""

import ctypes
import functools
import itertools
from dataclasses import dataclass

import jax
import jaxlib
import numpy as np
from jax import numpy as jnp

from deformconv.engines import columns, grouped, portable
from deformconv.engines.native.jax_primitives import value
from deformconv.engines.native.library import Unavailable, loaded

HANDLER = "deformconv_handler"
TYPES = ("float32", "float64", "bfloat16", "float16")


@functools.cache
def prepare():
    """Makes XLA know the compiled kernels."""
    if jax.default_backend() != "cpu":
        raise Unavailable(f"JAX uses a {jax.default_backend().upper()}")
    flags = ["-isystem", jax.ffi.include_dir()]
    library = loaded("jax.cc", [jax.__version__, jaxlib.__version__], flags, lambda path: ctypes.CDLL(str(path)))
    jax.ffi.register_ffi_target(HANDLER, jax.ffi.pycapsule(getattr(library, HANDLER)), platform="cpu")
    return library


def serves(images):
    """Whether the kernels take such images: sizes that `jax.export` left open are not for them."""
    return images.dtype in TYPES and all(isinstance(size, int) for size in images.shape) and images.shape[-1] > 0


def sample(images, coords):
    """Values at points, as `engines.sample`."""
    if len(coords.shape) == 3:
        coords = coords[:, :, None]
    return aggregate(images, coords[:, :, :, None], None)


def aggregate(images, coords, weights):
    """The weighted sum of what points read, as `engines.aggregate`; without weights, there is one tap."""
    weights = () if weights is None else (weights,)
    return value(Aggregation(bool(weights)), *_alike(images, coords, *weights))


def convolve(inputs, offsets, kernel, *, mask, bias, strides, pads, out_size, dilation_rate, groups, offset_groups):
    """The deformable convolution of checked arguments, as `engines.convolve`."""
    pairs = (tuple(int(n) for n in pair) for pair in (strides, pads, dilation_rate, out_size))
    operation = Convolution(mask is not None, *pairs, groups, offset_groups)
    weights = () if mask is None else (mask,)
    outputs = value(operation, *_alike(inputs, offsets, *weights, kernel))
    return outputs if bias is None else outputs + bias


def _alike(images, coords, *others):
    """Tensors in the types that the kernels take: coordinates in the type of sums, all others in the images'."""
    images = jnp.asarray(images)
    coords = jnp.asarray(coords, jnp.float64 if images.dtype == jnp.float64 else jnp.float32)
    return images, coords, *(jnp.asarray(other, images.dtype) for other in others)


def _call(op, results, tensors, weighted, numbers):
    """The operation `op` of the core, numbered as in `core/run.h`."""
    numbers = np.array([int(number) for number in numbers])
    return jax.ffi.ffi_call(HANDLER, results)(*tensors, op=np.int32(op), weighted=weighted, numbers=numbers)


def _like(tensor, shape=None):
    return jax.ShapeDtypeStruct(tensor.shape if shape is None else shape, tensor.dtype)


def _check(fit, *tensors):
    """The kernels look no further: memory that is not theirs lies beyond what does not fit."""
    if not fit:
        raise ValueError(f"tensors of {', '.join(str(tuple(t.shape)) for t in tensors)} do not fit together")


@dataclass(frozen=True)
class Aggregation:
    """The weighted sum at points. Tensors: images, coords and, if `weighted`, weights."""

    weighted: bool

    @property
    def batched(self):
        return (True,) * (2 + self.weighted)

    @property
    def kernels(self):
        return (tuple(range(2 + self.weighted)),)

    def shape(self, images, coords, *weights):
        batch, points, groups, taps, _ = coords.shape
        _check(
            images.shape[0] == batch
            and coords.shape[4] == 2
            and images.shape[3] % groups == 0
            and all(w.shape == coords.shape[:4] for w in weights)
            and (self.weighted or taps == 1),
            images,
            coords,
            *weights,
        )
        return batch, points, images.shape[3]

    def portably(self, images, coords, *weights):
        if self.weighted:
            return grouped.aggregate(portable.sample, images, coords, *weights)
        return grouped.sample(portable.sample, images, coords[:, :, :, 0])

    def _numbers(self, images, coords):
        return *images.shape, *coords.shape[1:4]

    def natively(self, *tensors):
        values = [_like(tensors[0], self.shape(*tensors))]
        return _call(0, values, tensors, self.weighted, self._numbers(*tensors[:2]))

    def gradients(self, *tensors, by):
        return _call(1, [_like(tensors[i]) for i in by], tensors, self.weighted, self._numbers(*tensors[:2]))


@dataclass(frozen=True)
class Convolution:
    """The convolution. Tensors: images, offsets, if `weighted` weights, and the kernel."""

    weighted: bool
    strides: tuple
    pads: tuple
    dilation_rate: tuple
    out_size: tuple
    groups: int
    offset_groups: int

    @property
    def batched(self):
        return (True,) * (2 + self.weighted) + (False,)

    @property
    def kernels(self):
        """Two: with a frozen kernel nobody asks for the second."""
        return tuple(range(2 + self.weighted)), (2 + self.weighted,)

    def shape(self, images, offsets, *weights_and_kernel):
        *weights, kernel = weights_and_kernel
        of_points = (images.shape[0], *self.out_size, self.offset_groups * kernel.shape[0] * kernel.shape[1])
        _check(
            (*offsets.shape[:3], offsets.shape[3] / 2) == of_points
            and all(w.shape == of_points for w in weights)
            and images.shape[3] % self.offset_groups == 0
            and images.shape[3] == kernel.shape[2] * self.groups
            and kernel.shape[3] % self.groups == 0,
            images,
            offsets,
            *weights_and_kernel,
        )
        return images.shape[0], *self.out_size, kernel.shape[3]

    def portably(self, images, offsets, *weights_and_kernel):
        return columns.convolve(
            portable.sample,
            images,
            offsets,
            weights_and_kernel[-1],
            mask=weights_and_kernel[0] if self.weighted else None,
            bias=None,
            strides=self.strides,
            pads=self.pads,
            out_size=self.out_size,
            dilation_rate=self.dilation_rate,
            groups=self.groups,
            offset_groups=self.offset_groups,
        )

    def _numbers(self, images, kernel):
        height, width, _, filters = kernel.shape
        points = self.out_size[0] * self.out_size[1], self.offset_groups, height * width
        geometry = *itertools.chain(self.strides, self.pads, self.dilation_rate), width, *self.out_size
        return *images.shape, *points, filters, self.groups, *geometry

    def natively(self, *tensors):
        outputs = [_like(tensors[0], self.shape(*tensors))]
        return _call(2, outputs, tensors, self.weighted, self._numbers(tensors[0], tensors[-1]))

    def gradients(self, *tensors, by):
        op = 3 if by == self.kernels[0] else 4
        return _call(
            op, [_like(tensors[i]) for i in by], tensors, self.weighted, self._numbers(tensors[0], tensors[-2])
        )
