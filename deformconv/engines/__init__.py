"""The three primitives, once per engine.

    sample(images, coords)                       # (b, h, w, c), (b, n, 2) or (b, n, groups, 2) -> (b, n, c)
    aggregate(images, coords, weights)           # (b, n, groups, taps, 2), (b, n, groups, taps) -> (b, n, c)
    convolve(inputs, offsets, kernel, *, ...)    # the deformable convolution of checked arguments

Values of images between the pixels: bilinear, zero outside, with the gradients that `reference` defines.
Engines know nothing of the rest of the package; everything above them calls these three.
"""

import warnings
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import keras

from deformconv.engines import columns, exporting, grouped, portable, switches
from deformconv.types import Tensor


def sample(images: Tensor, coords: Tensor) -> Tensor:
    """Values at points: `images` `(b, h, w, c)`, `coords` `(b, n, 2)` in `(y, x)` -> `(b, n, c)`.

    With `coords` `(b, n, groups, 2)` each group of channels is read at points of its own.
    """
    return _engine(images).sample(images, coords)


def aggregate(images: Tensor, coords: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of what points read: `(b, n, c)`.

    Args:
        images: `(b, h, w, c)`.
        coords: `(b, n, groups, taps, 2)` in `(y, x)`: each group of channels has points of its own.
        weights: `(b, n, groups, taps)`.
    """
    return _engine(images).aggregate(images, coords, weights)


def convolve(inputs: Tensor, offsets: Tensor, kernel: Tensor, **options: Any) -> Tensor:
    """The deformable convolution of checked arguments.

    Args:
        inputs, offsets, kernel: as `deform_conv2d` has them.
        **options: `mask` and `bias`, tensors or None; `strides`, `dilation_rate`, the zeros before the inputs
            `pads` and the output's `out_size`, pairs `(y, x)` of ints, the latter two of tensors where only the
            running graph knows them; `groups` and `offset_groups`, ints.

    Returns:
        Tensor `(b, h', w', filters)`.
    """
    return _engine(inputs).convolve(inputs, offsets, kernel, **options)


class _Engine(NamedTuple):
    sample: Callable[..., Tensor]
    aggregate: Callable[..., Tensor]
    convolve: Callable[..., Tensor]


def _made_of(sampler: Callable[..., Tensor]) -> _Engine:
    """An engine around what reads whole images at points."""
    return _Engine(*(partial(made, sampler) for made in (grouped.sample, grouped.aggregate, columns.convolve)))


def _engine(images: Tensor) -> Any:
    """The engine for these images, here and now."""
    portably = _made_of(portable.sample)
    recorder, stock_only = switches.here()
    if recorder is not None:
        return portably._replace(convolve=recorder)
    if exporting.leaving():  # of gathers alone: what runs such files elsewhere may read `crop_and_resize` otherwise
        return portably
    within_xla = switches.within_xla()
    native = None
    if not stock_only:
        from deformconv.engines.native import kernels

        native = kernels()
    if native is not None and native.serves(images):
        if not within_xla:
            return native
        if _only_cpus():
            _warn_of_xla()
    if keras.backend.backend() != "tensorflow" or within_xla:
        return portably
    if keras.backend.standardize_dtype(images.dtype) == "float64":  # the stock kernel would compute in float32
        return portably
    from deformconv.engines import tensorflow

    return _made_of(tensorflow.sample)


def supports_jit() -> bool:
    """What layers tell Keras by the attribute of that name: whether its compiler may take them in.

    Not on TensorFlow: XLA can call neither the native kernels there nor the stock one, and what it makes of the
    portable engine is slower. On JAX and PyTorch compiled programs call the kernels.
    """
    return keras.backend.backend() != "tensorflow"


def _only_cpus() -> bool:
    """Whether TensorFlow has no other device: a TPU takes nothing but XLA's programs."""
    import tensorflow as tf

    return all(device.device_type == "CPU" for device in tf.config.list_logical_devices())


@cache  # once for a process: each layer, and each retracing, would say the same
def _warn_of_xla() -> None:
    warnings.warn(
        "`jit_compile=True` makes deformconv two to six times as slow on a CPU: XLA cannot call its compiled kernels. "
        'Leave `jit_compile` out, or at "auto".',
        stacklevel=2,
    )
