"""Project 2's tasks: a slanted line's boxes, bins that follow it, a part for each digit, scores, best lines, slopes."""

import matplotlib.pyplot as plt
import numpy as np

from deformconv.course.exercises.checker import check
from deformconv.course.figures import answer_and_target


def check_line_boxes(function) -> bool:
    """Task P2.1: `function(widths, height, middle, slope, gap)` -> the edges of the digits' boxes, `(n, 4)`.

    `widths` `(n,)`; `middle` is the line's, `(y, x)`; `slope` is how far it falls for each pixel to the right.
    """
    cases = [
        (np.array([7.0, 11.0, 9.0]), 15.0, (20.0, 33.0), 0.3, 2.0),
        (np.array([12.0, 5.0, 8.0, 6.0]), 13.0, (31.0, 40.0), -0.45, 1.0),
    ]
    return check("P2.1", function, _line_boxes, cases, LINE_MISTAKES)


def _line_boxes(widths, height, middle, slope, gap, at=0.5, about="middle"):
    """The keywords make mistakes."""
    whole = np.sum(widths) + gap * (len(widths) - 1)
    left = middle[1] - whole / 2 + np.cumsum(widths) - widths + gap * np.arange(len(widths))
    start = {"middle": middle[1], "left": middle[1] - whole / 2, "picture": 0}[about]
    top = middle[0] + slope * (left + at * widths - start) - height / 2
    return np.stack([top, left, top + height, left + widths], axis=-1)


LINE_MISTAKES = (
    (
        lambda w, h, m, slope, gap: _line_boxes(w, h, m, -slope, gap),
        "your line rises where it should fall: y points down, so add the slope.",
    ),
    (lambda w, h, m, slope, gap: _line_boxes(w, h, m, 0, gap), "your line is level: the slope is missing."),
    (lambda w, h, m, slope, gap: _line_boxes(w, h, m, slope, 0), "the gap is missing between the digits."),
    (
        lambda *a: _line_boxes(*a, at=0),
        "you take the height of the line at each digit's left edge: its middle lies on the line.",
    ),
    (
        lambda *a: _line_boxes(*a, about="left"),
        "your line is at its middle height on the left end: measure from the line's middle.",
    ),
    (
        lambda *a: _line_boxes(*a, about="picture"),
        "you measure from the picture's left edge: measure from the line's middle.",
    ),
    (
        lambda w, h, m, slope, gap: _line_boxes(w, h, (m[0] + h / 2, m[1]), slope, gap),
        "the tops of the digits lie on your line: their middles should.",
    ),
    (lambda *a: _line_boxes(*a)[:, [1, 0, 3, 2]], "x and y are swapped: edges are (y1, x1, y2, x2)."),
    (
        lambda w, h, m, slope, gap: _line_boxes(w, h, (m[0], m[1] + gap / 2), slope, gap),
        "there are gaps between digits alone: one fewer than digits.",
    ),
)


def check_follow(function) -> bool:
    """Task P2.2: `function(box, slope, bins, offset_scale)` -> normalised offsets `(*bins, 2)` along a slanted line."""
    cases = [
        (np.array([10.0, 4.0, 25.0, 52.0]), 0.4, (4, 9), 0.1),
        (np.array([3.5, 8.0, 30.0, 41.0]), -0.25, (3, 6), 0.2),
    ]
    return check("P2.2", function, _follow, cases, FOLLOW_MISTAKES, draw=_draw_follow)


def _draw_follow(got, want):
    answer_and_target(got[..., 0], want[..., 0])
    plt.show()


def _follow(box, slope, bins, gamma, inner=0.5, about=0.5, size=None, axis=0):
    """The keywords make mistakes."""
    height, width = box[2:] - box[:2]
    fall = slope * width * ((np.arange(bins[1]) + inner) / bins[1] - about)
    offsets = np.zeros((*bins, 2))
    offsets[..., axis] = fall / (height if size is None else size(height, width)) / gamma
    return offsets


