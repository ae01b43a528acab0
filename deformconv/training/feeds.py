"""What a training step is fed: which images, and how they are warped; from the device's memory or from elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from deformconv.training import devices
from deformconv.training.scaling import warp
from deformconv.types import Images, Interpolation, Tensor


def shuffled(n: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """`length` indices below `n`: whole random permutations, one after another, the last one cut."""
    passes = -(-length // n)
    return np.concatenate([rng.permutation(n) for _ in range(passes)])[:length].astype("int32")


class Feed:
    """Images to a classifier: a Keras model in front of it, and what to give that model for each batch.

    Args:
        model: the classifier.
        images, labels: `(n, h, w, c)`, floats, or bytes that are divided by 255; and `(n,)`.
        resident: whether the images are copied to the device once, which then picks those of a step by their
            numbers; else each batch is read (from anything that `images[numbers]` reads) and sent while the one before
            is learned.
        matrices: whether each image is warped on the device, by a matrix that comes with it.
        interpolation: of the warp.
    """

    def __init__(
        self,
        model: keras.Model,
        images: Images,
        labels: ArrayLike,
        resident: bool = True,
        matrices: bool = False,
        interpolation: Interpolation = "bilinear",
    ):
        self.images, self.labels, self.resident = images, np.asarray(labels), resident
        self.stream: _Stream | None = None
        if resident:
            inputs = {"images": keras.Input((), dtype="int32", name="images")}
        else:
            inputs = {"images": keras.Input(images.shape[1:], dtype=str(images.dtype), name="images")}
        if matrices:
            inputs["matrix"] = keras.Input((2, 3), dtype="float32", name="matrix")
        self.model = keras.Model(inputs, model(_Fed(images if resident else None, interpolation)(inputs)))

    def batches(
        self,
        index: np.ndarray,
        matrices: np.ndarray | None,
        size: int,
        weights: np.ndarray | None = None,
    ) -> dict[str, Any]:
        """What `self.model.fit` and `evaluate` take as data, in order, in batches of `size`; of each, what is this
        process's to give.
        """
        number, processes = devices.this_process()
        if processes > 1:

            def share(values: np.ndarray) -> np.ndarray:
                return values.reshape(-1, processes, size // processes, *values.shape[1:])[:, number].reshape(
                    -1, *values.shape[1:]
                )

            index = share(index)
            matrices, weights = (None if v is None else share(v) for v in (matrices, weights))
            size //= processes
        more = {} if matrices is None else {"matrix": matrices}
        if not self.resident:
            self.stream = _Stream(self.images, self.labels, index, more, size, weights)
            return {"x": self.stream}
        given = {"x": {"images": index, **more}, "y": self.labels[index], "batch_size": size}
        return given if weights is None else {**given, "sample_weight": weights}

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Inside, an error in reading images is raised as it was: TensorFlow wraps it in pages of its own."""
        try:
            yield
        except Exception:
            if self.stream is None or self.stream.failed is None:
                raise
            raise self.stream.failed from None


class _Fed(keras.layers.Layer):
    """The images of a batch as the classifier takes them: picked, in [0, 1], warped."""

    def __init__(self, images: Images | None, interpolation: Interpolation):
        super().__init__(dtype="float32", autocast=False)
        self.interpolation, self.images = interpolation, None
        if images is not None:
            # A weight, so that every engine keeps it on its device; not trainable, not part of the classifier.
            self.images = self.add_weight(
                shape=images.shape, dtype=str(images.dtype), initializer="zeros", trainable=False, name="images"
            )
            self.images.assign(images)

    def call(self, inputs: dict[str, Tensor]) -> Tensor:
        images = inputs["images"]
        if self.images is not None:
            images = ops.take(self.images, images, axis=0)
        if keras.backend.standardize_dtype(images.dtype) == "uint8":
            images = ops.cast(images, "float32") / 255
        return warp(images, inputs["matrix"], self.interpolation) if "matrix" in inputs else images


class _Stream(keras.utils.PyDataset):
    def __init__(
        self,
        images: Images,
        labels: np.ndarray,
        index: np.ndarray,
        more: dict[str, np.ndarray],
        size: int,
        weights: np.ndarray | None,
    ):
        super().__init__(workers=1, max_queue_size=4)
        self.images, self.labels, self.index, self.more, self.size = images, labels, index, more, size
        self.weights = weights
        self.failed: Exception | None = None

    def __len__(self) -> int:
        return -(-len(self.index) // self.size)

    def __getitem__(self, number: int) -> tuple:
        part = slice(number * self.size, (number + 1) * self.size)
        index = self.index[part]
        try:
            images = np.asarray(self.images[index])
        except Exception as error:
            self.failed = error
            raise
        inputs = {"images": images, **{name: values[part] for name, values in self.more.items()}}
        batch = inputs, self.labels[index]
        return batch if self.weights is None else (*batch, self.weights[part])
