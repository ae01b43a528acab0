"""`sample` in `keras.ops` alone: four gathers of pixels, weighed. Any engine, any float type, XLA, any derivative."""

from keras import ops


def sample(images, coords):
    """Values at points: `images` `(b, h, w, c)`, `coords` `(b, n, 2)` in `(y, x)` -> `(b, n, c)`."""
    batch, height, width, channels = ops.shape(images)
    pixels = ops.reshape(images, (-1, channels))
    first_pixel = ops.arange(batch, dtype="int32")[:, None] * (height * width)

    # A NaN stands for 0 until the end. Clipping to just outside the image changes no value, for all is zero
    # out there, and keeps an infinite coordinate from becoming an undefined integer.
    nan = ops.any(ops.isnan(coords), axis=-1, keepdims=True)
    coords = ops.where(nan, ops.zeros_like(coords), coords)
    y, x = ops.clip(coords[..., 0], -2, height + 1), ops.clip(coords[..., 1], -2, width + 1)
    top, left = ops.floor(y), ops.floor(x)
    fractions = y - top, x - left
    top, left = ops.cast(top, "int32"), ops.cast(left, "int32")

    values = 0
    for down in (0, 1):
        for right in (0, 1):
            row, column = top + down, left + right
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            index = ops.where(inside, first_pixel + row * width + column, 0)
            weight_y = fractions[0] if down else 1 - fractions[0]
            weight_x = fractions[1] if right else 1 - fractions[1]
            weight = ops.where(inside, weight_y * weight_x, 0)
            values += ops.cast(weight, images.dtype)[..., None] * ops.take(pixels, index, axis=0)
    return ops.where(nan, float("nan"), values)