FOLLOW_MISTAKES = (
    (lambda box, slope, *rest: _follow(box, -slope, *rest), "your bins climb where the line falls: y points down."),
    (
        lambda *a: _follow(*a, about=0),
        "your bins follow a line through the box's left edge: it goes through the middle.",
    ),
    (
        lambda *a: _follow(*a, inner=0),
        "each bin follows the line at its own left edge: its middle lies half a bin further.",
    ),
    (
        lambda *a: _follow(*a, size=lambda height, width: 1),
        "these are pixels: a normalised offset in y is a fraction of the box's height.",
    ),
    (
        lambda *a: _follow(*a, size=lambda height, width: width),
        "a move in y is a fraction of the height; you divide by the width.",
    ),
    (lambda box, slope, bins, gamma: _follow(box, slope, bins, 1), "`offset_scale` is missing: divide by it."),
    (
        lambda box, slope, bins, gamma: gamma**2 * _follow(box, slope, bins, gamma),
        "you multiply by `offset_scale`: the layer does that, so divide.",
    ),
    (lambda *a: _follow(*a, axis=1), "your bins move along x: (y, x), so y is the first."),
    (
        lambda box, slope, bins, gamma: _follow(box, slope, bins, gamma) / bins[0],
        "offsets are fractions of the whole box, not of one bin.",
    ),
)


def check_by_digit(function) -> bool:
    """Task P2.3: `function(pooled, digits)`, `(b, oh, ow, c)` -> `(b, digits, oh * (ow // digits) * c)`."""
    rng = np.random.default_rng(23)
    cases = [(rng.normal(size=size), digits) for size, digits in (((2, 4, 9, 5), 3), ((3, 2, 8, 3), 4))]
    return check("P2.3", function, _by_digit, cases, DIGIT_MISTAKES)


def _by_digit(pooled, digits, cut=None):
    batch, down, across, channels = pooled.shape
    own = across // digits
    parts = [pooled[:, :, slice(d * own, (d + 1) * own) if cut is None else cut(d, own)] for d in range(digits)]
    return np.stack([part.reshape(batch, down * own * channels) for part in parts], axis=1)


DIGIT_MISTAKES = (
    (
        lambda pooled, digits: pooled.reshape(len(pooled), digits, -1),
        "your parts lie above each other: a plain reshape cuts along the rows. Digits stand side by side.",
    ),
    (
        lambda pooled, digits: _by_digit(pooled, digits, cut=lambda d, own: slice(d, None, digits)),
        "each part takes every so many columns: the columns of one digit are neighbours.",
    ),
    (
        lambda pooled, digits: _by_digit(pooled, digits)[:, ::-1],
        "the digits come from right to left: the first is on the left.",
    ),
    (
        lambda pooled, digits: _by_digit(np.swapaxes(pooled, 1, 2).reshape(pooled.shape), digits),
        "you have taken columns for rows before the cut.",
    ),
    (
        lambda pooled, digits: np.swapaxes(pooled, 1, 2).reshape(len(pooled), digits, -1),
        "the right columns, but column by column: inside a part, go row by row.",
    ),
    (
        lambda pooled, digits: _by_digit(pooled, digits, cut=lambda d, own: slice(0, own)),
        "every part holds the first digit's columns.",
    ),
)


def check_shares_right(function) -> bool:
    """Task P2.4: `function(scores, labels)`, `(n, digits, classes)`, `(n, digits)` -> shares of digits and of lines."""
    rng = np.random.default_rng(24)
    cases = []
    for number, digits, classes in ((40, 3, 10), (25, 4, 6)):
        labels = rng.integers(classes, size=(number, digits))
        scores = rng.normal(size=(number, digits, classes)) + 2.5 * np.eye(classes)[labels]
        cases.append((scores, labels))
    return check("P2.4", function, _shares, cases, SHARES_MISTAKES)


def _shares(scores, labels, of_lines=lambda right: right.all(axis=1).mean()):
    right = np.argmax(scores, axis=-1) == labels
    return np.array([right.mean(), of_lines(right)])


SHARES_MISTAKES = (
    (
        lambda *a: _shares(*a, lambda right: right.any(axis=1).mean()),
        "a line is right if *all* of its digits are; with you one is enough.",
    ),
    (
        lambda *a: _shares(*a, lambda right: right.mean() ** right.shape[1]),
        "digits of one line do not fail independently: count whole lines.",
    ),
    (
        lambda *a: _shares(*a, lambda right: right.all(axis=0).mean()),
        "you ask along the lines, whether one place is right in all: ask along the digits of each line.",
    ),
    (lambda *a: _shares(*a)[::-1], "the digits first, then the lines."),
    (lambda *a: 100 * _shares(*a), "shares, please, not per cent."),
    (lambda *a: 1 - _shares(*a), "these are the shares that are wrong."),
    (lambda *a: _shares(*a, lambda right: right.mean()), "your second number is that of the digits once more."),
)


