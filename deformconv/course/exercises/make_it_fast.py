"""Chapter 11's exercises: count operations and bytes, read a roofline, cut rows into blocks, compare timings."""

import matplotlib.pyplot as plt
import numpy as np

from deformconv.course.exercises.checker import check
from deformconv.course.figures import speeds_and_target


def check_multiply_adds(function) -> bool:
    """Exercise 11.1: `function(size, channels, filters, kernel_size, strides, groups, offset_groups)` -> `(3,)`.

    The multiply-adds of the product, of sampling, and of making the offsets.
    """
    cases = [
        ((15, 22), 12, 20, (3, 2), (2, 3), 4, 3),
        ((28, 17), 64, 32, (3, 5), (1, 1), 1, 1),
        ((9, 31), 6, 18, (1, 4), (3, 2), 3, 2),
    ]
    return check("11.1", function, _counts, cases, COUNT_MISTAKES)


def _counts(size, channels, filters, kernel, strides, groups, offset_groups, out=lambda n, s: -(-n // s), **wrong):
    """The keywords make mistakes."""
    pixels = out(size[0], strides[0]) * out(size[1], strides[1])
    taps = wrong.get("taps", kernel[0] * kernel[1])
    product = pixels * taps * channels * filters // wrong.get("divide", groups)
    sampling = pixels * taps * channels * wrong.get("corners", 4) * wrong.get("reads", 1)
    made = wrong.get("made", 2 * wrong.get("fields", offset_groups) * taps)
    return np.array([product, sampling, pixels * kernel[0] * kernel[1] * channels * made])


COUNT_MISTAKES = (
    (
        lambda *a: _counts(*a, out=lambda n, s: n),
        "strides are missing: the output has one pixel for each stride, not for each pixel of the input.",
    ),
    (
        lambda *a: _counts(*a, out=lambda n, s: n // s),
        "`same` padding rounds the output's size up: an odd size and a stride of 2 give one pixel more.",
    ),
    (
        lambda *a: _counts(*a, divide=1),
        "groups are missing from the product: each filter sees only its group's share of the channels.",
    ),
    (
        lambda *a: _counts(*a, divide=a[5] ** 2),
        "the groups count once: channels and filters are both cut, but the groups' products add up again.",
    ),
    (
        lambda *a: _counts(*a, taps=a[3][0] ** 2),
        "the kernel is not square: its taps are height times width.",
    ),
    (
        lambda *a: _counts(*a, reads=a[6]),
        "offset groups do not make more samples: each reads its own share of the channels.",
    ),
    (lambda *a: _counts(*a, reads=a[2]), "a sample is read once and serves all filters."),
    (lambda *a: _counts(*a, corners=1), "a bilinear sample has four corners: four multiply-adds."),
    (lambda *a: _counts(*a, fields=0.5 * a[6]), "an offset is a pair: two numbers for each tap."),
    (lambda *a: _counts(*a, fields=1), "each offset group has offsets of its own: more of them to make."),
    (
        lambda *a: _counts(*a, made=2 * a[6]),
        "the offset convolution's filters are the offsets of all taps: `2 * taps` for each offset group.",
    ),
)


def check_traffic(function) -> bool:
    """Exercise 11.2: `function(in_size, out_size, channels, filters, taps, item_bytes)` -> `(2,)` bytes.

    The least memory traffic of one image, with the columns in memory and without.
    """
    cases = [((31, 17), (16, 9), 12, 20, 6, 4), ((28, 20), (28, 20), 64, 48, 9, 2), ((14, 30), (7, 10), 5, 3, 15, 8)]
    return check("11.2", function, _traffic, cases, TRAFFIC_MISTAKES)


def _traffic(in_size, out_size, channels, filters, taps, item_bytes, passes=2, times=1, **wrong):
    """The keywords make mistakes."""
    pixels, out_pixels = np.prod(in_size), np.prod(out_size)
    once = channels * pixels + wrong.get("offsets", 2) * taps * out_pixels
    once += wrong.get("kernel", 1) * taps * channels * filters + wrong.get("outputs", 1) * filters * out_pixels
    columns = taps * channels * wrong.get("places", out_pixels)
    return item_bytes * times * np.array([once + passes * columns, once])


TRAFFIC_MISTAKES = (
    (lambda *a: _traffic(*a, passes=1), "the columns go both ways: written once, and read again by the product."),
    (lambda *a: _traffic(*a, passes=0), "the columns are missing from the first number."),
    (
        lambda *a: _traffic(*a, places=np.prod(a[0])),
        "the columns have a row for each pixel of the output, not of the input.",
    ),
    (lambda *a: _traffic(*a, offsets=0), "the offsets are missing: they are read, too."),
    (lambda *a: _traffic(*a, offsets=1), "an offset is a pair: two numbers for each tap."),
    (lambda *a: _traffic(*a, kernel=0), "the kernel is missing: it is read at least once."),
    (lambda *a: _traffic(*a, outputs=0), "the outputs are missing: they are written."),
    (lambda *a: _traffic(*a[:5], 1), "these are numbers, not bytes: multiply by `item_bytes`."),
    (lambda *a: _traffic(*a[:5], 8 * a[5]), "these are bits: a byte has eight of them, and bytes were asked for."),
    (
        lambda *a: _traffic(*a) + a[5] * 3 * a[2] * np.prod(a[0]),
        "you read the image four times: a corner that four samples share may stay in the cache.",
    ),
)


def check_attainable(function) -> bool:
    """Exercise 11.3: `function(peak, bandwidth, intensities)` -> the most operations a second, `(n,)`."""
    intensities = 2.0 ** np.arange(-3, 9)
    cases = [(90.0, 12.0, intensities), (51.2, 3.2, intensities[1:]), (700.0, 300.0, intensities)]
    return check("11.3", function, _roof, cases, ROOF_MISTAKES, draw=_draw)


def _draw(got, want):
    speeds_and_target(got, want)
    plt.show()


def _roof(peak, bandwidth, intensities):
    return np.minimum(peak, bandwidth * intensities)


ROOF_MISTAKES = (
    (
        lambda p, b, i: np.maximum(p, b * i),
        "you take the larger: nothing is faster than the peak, nor than memory can feed it.",
    ),
    (lambda p, b, i: np.full_like(i, p), "the peak is reached only by what has many operations a byte."),
    (lambda p, b, i: b * i, "no limit above: the arithmetic itself has a peak."),
    (
        lambda p, b, i: np.minimum(p, b / i),
        "you divide by the intensity: bytes a second times operations a byte is operations a second.",
    ),
    (lambda p, b, i: np.minimum(p, p / b * i), "the slope of the roof is the bandwidth, not the ridge."),
    (
        lambda p, b, i: 1 / (1 / p + 1 / (b * i)),
        "you add the two times: a processor computes while it waits for the next bytes, so the longer one counts.",
    ),
    (lambda p, b, i: np.where(i < p / b, b, p), "below the ridge the speed rises with the intensity."),
)


def check_blocks(function) -> bool:
    """Exercise 11.4: `function(rows, row_bytes, cache_bytes)` -> a list of pairs (start, end)."""
    cases = [(100, 2304, 65536), (17, 300, 1500), (6, 5000, 4096), (28, 512, 4096), (9, 100, 100_000)]

    def laid(cut):
        return lambda *arguments: _laid(cut(*arguments), arguments[0])

    mistakes = [(laid(wrong), message) for wrong, message in BLOCK_MISTAKES]
    return check("11.4", laid(function), laid(_cut), cases, mistakes)


def _laid(blocks, rows):
    """Which block has each row: -1 none, -2 several; then the end of the last block, and the number of blocks."""
    if blocks is None:
        return None
    found = np.full(rows + 2, -1)
    for number, (start, end) in enumerate(blocks):
        own = found[:rows][start:end]
        own[:] = np.where(own == -1, number, -2)
    found[rows:] = blocks[-1][1] if len(blocks) else 0, len(blocks)
    return found


def _cut(rows, row_bytes, cache_bytes, least=1, more=0, last="short", overlap=0):
    """The keywords make mistakes."""
    size = max(least, cache_bytes // row_bytes + more)
    starts = range(0, rows, size) if size else []
    blocks = [(start, start + size + overlap) for start in starts]
    if last == "short":
        blocks = [(start, min(end, rows)) for start, end in blocks]
    elif last == "lost":
        blocks = [(start, end) for start, end in blocks if end <= rows]
    return blocks


def _even(rows, row_bytes, cache_bytes):
    """As many blocks as bytes ask for, all of one size: rounded down, and the rest goes to the last one."""
    number = -(-rows * row_bytes // cache_bytes)
    size = max(1, rows // number)
    return [(i * size, rows if i == number - 1 else (i + 1) * size) for i in range(number) if i * size < rows]


BLOCK_MISTAKES = (
    (
        lambda *a: _cut(*a, last="long"),
        "the last block ends beyond the last row: it may be shorter than the others.",
    ),
    (
        lambda *a: _cut(*a, last="lost"),
        "the last rows are lost: they make a block of their own, a shorter one.",
    ),
    (lambda *a: _cut(*a, more=1), "a block is one row too large: it no longer fits the cache. Round down."),
    (lambda *a: _cut(*a, more=-1), "one more row fits into the cache: use the room."),
    (lambda *a: _cut(*a, overlap=1), "blocks overlap: `end` is the first row that is not in the block."),
    (
        lambda *a: [(start, end + 1) for start, end in _cut(*a)],
        "every block ends one row late: rows start, start + 1, ..., end - 1 are in it.",
    ),
    (lambda *a: _cut(*a, least=0), "a row larger than the cache still needs a block: at least one row each."),
    (
        _even,
        "blocks of one size, the rest in the last: that one may not fit. Fill each block, the last is short.",
    ),
    (lambda rows, *a: [(0, rows)], "all rows are in one block: that is the whole column buffer."),
)


def check_ratio(function) -> bool:
    """Exercise 11.5: `function(ours, yardstick)`, both `(rounds, calls)` -> `(3,)`: quartiles of the ratio."""
    rng = np.random.default_rng(115)
    cases = []
    for rounds, calls in ((7, 5), (12, 9), (5, 4)):
        weather = rng.uniform(1, 3, size=(rounds, 1))
        times = [base * weather * rng.lognormal(0, 0.3, size=(rounds, calls)) for base in (9.0, 6.5)]
        for each, first in zip(times, (4.0, 9.0), strict=True):
            each[:, 0] *= first  # the first call of a turn finds the caches cold
        cases.append(tuple(times))
    return check("11.5", function, _ratio, cases, RATIO_MISTAKES)


def _ratio(ours, yardstick, first=1, of_turn=np.median, quantiles=(0.25, 0.5, 0.75)):
    """The keywords make mistakes."""
    one, other = (of_turn(times[:, first:], axis=1) for times in (ours, yardstick))
    return np.quantile(one / other, quantiles)


RATIO_MISTAKES = (
    (lambda *a: _ratio(*a, first=0), "the first call of each turn is the warm-up: leave it out."),
    (
        lambda ours, yardstick: _ratio(ours[1:], yardstick[1:]),
        "you drop the first round; it is the first call of each.",
    ),
    (
        lambda ours, yardstick: _ratio(ours[1:], yardstick[1:], first=0),
        "you drop the first round and keep the first calls: calls are the second axis.",
    ),
    (lambda *a: _ratio(*a, of_turn=np.mean), "one call that was interrupted moves a mean: take each turn's median."),
    (lambda *a: _ratio(*a, of_turn=np.min), "the fastest call is luck: take each turn's median."),
    (lambda ours, yardstick: _ratio(yardstick, ours), "upside down: the yardstick's time stands below."),
    (
        lambda ours, yardstick: (
            np.quantile(ours[:, 1:], (0.25, 0.5, 0.75)) / np.quantile(yardstick[:, 1:], (0.25, 0.5, 0.75))
        ),
        "a ratio of quartiles is no quartile of ratios: divide round by round, for a round's calls share the weather.",
    ),
    (
        lambda ours, yardstick: np.quantile(ours[:, 1:] / yardstick[:, 1:], (0.25, 0.5, 0.75)),
        "calls are not pairs: call 3 of one has nothing to do with call 3 of the other. Take medians of turns first.",
    ),
    (
        lambda *a: _ratio(*a, quantiles=(0, 0.5, 1)),
        "smallest and largest depend on how often you measure: quartiles are at 0.25 and 0.75.",
    ),
)
