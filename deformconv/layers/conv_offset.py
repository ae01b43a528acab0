"""`ConvOffset2D`: a dense flow per channel, the 2017 Keras design; and that design as it was shipped, for study."""

from typing import Any, Literal

import keras
from keras import ops

from deformconv import engines
from deformconv.engines.empty import of_any_batch
from deformconv.engines.fused import fused
from deformconv.engines.precision import full_precision
from deformconv.layers.layout import MapLayer
from deformconv.layers.precision import at_least_float32
from deformconv.sampling import as_coordinates
from deformconv.types import Config, DataFormat, Identifier, Shape, Tensor


@keras.saving.register_keras_serializable(package="deformconv")
class ConvOffset2D(MapLayer):
    """Moves every pixel of every channel by a learned offset; put it in front of a convolution.

    A bias-free 3 x 3 convolution, in float32 at least, makes two channels for each input channel: how far from its
    place each pixel of that channel is read. All taps of the convolution that follows share the pixel's offset; in
    `DeformableConv2D` each tap has its own and the channels share them.

    Args:
        layout: `"paired"`: channels `2c` and `2c + 1` of the offsets are the `(y, x)` of channel `c`, the sampler's
            neighbours are `floor` and `floor + 1`, and the border rule is the package's (zero outside).
            `"2017"`: as the 2017 repository shipped it. Its reshape scrambles the offsets over the image, its
            sampler's neighbours are `floor` and `ceil`, which makes the gradient of zero offsets exactly zero, and it
            clips coordinates by the height on both axes. Square inputs only. For study.
        kernel_initializer: of the offset convolution.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: `name`, `dtype`, `trainable`, and `frozen`: names of weights and inner layers that do not learn.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)`.

    Output shape:
        The input's.

    Raises:
        ValueError: if `layout` is unknown, or the input is not square with `layout="2017"`.

    Example:
        >>> tuple(ConvOffset2D()(np.zeros((3, 5, 4, 2))).shape)
        (3, 5, 4, 2)
    """

    def __init__(
        self,
        layout: Literal["paired", "2017"] = "paired",
        kernel_initializer: Identifier = "zeros",
        data_format: DataFormat | None = None,
        **kwargs: Any,
    ):
        super().__init__(data_format, **kwargs)
        if layout not in ("paired", "2017"):
            raise ValueError(f'`layout` must be "paired" or "2017"; received {layout!r}.')
        self.layout = layout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.input_spec = keras.layers.InputSpec(ndim=4)
        self.supports_jit = layout == "2017" or engines.supports_jit()

    def build(self, input_shape: Shape) -> None:
        channels = self._known_channels(input_shape)
        _, height, width, _ = maps_shape = self._shape_channels_last(input_shape)
        if self.layout == "2017" and (height is None or height != width):
            raise ValueError(
                f'layout="2017" clips both axes by the height and so takes square inputs only; '
                f"received shape {tuple(input_shape)}."
            )
        self.offset_conv = keras.layers.Conv2D(
            2 * channels,
            3,
            padding="same",
            use_bias=False,
            data_format="channels_last",
            kernel_initializer=self.kernel_initializer,
            dtype=at_least_float32(self.dtype_policy),
            name="offset_conv",
        )
        self.offset_conv.build(maps_shape)
        self._freeze()

    def call(self, inputs: Tensor) -> Tensor:
        return self._turned(self._moved(self._channels_last(inputs)))

    def _moved(self, inputs: Tensor) -> Tensor:
        batch, height, width, channels = ops.shape(inputs)
        with full_precision(inputs):
            made = as_coordinates(of_any_batch(self.offset_conv, inputs))
        if self.layout == "2017":
            # (b, h, w, 2c) -> (b, 2c, h, w) -> (b * c, h, w, 2): the 2017 reshape, which pairs neighbours on a
            # row of one channel instead of one pixel's y and x.
            offsets = ops.reshape(ops.transpose(made, (0, 3, 1, 2)), (-1, height, width, 2))
            flat = ops.reshape(ops.transpose(inputs, (0, 3, 1, 2)), (-1, height, width, 1))
            warped = fused(ceil_sample)(flat, pixel_grid(height, width, offsets.dtype) + offsets)
            return ops.transpose(ops.reshape(warped, (batch, channels, height, width)), (0, 2, 3, 1))
        coords = made + ops.tile(pixel_grid(height, width, made.dtype), (1, 1, channels))
        warped = engines.sample(inputs, ops.reshape(coords, (batch, height * width, channels, 2)))
        return ops.reshape(warped, (batch, height, width, channels))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "layout": self.layout,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def pixel_grid(height: Tensor, width: Tensor, dtype: Any = "float32") -> Tensor:
    """The coordinates of the pixels themselves: `(height, width, 2)`."""
    rows, columns = ops.meshgrid(ops.arange(height, dtype=dtype), ops.arange(width, dtype=dtype), indexing="ij")
    return ops.stack([rows, columns], axis=-1)


def ceil_sample(images: Tensor, coords: Tensor) -> Tensor:
    """The 2017 sampler, for study: bilinear between `floor` and `ceil`, so blind at integer coordinates.

    `images` `(b, h, w, 1)`, `coords` `(b, h, w, 2)` -> `(b, h, w, 1)`. At an integer coordinate floor equals
    ceil, so the two neighbours are the same pixel and the derivative by the coordinate is exactly zero.
    """
    batch, height, width, _ = ops.shape(images)
    # 2017 clipped both axes by the height.
    y, x = ops.clip(coords[..., 0], 0, height - 1), ops.clip(coords[..., 1], 0, height - 1)
    top, left = ops.floor(y), ops.floor(x)
    fy, fx = ops.cast(y - top, images.dtype), ops.cast(x - left, images.dtype)

    # The four pixels of each cell side by side, so that a point costs one look-up: (b * h * w, 4).
    padded = ops.pad(images[..., 0], ((0, 0), (0, 1), (0, 1)))
    shifted = padded[:, :-1, :-1], padded[:, :-1, 1:], padded[:, 1:, :-1], padded[:, 1:, 1:]
    cells = ops.reshape(ops.stack(shifted, axis=-1), (-1, 4))
    first_cell = ops.arange(batch, dtype="int32")[:, None, None] * (height * width)
    cell = first_cell + ops.cast(top, "int32") * width + ops.cast(left, "int32")
    # The reshape is for an empty batch alone, whose shape JAX loses.
    values = ops.reshape(ops.take(cells, cell, axis=0), (*ops.shape(cell), 4))

    # ceil is floor + 1, except on the grid, where it is floor: this is the trap.
    top_left, bottom_left = values[..., 0], values[..., 2]
    top_right = ops.where(fx > 0, values[..., 1], top_left)
    bottom_right = ops.where(fx > 0, values[..., 3], bottom_left)
    upper = top_left + (top_right - top_left) * fx
    lower = ops.where(fy > 0, bottom_left + (bottom_right - bottom_left) * fx, upper)
    return (upper + (lower - upper) * fy)[..., None]
