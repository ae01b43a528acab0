"""`DeformableRoIPooling2D`: RoI pooling that learns where each bin of a box looks."""

import math
from typing import Any

import keras
from keras import ops

from deformconv import engines
from deformconv.arguments import check_boxes, check_count, pair
from deformconv.engines.precision import full_precision
from deformconv.layers.layout import MapLayer
from deformconv.layers.precision import at_least_float32
from deformconv.operators import deform_roi_pool2d
from deformconv.types import Config, DataFormat, Pair, Shape, Tensor


@keras.saving.register_keras_serializable(package="deformconv")
class DeformableRoIPooling2D(MapLayer):
    """Deformable RoI pooling (Dai et al. 2017, section 2.2); with `modulated=True` that of Zhu et al. 2019.

    The boxes are first pooled as they are; dense layers read the result and say how far each bin moves, as a
    fraction of its box's size. The last of them starts at zero, so the layer starts as RoIAlign, and learns its offsets
    by backpropagation. Boxes and offsets are float32 at least, whatever the layer's policy.

    Args:
        output_size: int or pair: bins of a box, down and across.
        modulated: whether each bin is also weighed by a learned factor, `2 * sigmoid`, which starts at 1.
        offset_units: sizes of dense ReLU layers before the one that makes the offsets: none in the first
            paper, `(1024, 1024)` in the second.
        sampling_ratio: points in each bin, along either axis.
        offset_scale: the papers' gamma, the factor between what the dense layer says and the fraction.
        spatial_scale: size of the map over that of the image in whose pixels the boxes are, such as 1 / 16.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting: where the maps have channels.
        **kwargs: `name`, `dtype`, `trainable`, and `frozen`: names of weights and inner layers that do not learn.

    Call arguments:
        inputs: `(batch, height, width, channels)`; batch, height and width may be unknown. With `"channels_first"`
            `(batch, channels, height, width)`.
        boxes: `(batch, boxes, 4)`, edges `(y1, x1, y2, x2)`; the whole image is `(0, 0, h, w)`. A layer or model of
            your own that passes them on needs `autocast=False`: with a mixed policy Keras would round them there.

    Output shape:
        `(batch, boxes, out_height, out_width, channels)`, or `(batch, boxes, channels, out_height, out_width)`.

    Raises:
        ValueError: if an argument or a shape is not as above.

    Example:
        >>> layer = DeformableRoIPooling2D((3, 2), modulated=True)
        >>> tuple(layer(np.zeros((2, 5, 4, 6)), np.zeros((2, 7, 4))).shape)
        (2, 7, 3, 2, 6)
    """

    def __init__(
        self,
        output_size: Pair,
        modulated: bool = False,
        offset_units: tuple[int, ...] = (),
        sampling_ratio: int = 2,
        offset_scale: float = 0.1,
        spatial_scale: float = 1.0,
        data_format: DataFormat | None = None,
        **kwargs: Any,
    ):
        super().__init__(data_format, **kwargs)
        self.autocast = False  # the boxes would be rounded as well: `_prepared` casts the maps
        self.output_size = pair("output_size", output_size)
        self.modulated = modulated
        self.offset_units = tuple(offset_units)
        self.sampling_ratio = sampling_ratio
        check_count("sampling_ratio", sampling_ratio, ' 0 means "by the size of the box" elsewhere; not here.')
        self.offset_scale = offset_scale
        self.spatial_scale = spatial_scale
        self.supports_jit = engines.supports_jit()
        precise = at_least_float32(self.dtype_policy)
        self.offset_layers = [
            keras.layers.Dense(units, activation="relu", dtype=precise, name=f"offset_dense_{i}")
            for i, units in enumerate(self.offset_units)
        ]
        self.offset_layers.append(
            keras.layers.Dense(
                math.prod(self.output_size) * (3 if modulated else 2),
                kernel_initializer="zeros",
                bias_initializer="zeros",
                dtype=precise,
                name="offset_dense",
            )
        )

    def build(self, inputs_shape: Shape, boxes_shape: Shape) -> None:
        shape = (*boxes_shape[:2], math.prod(self.output_size) * self._known_channels(inputs_shape))
        for layer in self.offset_layers:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self._freeze()

    def call(self, inputs: Tensor, boxes: Tensor) -> Tensor:
        # By the public method, which a subclass may have of its own.
        offsets, mask = self.offsets_and_mask(inputs, boxes)
        return self._turned(self._pool(*self._prepared(inputs, boxes), offsets, mask))

    def offsets_and_mask(self, inputs: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor | None]:
        """The offsets that the layer gives to these boxes, before `offset_scale`, and the mask or None.

        Offsets `(batch, boxes, out_height, out_width, 2)`, mask `(batch, boxes, out_height, out_width)`.

        Example:
            >>> layer = DeformableRoIPooling2D((3, 2))
            >>> offsets, mask = layer.offsets_and_mask(np.ones((1, 5, 4, 6)), np.array([[[0, 0, 4, 4]]]))
            >>> tuple(offsets.shape), mask
            ((1, 1, 3, 2, 2), None)
        """
        maps, boxes = self._prepared(inputs, boxes)
        made = self._pool(maps, boxes)
        batch, number = ops.shape(boxes)[:2]
        made = ops.reshape(made, (batch, number, math.prod(self.output_size) * maps.shape[-1]))
        with full_precision(made):
            for layer in self.offset_layers:
                made = layer(made)
        made = ops.reshape(made, (batch, number, *self.output_size, 3 if self.modulated else 2))
        return made[..., :2], 2 * ops.sigmoid(made[..., 2]) if self.modulated else None

    def _prepared(self, inputs: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Maps, channels last and in the layer's type, and boxes, in that of coordinates."""
        maps, boxes = self._channels_last(inputs), ops.convert_to_tensor(boxes)
        check_boxes(maps, boxes)
        precise = "float64" if self.compute_dtype == "float64" else "float32"
        return ops.cast(maps, self.compute_dtype), ops.cast(boxes, precise)

    def _pool(self, inputs: Tensor, boxes: Tensor, offsets: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        return deform_roi_pool2d(
            inputs,
            boxes,
            offsets,
            output_size=self.output_size,
            mask=mask,
            sampling_ratio=self.sampling_ratio,
            offset_scale=self.offset_scale,
            spatial_scale=self.spatial_scale,
        )

    def compute_output_shape(self, inputs_shape: Shape, boxes_shape: Shape) -> Shape:
        return self._shape_turned((*boxes_shape[:2], *self.output_size, inputs_shape[self._channel_axis]))

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "output_size": self.output_size,
            "modulated": self.modulated,
            "offset_units": self.offset_units,
            "sampling_ratio": self.sampling_ratio,
            "offset_scale": self.offset_scale,
            "spatial_scale": self.spatial_scale,
        }
