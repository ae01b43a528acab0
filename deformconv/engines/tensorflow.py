"""`sample` on TensorFlow: one native kernel for the values, its transpose for the image gradient.

`tf.image.crop_and_resize` with 1 x 1 boxes is a fused bilinear gather: no temporary per corner, any number of
channels, CPU and GPU. Its own gradient with respect to the boxes takes `floor` and `ceil` as neighbours, which is
zero at every integer coordinate; the one here takes `floor` and `floor + 1`. XLA has no such kernel, and the kernel
computes in float32 whatever it is given: float64 goes the portable way (see `engines.sample`).

Reading the images at the points and writing to them there are each other's transpose, and have the same derivative
by the points (`_slope`). Each is given in terms of the others, so derivatives of any order exist.
"""

import tensorflow as tf

_ONE_PIXEL = [[0, 0], [1, 1], [1, 1], [0, 0]]


def sample(images, coords):
    """Values at points: `images` `(b, h, w, c)`, `coords` `(b, n, 2)` in `(y, x)` -> `(b, n, c)`."""
    coords = tf.cast(coords, tf.float32)
    values = _read(tf.cast(images, tf.float32), coords, *_boxes(coords, tf.shape(images)[1:3]))
    return tf.cast(values, images.dtype)


def _boxes(coords, size):
    """The points as the kernel wants them: 1 x 1 boxes on the padded image, `(b * n, 4)`, and the image of each."""
    batch, points = tf.shape(coords)[0], tf.shape(coords)[1]
    last_pixel = tf.cast(size + 1, tf.float32)
    # The kernel refuses what is not finite; just outside the image is as good as infinitely far.
    coords = tf.clip_by_value(tf.where(tf.math.is_nan(coords), 0.0, coords), -2.0, last_pixel)
    corner = tf.reshape((coords + 1) / last_pixel, [-1, 2])
    return tf.stop_gradient(tf.concat([corner, corner], axis=-1)), tf.repeat(tf.range(batch), points)


@tf.custom_gradient
def _read(images, coords, boxes, image_of_box):
    """Values at the points: `(b, n, c)`."""
    # One pixel of zeros around the image makes the border rule the kernel's own: outside is zero.
    padded = tf.pad(images, _ONE_PIXEL)
    padded.set_shape([None, None, None, images.shape[-1]])
    values = tf.image.crop_and_resize(padded, boxes, image_of_box, [1, 1])
    values = tf.reshape(values, tf.stack([tf.shape(coords)[0], tf.shape(coords)[1], tf.shape(images)[3]]))
    values.set_shape([images.shape[0], coords.shape[1], images.shape[3]])
    nan = tf.math.is_nan(coords)
    # Only a NaN among the coordinates is worth another pass over all values.
    values = tf.cond(
        tf.reduce_any(nan),
        lambda: tf.where(tf.reduce_any(nan, axis=-1, keepdims=True), float("nan"), values),
        lambda: values,
    )

    def gradient(upstream):
        to_images = _write(upstream, coords, boxes, image_of_box, tf.shape(images))
        return to_images, _slope(images, coords, upstream), None, None

    return values, gradient


@tf.custom_gradient
def _write(values, coords, boxes, image_of_box, shape):
    """Images of `shape` onto which the values are spread, each over the four pixels around its point."""
    images = tf.raw_ops.CropAndResizeGradImage(
        grads=tf.reshape(values, tf.stack([-1, 1, 1, shape[3]])),
        boxes=boxes,
        box_ind=image_of_box,
        image_size=shape + [0, 2, 2, 0],
        T=tf.float32,
    )[:, 1:-1, 1:-1]
    images.set_shape([None, None, None, values.shape[-1]])

    def gradient(upstream):
        return _read(upstream, coords, boxes, image_of_box), _slope(upstream, coords, values), None, None, None

    return images, gradient


def _slope(images, coords, upstream):
    """Derivative of `sum(upstream * values)` by `coords`: that of the cell between `floor` and `floor + 1`."""
    batch, height, width, channels = (tf.shape(images)[axis] for axis in range(4))
    inside = (coords >= -1) & (coords < tf.cast(tf.stack([height, width]), tf.float32))
    inside = tf.reduce_all(inside, axis=-1, keepdims=True)
    coords = tf.where(inside, coords, 0.0)
    corner = tf.floor(coords)
    fy, fx = tf.unstack(coords - corner, axis=-1)

    row, column = tf.unstack(tf.cast(corner, tf.int32) + 1, axis=-1)
    row_length = width + 2
    first_pixel = tf.range(batch)[:, None] * ((height + 2) * row_length)
    index = first_pixel + row * row_length + column
    pixels = tf.reshape(tf.pad(images, _ONE_PIXEL), tf.stack([-1, channels]))

    def at(steps):
        """The upstream gradient seen through the pixel at one corner of the cell: `(b, n)`."""
        return tf.reduce_sum(tf.gather(pixels, index + steps) * upstream, axis=-1)

    top_left, top_right, bottom_left, bottom_right = (at(steps) for steps in (0, 1, row_length, row_length + 1))
    by_y = (1 - fx) * (bottom_left - top_left) + fx * (bottom_right - top_right)
    by_x = (1 - fy) * (top_right - top_left) + fy * (bottom_right - bottom_left)
    return tf.where(inside, tf.stack([by_y, by_x], axis=-1), 0.0)
