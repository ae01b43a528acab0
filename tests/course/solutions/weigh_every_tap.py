"""Chapter 9's exercises, solved."""

import numpy as np
from keras import ops

from deformconv import DCNv3, DCNv4, DeformableConv2D, reference
from deformconv.course import exercises
from deformconv.course.exercises import weigh_every_tap as checks
from solutions.solved import Solved


def mask_and_slope(logits):
    """By the hyperbolic tangent: 2 sigmoid(a) = 1 + tanh(a / 2)."""
    mask = 1 + np.tanh(logits / 2)
    return np.stack([mask, mask * (2 - mask) / 2])


def modulated_pixel(image, offsets, mask, kernel, row, column, offset_groups):
    """Tap by tap, group by group, from single samples."""
    height, width, channels, filters = kernel.shape
    taps, share = height * width, channels // offset_groups
    output = np.zeros(filters)
    for g in range(offset_groups):
        for n in range(taps):
            tap = g * taps + n
            i, j = divmod(n, width)
            place = np.array([row + i, column + j]) + offsets[row, column, 2 * tap : 2 * tap + 2]
            own = slice(g * share, (g + 1) * share)
            sample = reference.bilinear_sample(image[None, :, :, own], place[None, None])[0, 0]
            output += mask[row, column, tap] * sample @ kernel[i, j, own]
    return output


def softmax_over_taps(logits, groups):
    parts = [ops.convert_to_numpy(ops.softmax(part, axis=-1)) for part in np.split(logits, groups, axis=-1)]
    return np.concatenate(parts, axis=-1)


def count_weights(kernel_size, channels, groups):
    """Asks the layers themselves."""
    layers = (
        DeformableConv2D(channels, kernel_size, offset_groups=groups),
        DeformableConv2D(channels, kernel_size, offset_groups=groups, modulated=True),
        DCNv3(kernel_size, groups=groups),
        DCNv4(kernel_size, groups=groups),
    )
    for layer in layers:
        layer.build((None, None, None, channels))
    return [layer.count_params() for layer in layers]


def read_foreign(made, taps, groups, order):
    """Index by index."""
    pairs = groups * taps
    if order == "chunks":
        return made
    index = [channel for tap in range(pairs) for channel in (pairs + tap, tap)]
    return made[..., [*index, *range(2 * pairs, 3 * pairs)]]


EXERCISES = {
    "9.1": Solved(
        exercises.check_mask_and_slope,
        mask_and_slope,
        checks.MASK_MISTAKES,
        slips=(
            (lambda z: np.stack([1 / (1 + np.exp(-z)), np.exp(-z) / (1 + np.exp(-z)) ** 2]), "starts at 0.5"),
            (lambda z: np.stack([mask_and_slope(z)[0], mask_and_slope(z)[0] * (1 - mask_and_slope(z)[0])]), "not 0"),
        ),
    ),
    "9.2": Solved(
        exercises.check_modulated_pixel,
        modulated_pixel,
        checks.PIXEL_MISTAKES,
        slips=(
            (lambda x, o, m, *rest: modulated_pixel(x, o, np.ones_like(m), *rest), "no effect"),
            (
                lambda x, o, m, k, *rest: modulated_pixel(
                    x, o, np.tile(m[..., : k.shape[0] * k.shape[1]], rest[-1]), k, *rest
                ),
                "first group's mask",
            ),
        ),
    ),
    "9.3": Solved(
        exercises.check_softmax_over_taps,
        softmax_over_taps,
        checks.SOFTMAX_MISTAKES,
        slips=((lambda z, g: ops.softmax(z, axis=-1), "all groups together"),),
        draws=True,
    ),
    "9.4": Solved(
        exercises.check_count_weights,
        count_weights,
        checks.COUNT_MISTAKES,
        slips=((lambda k, c, g: count_weights(k, c, 1), "of its own"),),
    ),
    "9.5": Solved(
        exercises.check_read_foreign,
        read_foreign,
        checks.FOREIGN_MISTAKES,
        slips=((lambda made, t, g, order: made, "nothing has moved"),),
    ),
}
