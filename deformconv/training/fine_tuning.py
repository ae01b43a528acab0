"""Fine-tuning: a trained network's weights in a new one, everything frozen but what is to learn."""

import math
from typing import Any

import keras
from keras import layers

from deformconv.layers import ConvOffset2D, DeformableConv2D
from deformconv.layers.inside import all_layers, inner_layers, own_weights, set_trainable


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
    """Freezes everything but the offset convolutions, BatchNorm's parameters and statistics included. Returns it.

    Raises:
        ValueError: if the model has none: nothing would learn.
    """
    _train_only(model, (ConvOffset2D, DeformableConv2D), "a DeformableConv2D or ConvOffset2D")
    for layer in all_layers(model):
        if isinstance(layer, DeformableConv2D):
            layer.train_only_offsets()
    return model


def train_only_batchnorm(model: keras.Model) -> keras.Model:
    """The control: BatchNorm trains, parameters and statistics; everything else is frozen. Returns it.

    Raises:
        ValueError: if the model has none.
    """
    _train_only(model, layers.BatchNormalization, "a BatchNormalization")
    return model


def _train_only(model: keras.Model, kinds: Any, words: str) -> None:
    """Lets the layers of these kinds learn, wherever they are inside the model, and nothing else."""
    if not any(isinstance(layer, kinds) for layer in all_layers(model)):
        raise ValueError(f"`model` must have {words}, or nothing would learn; {model.name!r} has none.")
    _hold(model, kinds)


def _hold(layer: keras.layers.Layer, kinds: Any) -> None:
    # A layer that learns must say so itself, and so must all that it is inside of.
    set_trainable(layer, any(isinstance(one, kinds) for one in (layer, *all_layers(layer))))
    if not layer.trainable or isinstance(layer, kinds):
        return
    for weight in own_weights(layer):
        weight.trainable = False
    for inner in inner_layers(layer):
        _hold(inner, kinds)


def count_trained(model: keras.Model) -> int:
    """How many numbers the optimizer changes (BatchNorm's statistics, which it does not, are not among them)."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)
