"""Points for each group of channels: `sample` and `aggregate` out of what reads whole images at points. Any engine."""

from keras import ops


def sample(one, images, coords):
    """As `engines.sample`; `one` reads `(b, n, 2)` alone, the same points in all channels."""
    if len(coords.shape) == 3:
        return one(images, coords)
    batch, height, width, channels = ops.shape(images)
    points, groups = ops.shape(coords)[1:3]
    if groups == 1:
        return one(images, coords[:, :, 0])
    # Each group is an image of its own: its channels, its points.
    share = channels // groups
    images = ops.reshape(images, (batch, height, width, groups, share))
    images = ops.reshape(ops.transpose(images, (0, 3, 1, 2, 4)), (batch * groups, height, width, share))
    coords = ops.reshape(ops.transpose(coords, (0, 2, 1, 3)), (batch * groups, points, 2))
    values = ops.reshape(one(images, coords), (batch, groups, points, share))
    return ops.reshape(ops.transpose(values, (0, 2, 1, 3)), (batch, points, channels))


def aggregate(one, images, coords, weights):
    """As `engines.aggregate`, by the values of all points side by side."""
    batch, channels = ops.shape(images)[0], images.shape[-1]
    rows, groups, taps = ops.shape(coords)[1:4]
    by_tap = ops.reshape(ops.transpose(coords, (0, 1, 3, 2, 4)), (batch, rows * taps, groups, 2))
    values = ops.reshape(sample(one, images, by_tap), (batch, rows, taps, groups, channels // groups))
    values = values * ops.transpose(weights, (0, 1, 3, 2))[..., None]
    return ops.reshape(ops.sum(values, axis=2), (batch, rows, channels))
