"""The four-layer digit classifier of 2017, rigid or deformable, and what its controls freeze."""

import keras
from keras import layers, ops

from deformconv.layers import ConvOffset2D, DeformableConv2D, SpatialTransformer

# Said of every layer: Keras's own setting may be another, and then the network would be.
LAYOUT = {"data_format": "channels_last"}

# name: (filters, strides)
CONVOLUTIONS = {"conv11": (32, 1), "conv12": (64, 2), "conv21": (128, 1), "conv22": (128, 2)}
# 2017 left the first convolution rigid: it sees single strokes.
DEFORMED = ("conv12", "conv21", "conv22")


def rigid(name, filters, strides):
    """A plain convolution."""
    return [layers.Conv2D(filters, 3, strides=strides, padding="same", name=name, **LAYOUT)]


def deformable(name, filters, strides, deformed=DEFORMED, offset_groups=1, **options):
    """A convolution each of whose taps has an offset, where 2017 put offsets; options of `DeformableConv2D`."""
    if name not in deformed:
        return rigid(name, filters, strides)
    groups = 1 if name == "conv11" else offset_groups  # it reads a single channel
    options = {"strides": strides, "padding": "same", "offset_groups": groups} | LAYOUT | options
    return [DeformableConv2D(filters, 3, name=name, **options)]


def conv_offset(name, filters, strides, layout="paired"):
    """2017's design: a dense flow in front of the convolution. `layout="2017"`: as it was shipped."""
    if name not in DEFORMED:
        return rigid(name, filters, strides)
    return [ConvOffset2D(layout=layout, name=f"{name}_offset", **LAYOUT), *rigid(name, filters, strides)]


def adapted(name, filters, strides):
    """A 1 x 1 convolution behind the convolution, where the others have offsets: it starts as the identity."""
    if name not in DEFORMED:
        return rigid(name, filters, strides)

    def identity(shape, dtype):
        return ops.reshape(ops.eye(filters, dtype=dtype), shape)

    return [
        *rigid(name, filters, strides),
        layers.Conv2D(filters, 1, kernel_initializer=identity, name=f"{name}_adapter", **LAYOUT),
    ]


def spatial_transformer():
    """One affine warp of the whole image, chosen by a small network that reads it."""
    localisation = keras.Sequential(
        [
            layers.Conv2D(16, 5, strides=2, padding="same", activation="relu", name="conv1", **LAYOUT),
            layers.Conv2D(32, 5, strides=2, padding="same", activation="relu", name="conv2", **LAYOUT),
            layers.Flatten(**LAYOUT),
            layers.Dense(32, activation="relu", name="dense"),
        ],
        name="localisation",
    )
    return [SpatialTransformer(localisation, name="spatial_transformer", **LAYOUT)]


def digit_classifier(
    convolution=rigid, batchnorm_momentum=0.99, front=list, shape=(28, 28, 1), classes=10
) -> keras.Model:
    """The classifier of 2017: four convolutions, each then ReLU and BatchNorm; mean over pixels; softmax.

    Args:
        convolution: makes the layers of each convolution from its name, filters and strides: `rigid`,
            `deformable`, `conv_offset`, `adapted` or your own.
        batchnorm_momentum: of BatchNorm's statistics; 2017's 0.99 needs hundreds of steps to catch up.
        front: makes the layers in front of the first convolution: none, or `spatial_transformer`.
        shape: of an image, `(height, width, channels)`.
        classes: how many.

    Returns:
        A model from images `(batch, *shape)` in [0, 1] to class probabilities `(batch, classes)`. Layers and
        weights have the names of the published files.
    """
    x = inputs = keras.Input(shape, name="input")
    for layer in front():
        x = layer(x)
    for name, (filters, strides) in CONVOLUTIONS.items():
        for layer in convolution(name, filters, strides):
            x = layer(x)
        x = layers.ReLU(name=f"{name}_relu")(x)
        x = layers.BatchNormalization(momentum=batchnorm_momentum, epsilon=1e-3, name=f"{name}_bn")(x)
    x = layers.GlobalAveragePooling2D(name="avg_pool", **LAYOUT)(x)
    x = layers.Dense(classes, name="fc1")(x)
    return keras.Model(inputs, layers.Softmax(name="out", dtype="float32")(x), name="digit_classifier")


def train_only_adapters(model) -> keras.Model:
    """A control: the 1 x 1 convolutions train; everything else is frozen. Returns it."""
    for layer in model.layers:
        layer.trainable = layer.name.endswith("_adapter")
    return model


def train_only_localisation(model) -> keras.Model:
    """A control: the spatial transformer trains; everything else is frozen. Returns it."""
    for layer in model.layers:
        layer.trainable = isinstance(layer, SpatialTransformer)
    return model


def freeze_as_in_2017(model) -> keras.Model:
    """What 2017 froze: convolutions and the dense layer. Offsets train, and so does BatchNorm. Returns it."""
    for layer in model.layers:
        layer.trainable = not isinstance(layer, (layers.Conv2D, layers.Dense))
    return model
