"""Where a layer's maps have their channels: Keras's `data_format`, in one way for every layer of the package.

All is computed channels last. A layer whose maps are channels first turns them as they come in and go out, so it runs
everywhere: TensorFlow's own convolutions refuse that order on a CPU.
"""

from typing import Any, Self

import keras
from keras import ops

from deformconv.arguments import check_rank
from deformconv.layers.freezing import KeepsFrozen
from deformconv.types import Config, DataFormat, Shape, Tensor


class MapLayer(KeepsFrozen):
    """Base of the layers: they read maps. All is computed channels last, and `_turned` at the end."""

    def __init__(self, data_format: DataFormat | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if data_format is None:
            data_format = keras.config.image_data_format()
        if data_format not in ("channels_last", "channels_first"):
            slips = {"NHWC": ' It is "channels_last" here.', "NCHW": ' It is "channels_first" here.'}
            raise ValueError(
                '`data_format` must be "channels_last", "channels_first", or None for Keras\'s setting; '
                f"received {data_format!r}.{slips.get(data_format, '')}"
            )
        self.data_format = data_format

    @property
    def _channel_axis(self) -> int:
        return 1 if self.data_format == "channels_first" else -1

    @property
    def _named_axis(self) -> str:
        """The channels' axis, for messages."""
        return "second" if self.data_format == "channels_first" else "last"

    def _channels_last(self, maps: Tensor) -> Tensor:
        """The layer's input, channels last."""
        maps = ops.convert_to_tensor(maps)
        if self.data_format == "channels_last":
            check_rank("inputs", maps, "(batch, height, width, channels)")
            return maps
        check_rank("inputs", maps, "(batch, channels, height, width)")
        return ops.moveaxis(maps, 1, -1)

    def _turned(self, maps: Tensor) -> Tensor:
        """Maps `(..., height, width, channels)` as the layer is to return them."""
        return maps if self.data_format == "channels_last" else ops.moveaxis(maps, -1, -3)

    def _shape_channels_last(self, shape: Shape) -> Shape:
        """As `_channels_last`, of a shape."""
        return tuple(shape) if self.data_format == "channels_last" else (shape[0], *shape[2:], shape[1])

    def _shape_turned(self, shape: Shape) -> Shape:
        """As `_turned`, of a shape."""
        return tuple(shape) if self.data_format == "channels_last" else (*shape[:-3], shape[-1], *shape[-3:-1])

    def _known_channels(self, shape: Shape) -> int:
        """How many channels an input of this shape has."""
        channels = shape[self._channel_axis]
        if channels is None:
            raise ValueError(
                f"The {self._named_axis} axis of the input, its channels, must be known; received shape "
                f"{tuple(shape)}. Give it in keras.Input: only batch, height and width may be None."
            )
        return channels

    def get_config(self) -> Config:
        return {**super().get_config(), "data_format": self.data_format}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        # A file from before there was a choice is channels last, whatever Keras's setting is today.
        return super().from_config({"data_format": "channels_last", **config})


def check_channels_last(model: keras.Model, reader: str) -> None:
    """Refuses a model whose maps are channels first, on behalf of `reader`, which could not tell."""
    for layer in model._flatten_layers():
        own = getattr(layer, "data_format", None)
        if own == "channels_first" and not isinstance(layer, keras.layers.Flatten):  # whose order is anybody's
            raise ValueError(
                f"{reader} needs a model with channels last; layer {layer.name!r} has data_format='channels_first'. "
                "Build the model again with data_format='channels_last': its weights have the same shapes."
            )
