"""`sample` in `keras.ops` alone: four gathers of pixels, weighed. Any engine, any float type, XLA, any derivative."""

from keras import ops


def sample(images, coords):
    """Values at points: `images` `(b, h, w, c)`, `coords` `(b, n, 2)` in `(y, x)` -> `(b, n, c)`."""
    batch, height, width, channels = ops.shape(images)
    # Row 0 is the outside: a zero of its own, for zero times some pixel is NaN where that pixel is not finite.
    pixels = ops.concatenate([ops.zeros((1, channels), images.dtype), ops.reshape(images, (-1, channels))])
    first_pixel = 1 + ops.arange(batch, dtype="int32")[:, None] * (height * width)

    # A NaN stands for 0 until the end. Clipping to just outside the image changes no value, for all is zero
    # out there, and keeps an infinite coordinate from becoming an undefined integer.
    nan = ops.any(ops.isnan(coords), axis=-1, keepdims=True)
    coords = ops.where(nan, ops.zeros_like(coords), coords)
    y, x = (ops.clip(coords[..., i], -2, ops.cast(size + 1, coords.dtype)) for i, size in enumerate((height, width)))
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
            weight = ops.cast(weight_y * weight_x, images.dtype)
            values += weight[..., None] * ops.take(pixels, index, axis=0)
    return ops.where(nan, float("nan"), values)
