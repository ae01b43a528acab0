"""Chapter 11's exercises, solved."""

import numpy as np

from deformconv.course import exercises
from deformconv.course.exercises import make_it_fast as checks
from solutions.solved import Solved


def multiply_adds(size, channels, filters, kernel_size, strides, groups, offset_groups):
    """Pixel by pixel of the output, as a loop would meet them."""
    product = sampling = offsets = 0
    seen = channels // groups
    for _ in range(0, size[0], strides[0]):
        for _ in range(0, size[1], strides[1]):
            for _ in np.ndindex(*kernel_size):
                product += filters * seen
                for _ in range(offset_groups):
                    sampling += 4 * (channels // offset_groups)
                    offsets += 2 * kernel_size[0] * kernel_size[1] * channels
    return [product, sampling, offsets]


def traffic(in_size, out_size, channels, filters, taps, item_bytes):
    """By the sizes of the arrays themselves."""
    image, kernel = np.empty((*in_size, channels)), np.empty((taps, channels, filters))
    offsets, outputs = np.empty((*out_size, taps, 2)), np.empty((*out_size, filters))
    columns = np.empty((*out_size, taps, channels))
    without = sum(array.size for array in (image, kernel, offsets, outputs))
    return [item_bytes * (without + 2 * columns.size), item_bytes * without]


def attainable(peak, bandwidth, intensities):
    """By the ridge: left of it memory decides, right of it arithmetic."""
    return np.where(intensities < peak / bandwidth, bandwidth * intensities, peak)


def blocks(rows, row_bytes, cache_bytes):
    """Row by row: a new block where the next row would not fit."""
    starts, filled = [0], 0
    for row in range(rows):
        if filled and filled + row_bytes > cache_bytes:
            starts.append(row)
            filled = 0
        filled += row_bytes
    return list(zip(starts, [*starts[1:], rows], strict=True))


def ratio(ours, yardstick):
    """Round by round."""
    ratios = [np.median(mine[1:]) / np.median(theirs[1:]) for mine, theirs in zip(ours, yardstick, strict=True)]
    return [np.percentile(ratios, share) for share in (25, 50, 75)]


EXERCISES = {
    "11.1": Solved(
        exercises.check_multiply_adds,
        multiply_adds,
        checks.COUNT_MISTAKES,
        slips=(
            (lambda size, c, f, k, s, *rest: multiply_adds(size, c, f, k, (1, 1), *rest), "strides are missing"),
            (
                lambda size, c, f, k, s, g, og: (
                    multiply_adds(size, c, f, k, s, 1, og)[:1] + multiply_adds(size, c, f, k, s, g, og)[1:]
                ),
                "groups are missing",
            ),
        ),
    ),
    "11.2": Solved(
        exercises.check_traffic,
        traffic,
        checks.TRAFFIC_MISTAKES,
        slips=(
            (lambda *a: [np.mean(traffic(*a)), traffic(*a)[1]], "go both ways"),
            (lambda *a: np.array(traffic(*a)) // a[-1], "not bytes"),
        ),
    ),
    "11.3": Solved(
        exercises.check_attainable,
        attainable,
        checks.ROOF_MISTAKES,
        slips=((lambda p, b, i: attainable(np.inf, b, i), "no limit above"),),
        draws=True,
    ),
    "11.4": Solved(
        exercises.check_blocks,
        blocks,
        checks.BLOCK_MISTAKES,
        slips=(
            (lambda *a: [(start, end + 1) for start, end in blocks(*a)], "one row late"),
            (lambda rows, one, room: blocks(rows, one, room + one), "one row too large"),
        ),
    ),
    "11.5": Solved(
        exercises.check_ratio,
        ratio,
        checks.RATIO_MISTAKES,
        slips=((lambda ours, yardstick: ratio(yardstick, ours), "upside down"),),
    ),
}
