"""What a trained network does with its offsets: how large they are, how far its taps reach, which pixels it sees."""

from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from deformconv.layers import DeformableConv2D
from deformconv.layers.inside import all_layers
from deformconv.types import Tensor


class Look(NamedTuple):
    """What one deformable layer did with some images.

    `name` is the layer's, or its path where several have one name; a layer that was called n times has n looks, `name`,
    `name (2)` and so on. `size` is the height and width of its input, `offsets`
    `(batch, h', w', groups, kernel height, kernel width, 2)` in `(y, x)`.
    """

    name: str
    layer: DeformableConv2D
    size: tuple[int, int]
    offsets: np.ndarray


def deformable_layers(model: keras.Model) -> list[DeformableConv2D]:
    """The deformable layers of a model, in order; those of models and layers inside it too."""
    return [layer for layer in all_layers(model) if isinstance(layer, DeformableConv2D)]


def looks(model: keras.Model, images: Tensor) -> list[Look]:
    """What the deformable layers of a model, of any kind, do with these images, in the order in which they are called.

    Raises:
        ValueError: if the model has none.
    """
    layers = deformable_layers(model)
    if not layers:
        raise ValueError(f"`model` must have a DeformableConv2D; {model.name!r} has none.")
    several = {name for name, times in Counter(layer.name for layer in layers).items() if times > 1}
    found: list[Look] = []

    def watching(layer: DeformableConv2D) -> Callable[[Tensor], tuple[Tensor, Tensor | None]]:
        own, calls, name = layer.offsets_and_mask, count(1), layer.path if layer.name in several else layer.name

        def offsets_and_mask(inputs: Tensor) -> tuple[Tensor, Tensor | None]:
            offsets, mask = own(inputs)
            made = ops.convert_to_numpy(offsets)
            made = made.reshape(*made.shape[:3], layer.offset_groups, *layer.kernel_size, 2)
            number = next(calls)
            found.append(Look(name if number == 1 else f"{name} ({number})", layer, inputs.shape[1:3], made))
            return offsets, mask

        return offsets_and_mask

    for layer in layers:
        layer.__dict__["offsets_and_mask"] = watching(layer)
    try:
        model(images, training=False)
    finally:
        for layer in layers:
            del layer.__dict__["offsets_and_mask"]
    return found


def offsets_of(model: keras.Model, images: Tensor) -> dict[str, np.ndarray]:
    """The offsets of each deformable layer, `(batch, h', w', groups, kernel height, kernel width, 2)`, in `(y, x)`."""
    return {look.name: look.offsets for look in looks(model, images)}


def offset_statistics(model: keras.Model, images: Tensor) -> dict[str, dict[str, float]]:
    """Of each layer's offsets, in pixels of its input: `mean_length`, `largest` length, `deviation` of one number."""
    statistics = {}
    for name, offsets in offsets_of(model, images).items():
        length = np.linalg.norm(offsets, axis=-1)
        statistics[name] = {
            "mean_length": float(length.mean()),
            "deviation": float(offsets.std()),
            "largest": float(length.max()),
        }
    return statistics


def effective_dilation(offsets: np.ndarray, dilation_rate: tuple[int, int] = (1, 1)) -> np.ndarray:
    """The mean distance between taps that are neighbours in the kernel, for each output pixel: `(batch, h', w')`.

    Without offsets it is the dilation (Dai et al. 2017, section 3.4). `offsets` as from `offsets_of`.
    """
    height, width = offsets.shape[4:6]
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), axis=-1) * np.array(dilation_rate)
    points = offsets + grid
    down = np.linalg.norm(points[:, :, :, :, 1:] - points[:, :, :, :, :-1], axis=-1)
    right = np.linalg.norm(points[..., 1:, :] - points[..., :-1, :], axis=-1)
    total = down.sum(axis=(3, 4, 5)) + right.sum(axis=(3, 4, 5))
    return total / (offsets.shape[3] * ((height - 1) * width + height * (width - 1)))


def dilation_on_digits(model: keras.Model, images: np.ndarray) -> dict[str, dict[str, float | None]]:
    """The mean effective dilation of each layer, over output pixels that lie on the `digit` and on the `background`.

    On the digit is a pixel whose part of the image holds something brighter than a quarter; None where there is none.
    """
    dilations = {}
    for name, layer, _, offsets in looks(model, images):
        dilation = effective_dilation(offsets, layer.dilation_rate)
        batch, height, width = dilation.shape
        rows, columns = images.shape[1] // height, images.shape[2] // width
        parts = images[:, : height * rows, : width * columns].reshape(batch, height, rows, width, columns)
        lit = parts.max(axis=(2, 4)) > 0.25
        dilations[name] = {
            place: float(dilation[there].mean()) if there.any() else None
            for place, there in (("digit", lit), ("background", ~lit))
        }
    return dilations


def effective_receptive_field(
    model: keras.Model,
    image: np.ndarray,
    pixel: tuple[int, int] = (3, 3),
    layer: str = "conv22",
    step: float = 0.1,
) -> np.ndarray:
    """How much each pixel of `image` `(h, w, 1)` moves one output pixel of a layer: `(h, w)`, one in all.

    Each pixel is made brighter by `step` in turn; counted is the length of the change over the channels. A gradient
    would tell the same for small steps, but not through ReLUs that are about to open.
    """
    height, width, _ = image.shape
    brighter = image + step * np.eye(height * width, dtype="float32").reshape(-1, height, width, 1)
    outputs = keras.Model(model.inputs[0], model.get_layer(layer).output)
    before = ops.convert_to_numpy(outputs(image[None]))[:, pixel[0], pixel[1]]
    after = np.concatenate(
        [ops.convert_to_numpy(outputs(part))[:, pixel[0], pixel[1]] for part in np.array_split(brighter, 4)]
    )
    change = np.linalg.norm(after - before, axis=-1)
    return (change / max(change.sum(), np.finfo("float32").tiny)).reshape(height, width)


def reach(field: np.ndarray) -> float:
    """The size of a receptive field `(h, w)`: the root of the mean squared distance from its middle, in pixels."""
    y, x = np.meshgrid(*map(np.arange, field.shape), indexing="ij")
    total = field.sum()
    middle_y, middle_x = (y * field).sum() / total, (x * field).sum() / total
    return float(np.sqrt((((y - middle_y) ** 2 + (x - middle_x) ** 2) * field).sum() / total))
