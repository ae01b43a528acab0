"""Fine-tuning: a trained network's weights in a new one, everything frozen but what is to learn."""

import math

import keras
from keras import layers

from deformconv.layers import ConvOffset2D, DeformableConv2D


def transplant(source: keras.Model, target: keras.Model) -> keras.Model:
    """Copies every weight of `source` to the weight of the same path in `target`, which may have more. Returns it.

    Raises:
        ValueError: if `target` lacks one of the weights, or has it in another shape; nothing is copied then.
    """
    own = {weight.path: weight for weight in target.weights}
    for weight in source.weights:
        if weight.path not in own:
            raise ValueError(f"`target` must have every weight of `source`; it has no {weight.path!r}.")
        if own[weight.path].shape != weight.shape:
            raise ValueError(
                f"`target` must have the shapes of `source`; {weight.path!r} is {tuple(weight.shape)} "
                f"in `source` and {tuple(own[weight.path].shape)} in `target`."
            )
    for weight in source.weights:
        own[weight.path].assign(weight)
    return target


def train_only_offsets(model: keras.Model) -> keras.Model:
    """Freezes everything but the offset convolutions, BatchNorm's parameters and statistics included. Returns it."""
    for layer in model.layers:
        layer.trainable = isinstance(layer, ConvOffset2D)
        if isinstance(layer, DeformableConv2D):
            layer.train_only_offsets()
    return model


def train_only_batchnorm(model: keras.Model) -> keras.Model:
    """The control: BatchNorm trains, parameters and statistics; everything else is frozen. Returns it."""
    for layer in model.layers:
        layer.trainable = isinstance(layer, layers.BatchNormalization)
    return model


def count_trained(model: keras.Model) -> int:
    """How many numbers the optimizer changes (BatchNorm's statistics, which it does not, are not among them)."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)
