"""What a network does with its offsets: how large they are, how far taps reach, what it sees; what does not learn."""

from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from deformconv.arguments import check_count
from deformconv.layers import DeformableConv2D
from deformconv.layers.inside import all_layers
from deformconv.layers.layout import check_channels_last
from deformconv.types import Tensor


def dead_weights(model: keras.Model, inputs: Any, targets: Any, loss: Any = None, steps: int = 5) -> list[str]:
    """The trainable weights that training leaves to the bit as they are: no gradient reaches them.

    A gradient of zero at the start proves little: an offset waits for its mask, which moves first. So a copy of the
    model takes a few steps of Adam. Two `DCNv4` in a row are an example of what is found; see there.

    Args:
        model: functional or Sequential. It stays as it is.
        inputs, targets: one batch, as for `model.train_on_batch`.
        loss: as for `model.compile`; None for that of the model, which is compiled then.
        steps: of Adam. A weight may wait for another one, that for a third, a step each.

    Returns:
        The paths of the weights; an empty list if all learn.

    Raises:
        ValueError: if there is neither a `loss` nor one of the model, or `steps` is not positive.

    Example:
        >>> model = keras.Sequential([keras.Input((5, 4, 6)), DCNv4(groups=2), keras.layers.ReLU()])
        >>> images = np.random.default_rng(0).normal(size=(3, 5, 4, 6))
        >>> dead = diagnostics.dead_weights(model, images, images, loss="mse")
        >>> len(dead), len(model.trainable_weights)
        (6, 6)
    """
    if loss is None:
        loss = getattr(model, "loss", None)
    if loss is None:
        raise ValueError('`loss` must be given, for `model` is not compiled with one; for instance loss="mse".')
    check_count("steps", steps)
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for copied, weight in zip(copy.weights, model.weights, strict=True):
        copied.trainable = weight.trainable
    copy.compile(keras.optimizers.Adam(1e-3), loss)
    for _ in range(steps):
        copy.train_on_batch(inputs, targets)
    return [
        weight.path
        for weight, copied in zip(model.weights, copy.weights, strict=True)
        if weight.trainable and np.array_equal(*(ops.convert_to_numpy(each) for each in (weight, copied)))
    ]


class Look(NamedTuple):
    """What one deformable layer did with some images.

    `name` is the layer's, or its path where several have one name; a layer that was called n times has n looks, `name`,
    `name (2)` and so on. `size` is the height and width of its input, `offsets`
    `(batch, h', w', groups, kernel height, kernel width, 2)` in `(y, x)`.
    """

    name: str
    layer: DeformableConv2D
    size: tuple[Any, Any]
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
            _, height, width, _ = layer._shape_channels_last(inputs.shape)
            found.append(Look(name if number == 1 else f"{name} ({number})", layer, (height, width), made))
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
    check_channels_last(model, "`dilation_on_digits`")
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
