"""Layers as they start, in every stack of two: a few steps of Adam move every weight, or the table says why not."""

import itertools
import re

import keras
import numpy as np
import pytest
from keras import ops

from deformconv import (
    ConvOffset2D,
    DCNv3,
    DCNv4,
    DeformableConv2D,
    DeformableRoIPooling2D,
    SpatialTransformer,
)

BATCH, CHANNELS, STEPS = 3, 4, 3
AVERAGE = {"mask_bias_initializer": keras.initializers.Constant(1 / 6)}


def of(cls, *arguments, **options):
    return lambda name: cls(*arguments, **options, name=name)


def roi_pooling(**options):
    """Pools two boxes. Their bins lie one below another, so that a next layer sees a map again."""
    boxes = np.tile(np.float32([[[0, 0, 3.6, 3.2], [1.2, 0.4, 4.7, 2.9]]]), (BATCH, 1, 1))

    def make(name):
        layer = DeformableRoIPooling2D((2, 4), name=name, **options)
        return lambda maps: ops.reshape(layer(maps, boxes), (BATCH, 4, 4, CHANNELS))

    return make


def transformer(name):
    localisation = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(5, activation="tanh")])
    return SpatialTransformer(localisation, name=name)


LAYERS = {
    "DeformableConv2D": of(DeformableConv2D, CHANNELS, (3, 2), padding="same"),
    "DeformableConv2D modulated": of(DeformableConv2D, CHANNELS, (3, 2), padding="same", modulated=True),
    "DCNv3": of(DCNv3, (3, 2), groups=2, center_feature_scale=True),
    "DCNv4": of(DCNv4, (3, 2), groups=2),
    "DCNv4 remove_center": of(DCNv4, 3, groups=2, dw_kernel_size=3, remove_center=True),
    "DCNv4 center_feature_scale": of(DCNv4, (3, 2), groups=2, center_feature_scale=True),
    "DCNv4 averaging": of(DCNv4, (3, 2), groups=2, **AVERAGE),
    "ConvOffset2D": of(ConvOffset2D),
    "ConvOffset2D 2017": of(ConvOffset2D, "2017"),
    "DeformableRoIPooling2D": roi_pooling(),
    "DeformableRoIPooling2D modulated": roi_pooling(modulated=True, offset_units=(5,)),
    "SpatialTransformer": transformer,
}
FROM_ZERO = "DCNv4|DCNv4 remove_center"  # the authors' start

# The first layer, the second, the paths that never move; names are regular expressions. And the reason.
DEAD = [
    # Its neighbours are floor and ceil, at integer coordinates the same pixel: by design, for study.
    ("ConvOffset2D 2017", ".*", "first/offset_conv/.*"),
    (".*", "ConvOffset2D 2017", "second/offset_conv/.*"),
    # The second sees zeros, so no mask is better than another; its mask is zero, so it sends nothing back.
    (FROM_ZERO, FROM_ZERO, "first/.*|second/(?!output_proj/bias).*"),
]


def train(*layers, size=(5, 4)):
    """A few steps of Adam: all trainable weights by path, and the paths of those that have moved."""
    inputs = keras.Input((*size, CHANNELS), batch_size=BATCH)
    maps = inputs
    for layer in layers:
        maps = layer(maps)
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(keras.layers.Flatten()(maps)))
    rng = np.random.default_rng(1)
    images, targets = (rng.normal(size=shape).astype("float32") for shape in (inputs.shape, (BATCH, 2)))
    model.compile(keras.optimizers.Adam(0.01), "mse", run_eagerly=True)
    before = [ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    for _ in range(STEPS):
        model.train_on_batch(images, targets)
    after = model.trainable_weights
    moved = {w.path for w, old in zip(after, before, strict=True) if not np.array_equal(ops.convert_to_numpy(w), old)}
    return {weight.path for weight in after}, moved


@pytest.mark.parametrize("first, second", list(itertools.product(LAYERS, repeat=2)))
def test_every_weight_of_two_layers_in_a_row_moves(tf, first, second):
    """On one engine: what moves is a matter of the layers, and there are many pairs."""
    size = (5, 5) if "2017" in first + second else (5, 4)  # 2017's takes squares alone
    paths, moved = train(LAYERS[first]("first"), LAYERS[second]("second"), size=size)
    never = [path for a, b, path in DEAD if re.fullmatch(a, first) and re.fullmatch(b, second)]
    dead = {path for path in paths if any(re.fullmatch(one, path) for one in never)}
    assert paths - moved == dead


def v4(name, **options):
    return DCNv4((3, 2), groups=2, name=name, **options)


def beside_a_shortcut(layer):
    return lambda maps: maps + layer(maps)


# Stacks in which DCNv4 is not alone, and whether they learn.
STACKS = {
    "each beside a shortcut": (True, lambda o: [beside_a_shortcut(v4(name, **o)) for name in ("first", "second")]),
    "normalised beside a shortcut": (
        True,
        lambda o: [beside_a_shortcut(keras.Sequential([keras.layers.LayerNormalization(), v4("first", **o)]))] * 2,
    ),
    "a layer normalisation between": (
        False,
        lambda o: [v4("first", **o), keras.layers.LayerNormalization(), v4("second", **o)],
    ),
    "a batch normalisation between": (
        False,
        lambda o: [v4("first", **o), keras.layers.BatchNormalization(), v4("second", **o)],
    ),
    "a convolution between": (False, lambda o: [v4("first", **o), keras.layers.Conv2D(4, 1), v4("second", **o)]),
    "a ReLU behind": (False, lambda o: [v4("first", **o), keras.layers.ReLU()]),
    "a GELU behind": (True, lambda o: [v4("first", **o), keras.layers.Activation("gelu")]),
    "a convolution with a ReLU behind": (
        False,
        lambda o: [v4("first", **o), DeformableConv2D(CHANNELS, 2, activation="relu")],
    ),
    "bare ones, which are nothing but the sum": (
        False,
        lambda o: [v4(name, without_pointwise=True, **o) for name in ("first", "second")],
    ),
}


@pytest.mark.parametrize("stack", STACKS)
def test_dcnv4_learns_beside_a_shortcut_and_everywhere_if_it_starts_as_an_average(stack):
    learns, layers = STACKS[stack]
    paths, moved = train(*layers({}))
    assert (paths == moved) == learns
    if not learns:
        assert not any("first/" in path for path in moved)
    assert np.equal(*train(*layers(AVERAGE)))
