"""`DeformableConv2D`: a convolution that learns where to look."""

import math
from typing import Any, Self

import keras
from keras import ops

from deformconv import engines
from deformconv.arguments import check_count, check_padding, divisors, output_size, pair
from deformconv.layers.inside import own_weights, set_trainable
from deformconv.layers.layout import MapLayer
from deformconv.layers.offset_conv import OffsetConv2D
from deformconv.operators import deform_conv2d
from deformconv.types import Config, DataFormat, Identifier, Padding, Pair, Shape, Tensor


@keras.saving.register_keras_serializable(package="deformconv")
class DeformableConv2D(MapLayer):
    """Deformable 2D convolution (Dai et al. 2017); with `modulated=True` its second version (Zhu et al. 2019).

    A small convolution of the same kernel size, strides and dilation reads the input and says, for each output pixel
    and each tap of the kernel, how far from its place in the grid the tap looks. It starts at zero, so the layer
    starts as the plain convolution with the same kernel, and learns its offsets by backpropagation.

    Args:
        filters: number of output channels.
        kernel_size: int or pair `(height, width)`.
        strides: int or pair.
        padding: `"valid"`, `"same"`, an int, or `((top, bottom), (left, right))`.
        dilation_rate: int or pair.
        groups: number of groups that channels and filters are split into.
        offset_groups: number of groups of input channels, each with sampling points of its own.
        modulated: whether each tap is also weighed by a learned factor, `2 * sigmoid`, which starts at 1.
        offset_lr_multiplier: how fast `offset_conv` learns beside the rest. The papers take 0.1 in deep
            pretrained networks. It holds under any optimizer that treats each weight alone; the offsets in use are
            those of the stored weights times this factor.
        max_offset: None, or a bound in pixels of the input that offsets approach and do not pass, in y and in x:
            `max_offset * tanh(offset / max_offset)`. Near zero that is the offset itself, so the layer starts and
            learns as without a bound. Cut off sharply, an offset beyond the bound would have no gradient and stay there
            for good; this one is called back as long as it is not many bounds away.
        activation, use_bias, kernel_initializer, bias_initializer: as in `keras.layers.Conv2D`.
        kernel_regularizer, bias_regularizer, activity_regularizer: likewise.
        kernel_constraint, bias_constraint: likewise.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: `name`, `dtype`, `trainable`, and `frozen`: names of weights and inner layers that do not learn.

    Input shape:
        `(batch, height, width, channels)`; batch, height and width may be unknown. With `"channels_first"`
        `(batch, channels, height, width)`.

    Output shape:
        `(batch, out_height, out_width, filters)`, or `(batch, filters, out_height, out_width)`: sized as
        `keras.layers.Conv2D`'s.

    Attributes:
        kernel, bias: the convolution's own weights.
        offset_conv: the convolution that makes the offsets (and the mask, on its last channels).

    Raises:
        ValueError: if an argument or the input's shape is not as above.

    Example:
        >>> layer = DeformableConv2D(6, (3, 2), strides=(2, 1), padding="same")
        >>> tuple(layer(np.zeros((3, 5, 4, 2))).shape)
        (3, 3, 4, 6)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Pair,
        strides: Pair = 1,
        padding: Padding = "valid",
        dilation_rate: Pair = 1,
        groups: int = 1,
        offset_groups: int = 1,
        modulated: bool = False,
        offset_lr_multiplier: float = 1.0,
        max_offset: float | None = None,
        activation: Identifier = None,
        use_bias: bool = True,
        kernel_initializer: Identifier = "glorot_uniform",
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        data_format: DataFormat | None = None,
        **kwargs: Any,
    ):
        super().__init__(data_format, activity_regularizer=activity_regularizer, **kwargs)
        self.filters = filters
        self.kernel_size = pair("kernel_size", kernel_size)
        self.strides = pair("strides", strides)
        self._pads = check_padding(padding)
        self.padding = padding
        self.dilation_rate = pair("dilation_rate", dilation_rate)
        self.groups = groups
        self.offset_groups = offset_groups
        self.modulated = modulated
        self.offset_lr_multiplier = offset_lr_multiplier
        self.max_offset = max_offset
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        check_count("filters", filters)
        check_count("groups", groups, " That is one group of all channels.")
        check_count("offset_groups", offset_groups, " Then all channels share their sampling points.")
        if filters % groups:
            raise ValueError(
                f"`groups` must divide `filters`; received groups={groups}, filters={filters}. "
                "Each group makes as many filters as the next."
            )
        if not (isinstance(offset_lr_multiplier, (int, float)) and offset_lr_multiplier > 0):
            raise ValueError(
                f"`offset_lr_multiplier` must be a number > 0; received {offset_lr_multiplier!r}. "
                "To keep the offsets from learning set `layer.offset_conv.trainable = False`."
            )
        if max_offset is not None and not (isinstance(max_offset, (int, float)) and 0 < max_offset < math.inf):
            slip = " A plain convolution is keras.layers.Conv2D." if max_offset == 0 else " None sets no bound."
            raise ValueError(f"`max_offset` must be a number of pixels > 0, or None; received {max_offset!r}.{slip}")

        self.input_spec = keras.layers.InputSpec(ndim=4)
        # `jit_compile="auto"` asks this: XLA cannot compile a native kernel.
        self.supports_jit = engines.supports_jit()
        taps = self.kernel_size[0] * self.kernel_size[1]
        self._offset_channels = 2 * taps * offset_groups
        self.offset_conv = OffsetConv2D(
            self._offset_channels + (taps * offset_groups if modulated else 0),
            self.kernel_size,
            self.strides,
            padding,
            self.dilation_rate,
            lr_multiplier=offset_lr_multiplier,
            dtype_policy=self.dtype_policy,
            name="offset_conv",
        )

    @classmethod
    def from_conv2d(cls, layer: keras.layers.Conv2D, **options: Any) -> Self:
        """A deformable layer with the weights of a plain one, which therefore starts by doing just what that one does.

        Args:
            layer: a `keras.layers.Conv2D`. Where it is built, so is the result, with copies of its kernel and bias.
            **options: further arguments, such as `modulated=True`; they come before those of `layer`, its name too.

        Returns:
            A `DeformableConv2D`.

        Raises:
            ValueError: if `layer` is no `Conv2D`.

        Example:
            >>> images = np.ones((3, 5, 4, 2))
            >>> plain = keras.layers.Conv2D(6, (3, 2), padding="same")
            >>> outputs = plain(images)
            >>> layer = DeformableConv2D.from_conv2d(plain, modulated=True)
            >>> bool(ops.max(ops.abs(layer(images) - outputs)) < 1e-6)
            True
        """
        if type(layer) is not keras.layers.Conv2D:
            raise ValueError(
                f"`layer` must be a keras.layers.Conv2D; received a {type(layer).__name__}. "
                "A transposed, separable or depthwise convolution has no deformable form here."
            )
        config = {name: value for name, value in layer.get_config().items() if not name.startswith("lora")}
        deformable = cls.from_config({**config, **options})
        if layer.built:
            seen, groups = layer.kernel.shape[2], layer.groups
            deformable.build(deformable._shape_turned((None, None, None, seen * groups)))
            deformable.kernel.assign(layer.kernel)
            if layer.use_bias and deformable.bias is not None:
                deformable.bias.assign(layer.bias)
        return deformable

    def build(self, input_shape: Shape) -> None:
        channels = self._known_channels(input_shape)
        for name in ("groups", "offset_groups"):
            if channels % getattr(self, name):
                raise ValueError(
                    f"`{name}` must divide the input's channels; received {name}={getattr(self, name)} "
                    f"and input shape {tuple(input_shape)}, whose {self._named_axis} axis is taken as channels. "
                    f"{divisors(channels)} would do."
                )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, channels // self.groups, self.filters),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.filters,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        self.offset_conv.build(self._shape_channels_last(input_shape))
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={self._channel_axis: channels})
        self._freeze()

    def call(self, inputs: Tensor) -> Tensor:
        offsets, mask = self.offsets_and_mask(inputs)
        outputs = deform_conv2d(
            self._channels_last(inputs),
            offsets,
            self.kernel,
            mask=mask,
            bias=self.bias,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            groups=self.groups,
        )
        return self.activation(self._turned(outputs))

    def offsets_and_mask(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """The offsets that the layer gives to `inputs`, in `deform_conv2d`'s order, and the mask or None.

        `inputs` are in the layer's `data_format`; the results are always channels last.

        Example:
            >>> offsets, mask = DeformableConv2D(6, (3, 2), modulated=True).offsets_and_mask(np.ones((1, 5, 4, 2)))
            >>> tuple(offsets.shape), tuple(mask.shape)
            ((1, 3, 3, 12), (1, 3, 3, 6))
        """
        made = self.offset_conv(self._channels_last(inputs))
        offsets = made[..., : self._offset_channels] if self.modulated else made
        if self.max_offset is not None:
            offsets = self.max_offset * ops.tanh(offsets / self.max_offset)
        return offsets, 2 * ops.sigmoid(made[..., self._offset_channels :]) if self.modulated else None

    def train_only_offsets(self) -> None:
        """Freezes `kernel` and `bias` and leaves `offset_conv` trainable. Recompile the model afterwards.

        They stay so in files, clones and copies, as if the layer had been made with `frozen=("kernel", "bias")`.

        Raises:
            ValueError: if the layer has no weights yet.

        Example:
            >>> layer = DeformableConv2D(6, (3, 2))
            >>> outputs = layer(np.ones((1, 5, 4, 2)))
            >>> layer.train_only_offsets()
            >>> [weight.path.split("/")[-2:] for weight in layer.trainable_weights]
            [['offset_conv', 'kernel'], ['offset_conv', 'bias']]
        """
        if not self.built:
            raise ValueError(
                f"Layer {self.name!r} must be built before its weights can be frozen; it has none yet. "
                "Call it, or the model it is in, on an input first; keras.Input will do."
            )
        set_trainable(self, True)
        for weight in own_weights(self):
            weight.trainable = False

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, *size, _ = self._shape_channels_last(input_shape)
        sizes = (
            None if axis[0] is None else output_size(*axis)[0]
            for axis in zip(size, self.kernel_size, self.strides, self.dilation_rate, self._pads, strict=True)
        )
        return self._shape_turned((batch, *sizes, self.filters))

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "dilation_rate": self.dilation_rate,
            "groups": self.groups,
            "offset_groups": self.offset_groups,
            "modulated": self.modulated,
            "offset_lr_multiplier": self.offset_lr_multiplier,
            "max_offset": self.max_offset,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "activity_regularizer": keras.regularizers.serialize(self.activity_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
        }
