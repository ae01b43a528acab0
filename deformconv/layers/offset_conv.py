"""The convolution that says where a deformable layer looks: what sets it apart from any other convolution."""

from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from deformconv.arguments import check_padding, output_size
from deformconv.engines.empty import of_any_batch
from deformconv.engines.precision import full_precision
from deformconv.layers.precision import at_least_float32
from deformconv.types import Padding, Tensor


class OffsetConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` for offsets: it starts at zero, and differs in four ways.

    - It computes in float32 at least, whatever the policy and PyTorch's autocast say, and channels last.
    - It takes explicit padding, and strides together with dilation, as the deformable convolution does.
    - Its weights may learn at a rate of their own (`lr_multiplier`).
    - Its initial weights are zero: no offset, and a mask of one.

    `lr_multiplier` works under any optimizer that treats each weight alone (SGD, Adam, ...), with no help from it.
    The weights in use are `m` times those stored, while the gradient passes as if they were the same. So a
    step changes the stored weights as ever, and those in use by `m` times as much.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: tuple[int, int],
        strides: tuple[int, int],
        padding: Padding,
        dilation_rate: tuple[int, int],
        lr_multiplier: float,
        dtype_policy: keras.DTypePolicy,
        name: str,
    ):
        self._thinned = max(strides) > 1 and max(dilation_rate) > 1
        super().__init__(
            filters,
            kernel_size,
            # Keras refuses strides with dilation: then each pixel is computed and every so many kept.
            strides=1 if self._thinned else strides,
            padding=padding if padding in ("valid", "same") else "valid",
            dilation_rate=dilation_rate,
            data_format="channels_last",
            kernel_initializer="zeros",
            bias_initializer="zeros",
            dtype=at_least_float32(dtype_policy),
            name=name,
        )
        self._pads = None if padding in ("valid", "same") else check_padding(padding)
        self._steps = strides
        self.lr_multiplier = lr_multiplier

    def call(self, inputs: Tensor) -> Tensor:
        if self._pads:
            inputs = ops.pad(inputs, ((0, 0), *self._pads, (0, 0)))
        with full_precision(inputs):
            outputs = of_any_batch(self._convolve, inputs)
        return outputs[:, *self._kept(ops.shape(inputs)[1:3])] if self._thinned else outputs

    def _convolve(self, inputs: Tensor) -> Tensor:
        return self.convolution_op(inputs, self._in_use(self.kernel)) + self._in_use(self.bias)

    def _in_use(self, weight: keras.Variable) -> Tensor:
        if self.lr_multiplier == 1:
            return ops.convert_to_tensor(weight)
        return weight + ops.stop_gradient((self.lr_multiplier - 1) * weight)

    def _kept(self, size: Any) -> Iterator[slice]:
        """Of the pixels that stride 1 gives, those that the strides ask for: a slice for each axis."""
        for *axis, step in zip(size, self.kernel_size, self.dilation_rate, self._steps, strict=True):
            length, taps, rate = axis
            (_, dense_pad), (out, pad) = (output_size(length, taps, s, rate, self.padding) for s in (1, step))
            first = dense_pad - pad
            yield slice(first, first + (out - 1) * step + 1, step)
