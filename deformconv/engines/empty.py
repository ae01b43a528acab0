"""Convolutions of an empty batch. TensorFlow's oneDNN gives them the wrong shape, that of the images."""

from collections.abc import Callable

import keras

from deformconv.engines import exporting, switches
from deformconv.types import Tensor


def of_any_batch(convolution: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """`convolution(images)`. For an empty batch, one blank image is convolved, and left out of the outputs."""
    if keras.backend.backend() != "tensorflow" or images.shape[0] or switches.within_xla():
        return convolution(images)
    if exporting.for_another_runtime():  # there is no such fault to go round
        return convolution(images)
    import tensorflow as tf

    def blank() -> Tensor:
        image = tf.zeros(tf.concat([[1], tf.shape(images)[1:]], axis=0), images.dtype)
        image.set_shape([1, *images.shape[1:]])
        return image

    if images.shape[0] == 0:
        return convolution(blank())[:0]
    # Only what goes in and comes out is chosen: a convolution within `cond` takes longer.
    there = tf.shape(images)[0] > 0
    some = tf.cond(there, lambda: images, blank)
    outputs = convolution(tf.ensure_shape(some, images.shape))
    return tf.cond(there, lambda: outputs, lambda: outputs[:0])
