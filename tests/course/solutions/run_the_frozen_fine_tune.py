"""Chapter 7's exercises, solved."""

import keras
import numpy as np

from deformconv.course import exercises
from deformconv.course.exercises import run_the_frozen_fine_tune as checks
from solutions.solved import Solved


def running_statistics(batches, mean, variance, momentum):
    """What Keras's own layer keeps."""
    layer = keras.layers.BatchNormalization(momentum=momentum)
    layer.build((None, None, None, len(mean)))
    layer.moving_mean.assign(mean.astype("float32"))
    layer.moving_variance.assign(variance.astype("float32"))
    for batch in batches:
        layer(batch.astype("float32"), training=True)
    return keras.ops.convert_to_numpy(keras.ops.stack([layer.moving_mean.value, layer.moving_variance.value]))


EXERCISES = {
    "7.1": Solved(
        exercises.check_offset_parameters,
        lambda h, w, c, g: (h * w * c + 1) * 2 * h * w * g,
        checks.PARAMETERS_MISTAKES,
        slips=(
            (lambda h, w, c, g: h * w * c * 2 * h * w * g, "has a bias"),
            (lambda h, w, c, g: (h * w * c + 1) * h * w * g, "two numbers"),
            (lambda h, w, c, g: (h * w * c + 1) * 2 * h * w, "offset group"),
        ),
    ),
    "7.2": Solved(
        exercises.check_moved,
        lambda b, a: sorted(name for name in b if not np.array_equal(b[name], a[name])),
        checks.MOVED_MISTAKES,
        slips=(
            (lambda b, a: sorted(n for n in b if not np.allclose(b[n], a[n])), "bit-identical"),
            (lambda b, a: sorted(n for n in b if b[n].sum() != a[n].sum()), "same sum"),
            (lambda b, a: sorted(n for n in b if (b[n] != a[n]).all()), "not `all`"),
            (lambda b, a: sorted(n for n in b if b[n] is not a[n]), "same object"),
        ),
    ),
    "7.3": Solved(
        exercises.check_mean_and_spread,
        lambda a: (100 * np.mean(a), 100 * np.std(a, ddof=1)),
        checks.SPREAD_MISTAKES,
        slips=(
            (lambda a: (np.mean(a), np.std(a, ddof=1)), "per cent"),
            (lambda a: (100 * np.mean(a), 100 * np.ptp(a)), "from the least to the greatest"),
        ),
    ),
    "7.4": Solved(
        exercises.check_running_statistics,
        running_statistics,
        checks.STATISTICS_MISTAKES,
        slips=(
            (lambda b, mean, variance, m: running_statistics(b, mean, variance, 1 - m), "share that stays"),
            (lambda b, mean, variance, m: running_statistics(b[-1:], mean, variance, m), "not the last one alone"),
        ),
    ),
}
