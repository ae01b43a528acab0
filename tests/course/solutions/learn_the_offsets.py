"""Chapter 6's exercises, solved."""

import keras
import numpy as np

from deformconv import reference
from deformconv.course import exercises
from deformconv.course.exercises import learn_the_offsets as checks
from solutions.solved import Solved


def loss_slope(row, copy, offset):
    """By finite differences: within a cell the values are straight, so a step to the right in it is exact enough."""

    def loss(o):
        return np.mean(
            (np.interp(np.arange(len(row)) + o, np.arange(-1, len(row) + 1), np.pad(row, 1), 0, 0) - copy) ** 2
        )

    step = 1e-4
    # A parabola within the cell: three values give its slope exactly.
    return (-3 * loss(offset) + 4 * loss(offset + step) - loss(offset + 2 * step)) / (2 * step)


def kernel_gradient(images, by_offsets, kernel_size):
    """From windows; the check's own goes from weight to weight."""
    windows = np.lib.stride_tricks.sliding_window_view(images, kernel_size, axis=(1, 2))
    return np.einsum("bpqcij,bpqm->ijcm", windows, by_offsets)


def bounded(made, limit):
    doubled = np.exp(2 * made / limit)
    return limit * (doubled - 1) / (doubled + 1)


def share_outside(offsets, input_size, kernel_size, strides):
    """What the taps read of a picture of ones: nothing, where they are outside."""
    taps = kernel_size[0] * kernel_size[1]
    each = np.eye(taps).reshape(*kernel_size, 1, taps)
    seen = reference.deform_conv2d(np.ones((1, *input_size, 1)), offsets[None], each, strides=strides, padding="same")
    return np.mean(seen[0] == 0, axis=(0, 1))


def rates(steps, warmup, peak):
    cosine = keras.optimizers.schedules.CosineDecay(peak, steps - warmup)
    return [peak * (n + 1) / warmup if n < warmup else float(cosine(n - warmup)) for n in range(steps)]


EXERCISES = {
    "6.1": Solved(
        exercises.check_loss_slope,
        loss_slope,
        checks.SLOPE_MISTAKES,
        slips=(
            (lambda r, c, o: loss_slope(r, c, o) * len(r), "not the sum"),
            (lambda r, c, o: loss_slope(r, c, o) / 2, "factor 2"),
        ),
    ),
    "6.2": Solved(
        exercises.check_kernel_gradient,
        kernel_gradient,
        checks.KERNEL_MISTAKES,
        slips=(
            (lambda x, g, k: kernel_gradient(x, g, k)[::-1, ::-1], "turned round"),
            (lambda x, g, k: kernel_gradient(x, g, k) / len(x), "mean over the images"),
        ),
        draws=True,
    ),
    "6.3": Solved(
        exercises.check_bounded,
        bounded,
        checks.BOUNDED_MISTAKES,
        slips=(
            (lambda made, limit: np.minimum(np.maximum(made, -limit), limit), "never learns again"),
            (lambda made, limit: bounded(made, 1.0), "reach for `limit`"),
        ),
    ),
    "6.4": Solved(
        exercises.check_share_outside,
        share_outside,
        checks.SHARE_MISTAKES,
        slips=(
            (lambda *a: 1 - share_outside(*a), "inside"),
            (
                lambda o, *rest: share_outside(o.reshape(*o.shape[:2], -1, 2)[..., ::-1].reshape(o.shape), *rest),
                "swapped",
            ),
        ),
    ),
    "6.5": Solved(
        exercises.check_rates,
        rates,
        checks.RATES_MISTAKES,
        slips=((lambda s, w, p: [0.0, *rates(s, w, p)[: w - 1], *rates(s, w, p)[w:]], "first step has rate 0"),),
        draws=True,
    ),
}
