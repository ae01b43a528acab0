"""What a trained network does with its offsets: how large they are, how far its taps reach, which pixels it sees."""

import keras
import numpy as np
from keras import ops

from deformconv.layers import DeformableConv2D
from deformconv.layers.layout import check_channels_last
from deformconv.types import Tensor


def deformable_layers(model: keras.Model) -> list[DeformableConv2D]:
    """The deformable layers of a model, in order."""
    return [layer for layer in model.layers if isinstance(layer, DeformableConv2D)]


def offsets_of(model: keras.Model, images: Tensor) -> dict[str, np.ndarray]:
    """The offsets of each deformable layer, `(batch, h', w', groups, kernel height, kernel width, 2)`, in `(y, x)`."""
    layers = deformable_layers(model)
    if not layers:
        raise ValueError(f"`model` must have a DeformableConv2D; {model.name!r} has none.")
    seen = keras.Model(model.inputs[0], {layer.name: layer.input for layer in layers})(images)
    offsets = {}
    for layer in layers:
        made = ops.convert_to_numpy(layer.offsets_and_mask(seen[layer.name])[0])
        offsets[layer.name] = made.reshape(*made.shape[:3], layer.offset_groups, *layer.kernel_size, 2)
    return offsets


def input_size(layer: DeformableConv2D) -> tuple[int | None, int | None]:
    """Height and width of what a layer of a model reads."""
    shape = layer.input.shape
    return shape[2:] if layer.data_format == "channels_first" else shape[1:3]


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
    check_channels_last(model, "`dilation_on_digits`")
    dilations = {}
    for name, offsets in offsets_of(model, images).items():
        dilation = effective_dilation(offsets, model.get_layer(name).dilation_rate)
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
    check_channels_last(model, "`effective_receptive_field`")
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
