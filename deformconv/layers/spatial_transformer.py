"""`SpatialTransformer`: one warp for the whole image, where deformable layers have one for each tap."""

from typing import Any, Self

import keras
from keras import ops

from deformconv import engines
from deformconv.arguments import pair
from deformconv.engines.precision import full_precision
from deformconv.layers.layout import MapLayer
from deformconv.layers.precision import at_least_float32, raise_to_float32
from deformconv.sampling import affine_grid, as_coordinates, bilinear_sample
from deformconv.types import Config, DataFormat, Outside, Pair, Shape, Tensor


@keras.saving.register_keras_serializable(package="deformconv")
class SpatialTransformer(MapLayer):
    """Warps each image by an affine map that it chooses itself (Jaderberg et al. 2015).

    A localisation network reads the image; a dense layer turns what it says into six numbers, which are added to the
    identity. That layer starts at zero, so the warp starts as the identity.

    Args:
        localisation: a Keras layer or model from images, as this layer gets them, to vectors, `(batch, features)`.
            Coordinates are made of what it says: where its layers would compute in half precision they are set to
            compute in float32, but for those that have weights of half precision already.
        output_size: int or pair, or None for the input's size: the output shows the same part of the image
            in as many pixels.
        padding: what lies outside the image: `"zeros"`, or `"edge"`, its border pixels for ever.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: `name`, `dtype`, `trainable`, and `frozen`: names of weights and inner layers that do not learn.

    Input shape:
        `(batch, height, width, channels)`; batch, height and width may be unknown if `localisation` allows it. With
        `"channels_first"` `(batch, channels, height, width)`.

    Output shape:
        `(batch, out_height, out_width, channels)`, or `(batch, channels, out_height, out_width)`.

    Attributes:
        transform: the dense layer. Of its six numbers the first three belong to y, the others to x: two rows of
            a matrix on `(y, x, 1)`, pixels from the centre, but the shifts are in halves of the image's size.

    Raises:
        ValueError: if `localisation` is no layer or does not give vectors, or an argument is not as above.

    Example:
        >>> localisation = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(8, activation="relu")])
        >>> images = np.random.default_rng(0).normal(size=(3, 5, 4, 2))
        >>> outputs = SpatialTransformer(localisation)(images)
        >>> bool(np.allclose(ops.convert_to_numpy(outputs), images, atol=1e-5))
        True
    """

    def __init__(
        self,
        localisation: keras.layers.Layer,
        output_size: Pair | None = None,
        padding: Outside = "zeros",
        data_format: DataFormat | None = None,
        **kwargs: Any,
    ):
        super().__init__(data_format, **kwargs)
        if not isinstance(localisation, keras.layers.Layer):
            received, slip = f"{localisation!r}", ""
            if isinstance(localisation, type):
                received, slip = f"the class {localisation.__name__}", f" Make one: {localisation.__name__}()."
            raise ValueError(f"`localisation` must be a Keras layer or model; received {received}.{slip}")
        if padding not in ("zeros", "edge"):
            raise ValueError(
                f'`padding` must be "zeros" or "edge"; received {padding!r}. '
                '"valid" and "same" are for convolutions: a warp keeps the size, or takes `output_size`.'
            )
        raise_to_float32(localisation)
        self.localisation = localisation
        self.output_size = None if output_size is None else pair("output_size", output_size)
        self.padding = padding
        self.supports_jit = engines.supports_jit()
        self.transform = keras.layers.Dense(
            6,
            kernel_initializer="zeros",
            bias_initializer="zeros",
            dtype=at_least_float32(self.dtype_policy),
            name="transform",
        )

    def build(self, input_shape: Shape) -> None:
        if not self.localisation.built:
            self.localisation.build(input_shape)
        features = self.localisation.compute_output_shape(input_shape)
        if len(features) != 2 or features[-1] is None:
            raise ValueError(
                f"`localisation` must give vectors of a known size, (batch, features); it gives shape {features} for "
                f"inputs of shape {tuple(input_shape)}. Is a Flatten or GlobalAveragePooling2D missing at its end?"
            )
        self.transform.build(features)
        self._freeze()

    def _inner_layers(self) -> list[keras.layers.Layer]:
        return [self.transform]  # `localisation` has a configuration of its own

    def call(self, inputs: Tensor) -> Tensor:
        maps = self._channels_last(inputs)
        size = ops.shape(maps)[1:3]
        out_size = self.output_size or size
        matrices = self.matrices(inputs)
        # From pixels of the output to pixels of the input; then between the two centres.
        size, out = (ops.cast(ops.stack(pixels), matrices.dtype) for pixels in (size, out_size))
        zoom = ops.concatenate([size / out, ops.ones((1,), matrices.dtype)])
        coords = affine_grid(matrices * zoom, *out_size) + (size - out) / 2
        return self._turned(bilinear_sample(maps, coords, padding=self.padding))

    def matrices(self, inputs: Tensor) -> Tensor:
        """The warp chosen for each image, `(batch, 2, 3)`: where a pixel at `(y, x, 1)` from the centre looks.

        Example:
            >>> matrices = SpatialTransformer(keras.layers.Flatten()).matrices(np.ones((1, 5, 4, 2)))
            >>> ops.convert_to_numpy(matrices)[0].tolist()
            [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
        """
        maps = self._channels_last(inputs)
        with full_precision(maps):
            said = as_coordinates(self.transform(self.localisation(inputs)))
        halves = ops.cast(ops.stack(ops.shape(maps)[1:3]), said.dtype) / 2
        units = ops.concatenate([ops.ones((2, 2), said.dtype), halves[:, None]], axis=1)
        return ops.eye(2, 3, dtype=said.dtype) + ops.reshape(said, (-1, 2, 3)) * units

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, *size, channels = self._shape_channels_last(input_shape)
        return self._shape_turned((batch, *(self.output_size or size), channels))

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "localisation": keras.saving.serialize_keras_object(self.localisation),
            "output_size": self.output_size,
            "padding": self.padding,
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        localisation = keras.saving.deserialize_keras_object(config["localisation"])
        return super().from_config({**config, "localisation": localisation})