def check_line_matrix(function) -> bool:
    """Task P2.5: `function(count)` -> `(count, count)`: times any `count` numbers, their least-squares line."""
    return check("P2.5", function, _line_matrix, [(9,), (4,), (3,)], MATRIX_MISTAKES, draw=_draw_matrix)


def _draw_matrix(got, want):
    answer_and_target(got, want)
    plt.show()


def _line_matrix(count, mean=1, slope=1, start=None, norm=lambda steps: (steps**2).sum()):
    """The keywords make mistakes."""
    steps = np.arange(count) - ((count - 1) / 2 if start is None else start)
    return mean * np.ones((count, count)) / count + slope * np.outer(steps, steps) / norm(steps)


MATRIX_MISTAKES = (
    (lambda count: _line_matrix(count, slope=0), "you give the mean, a level line: the slope is missing."),
    (lambda count: _line_matrix(count, mean=0), "your line goes through zero in the middle: add the mean."),
    (
        lambda count: _line_matrix(count, start=0),
        "you count the places from the first: count from their middle, then mean and slope do not mix.",
    ),
    (
        lambda count: _line_matrix(count, norm=len),
        "the slope is not right: divide by the sum of the squared places, not by their number.",
    ),
    (lambda count: np.eye(count), "you give every number back as it was: that is no line."),
    (
        lambda count: np.eye(count) - _line_matrix(count),
        "this is what the line leaves over: we want the line itself.",
    ),
    (
        lambda count: _line_matrix(count, norm=lambda steps: np.sqrt((steps**2).sum())),
        "you divide by the length of the places once: divide by its square.",
    ),
)


def check_line_slope(function) -> bool:
    """Task P2.6: `function(offsets, box, offset_scale)`, `(oh, ow, 2)`, `(4,)` -> the slope of the moved bins."""
    rng = np.random.default_rng(26)
    cases = []
    for box, slope, bins, gamma in (
        (np.array([10.0, 4.0, 25.0, 52.0]), 0.4, (4, 9), 0.1),
        (np.array([3.5, 8.0, 30.0, 41.0]), -0.25, (3, 6), 0.2),
    ):
        cases.append((_follow(box, slope, bins, gamma) + 0.3 * rng.normal(size=(*bins, 2)), box, gamma))
    return check("P2.6", function, _line_slope, cases, SLOPE_MISTAKES)


def _line_slope(offsets, box, gamma, size=None, move_x=True, rest_y=True, fit=None):
    """The keywords make mistakes."""
    bins = offsets.shape[:2]
    rest = (np.moveaxis(np.indices(bins), 0, -1) + 0.5) / bins
    size = box[2:] - box[:2] if size is None else size
    y, x = np.moveaxis(((rest if rest_y else 0 * rest) + gamma * offsets) * size, -1, 0)
    x = x if move_x else rest[..., 1] * size[1]
    return (_fit if fit is None else fit)(y, x)


def _fit(y, x):
    return ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()


SLOPE_MISTAKES = (
    (
        lambda *a: _line_slope(*a, size=np.ones(2)),
        "you fit fractions of the box: height and width differ, so use pixels.",
    ),
    (lambda *a: _line_slope(*a, fit=lambda y, x: _fit(x, y)), "you fit x by y: the slope is how y changes with x."),
    (lambda *a: -_line_slope(*a), "the sign is wrong: a line that falls to the right has a positive slope."),
    (lambda offsets, box, gamma: _line_slope(offsets, box, 1), "`offset_scale` is missing."),
    (lambda *a: _line_slope(*a, move_x=False), "the bins move along x, too: fit at the places where they are."),
    (
        lambda offsets, box, gamma: _fit(offsets[..., 0], offsets[..., 1]),
        "you fit the offsets to each other: a bin's place is where it rests plus its offset.",
    ),
    (
        lambda offsets, box, gamma: _line_slope(offsets, box[[1, 0, 3, 2]], gamma),
        "height and width are swapped: a box is (y1, x1, y2, x2).",
    ),
    (
        lambda *a: _line_slope(*a, fit=lambda y, x: (y[:, -1] - y[:, 0]).mean() / (x[:, -1] - x[:, 0]).mean()),
        "you use the first column and the last alone: fit a line to all bins.",
    ),
)
