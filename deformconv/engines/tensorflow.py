"""`sample` on TensorFlow: one native kernel for the values and for the image gradient.

`tf.image.crop_and_resize` with 1 x 1 boxes is a fused bilinear gather: no temporary per corner, any number of
channels, CPU and GPU. Its own gradient with respect to the boxes takes `floor` and `ceil` as neighbours, which is
zero at every integer coordinate; the one here takes `floor` and `floor + 1`. XLA has no such kernel, and the kernel
computes in float32 whatever it is given: float64 goes the portable way (see `engines.sample`).
"""

import tensorflow as tf

_ONE_PIXEL = [[0, 0], [1, 1], [1, 1], [0, 0]]


def sample(images, coords):
    """Values at points: `images` `(b, h, w, c)`, `coords` `(b, n, 2)` in `(y, x)` -> `(b, n, c)`."""
    values = _sample(tf.cast(images, tf.float32), tf.cast(coords, tf.float32))
    return tf.cast(values, images.dtype)


@tf.custom_gradient
def _sample(images, coords):
    batch, height, width, channels = (tf.shape(images)[axis] for axis in range(4))
    points = tf.shape(coords)[1]
    # One pixel of zeros around the image makes the border rule the kernel's own: outside is zero.
    padded = tf.pad(images, _ONE_PIXEL)
    padded.set_shape([None, None, None, images.shape[-1]])
    last_pixel = tf.cast(tf.stack([height + 1, width + 1]), tf.float32)
    nan = tf.math.is_nan(coords)
    # The kernel refuses what is not finite; just outside the image is as good as infinitely far.
    safe_coords = tf.clip_by_value(tf.where(nan, 0.0, coords), -2.0, last_pixel)
    corner = tf.reshape((safe_coords + 1) / last_pixel, [-1, 2])
    boxes = tf.concat([corner, corner], axis=-1)
    image_of_box = tf.repeat(tf.range(batch), points)

    values = tf.image.crop_and_resize(padded, boxes, image_of_box, [1, 1])
    values = tf.reshape(values, tf.stack([batch, points, channels]))
    values.set_shape([images.shape[0], coords.shape[1], images.shape[3]])
    # Only a NaN among the coordinates is worth another pass over all values.
    values = tf.cond(
        tf.reduce_any(nan),
        lambda: tf.where(tf.reduce_any(nan, axis=-1, keepdims=True), float("nan"), values),
        lambda: values,
    )

    def gradient(upstream):
        to_images = tf.raw_ops.CropAndResizeGradImage(
            grads=tf.reshape(upstream, tf.stack([-1, 1, 1, channels])),
            boxes=boxes,
            box_ind=image_of_box,
            image_size=tf.shape(padded),
            T=tf.float32,
        )[:, 1:-1, 1:-1]
        return to_images, _coords_gradient(padded, safe_coords, upstream)

    return values, gradient


def _coords_gradient(padded, coords, upstream):
    """Derivative of `sum(upstream * values)` by `coords`: that of the cell between `floor` and `floor + 1`."""
    batch, padded_height, padded_width, channels = (tf.shape(padded)[axis] for axis in range(4))
    size = tf.stack([padded_height - 2, padded_width - 2])
    inside = (coords >= -1) & (coords < tf.cast(size, tf.float32))
    inside = tf.reduce_all(inside, axis=-1, keepdims=True)
    coords = tf.where(inside, coords, 0.0)
    corner = tf.floor(coords)
    fy, fx = tf.unstack(coords - corner, axis=-1)

    row, column = tf.unstack(tf.cast(corner, tf.int32) + 1, axis=-1)
    first_pixel = tf.range(batch)[:, None] * (padded_height * padded_width)
    index = first_pixel + row * padded_width + column
    pixels = tf.reshape(padded, tf.stack([-1, channels]))

    def at(steps):
        """The upstream gradient seen through the pixel at one corner of the cell: `(b, n)`."""
        return tf.reduce_sum(tf.gather(pixels, index + steps) * upstream, axis=-1)

    top_left, top_right, bottom_left, bottom_right = (at(steps) for steps in (0, 1, padded_width, padded_width + 1))
    by_y = (1 - fx) * (bottom_left - top_left) + fx * (bottom_right - top_right)
    by_x = (1 - fy) * (top_right - top_left) + fy * (bottom_right - bottom_left)
    return tf.where(inside, tf.stack([by_y, by_x], axis=-1), 0.0)
