"""Chapter 10's exercises: points of an interval, boxes that overlap, offsets in pixels, RoIAlign, own channels."""

import matplotlib.pyplot as plt
import numpy as np

from deformconv import reference
from deformconv.course.exercises.checker import check
from deformconv.course.figures import answer_and_target

NO_HALF = "half a pixel is missing: the edge at 0 lies half a pixel before the centre of pixel 0."


def check_moved_points(function) -> bool:
    """Exercise 10.1: `function(start, end, offsets, samples, offset_scale)` -> `(bins, samples)`, pixel centres."""
    cases = [
        (1.5, 9.0, np.array([1.0, -2.0, 0.5]), 2, 0.1),
        (-0.75, 2.25, np.array([0.4, 0.0]), 4, 0.5),
        (4.0, 5.0, np.array([0.0, 3.0, -1.0, 2.5, 0.75]), 3, 0.2),
    ]
    return check("10.1", function, _moved_points, cases, POINTS_MISTAKES)


def _points(start, end, bins, samples, half=-0.5, inner=0.5, interleaved=False):
    """Where the bins at rest read, `(bins, samples)`; the keywords make mistakes."""
    shares = (np.arange(bins * samples) + inner) / (bins * samples)
    shares = shares.reshape(samples, bins).T if interleaved else shares.reshape(bins, samples)
    return start + (end - start) * shares + half


def _moved_points(start, end, offsets, samples, gamma, sign=1, **options):
    points = _points(start, end, len(offsets), samples, **options)
    return points + sign * gamma * (end - start) * offsets[:, None]


POINTS_MISTAKES = (
    (lambda *a: _moved_points(*a, half=0), NO_HALF),
    (
        lambda *a: _moved_points(*a, half=0.5),
        "the half pixel has the wrong sign: from an edge to pixel centres, subtract.",
    ),
    (
        lambda *a: _moved_points(*a, inner=0),
        "each point lies at the start of its share of the bin: it belongs in the middle, at (number + 0.5) shares.",
    ),
    (
        lambda *a: _moved_points(*a, interleaved=True),
        "bins and samples are interleaved: the points of one bin are neighbours.",
    ),
    (lambda *a: _moved_points(*a, sign=0), "your bins do not move: the offsets are missing."),
    (lambda *a: _moved_points(*a, sign=-1), "the bins move the wrong way: add the offset."),
    (lambda start, end, o, n, gamma: _moved_points(start, end, o, n, 1), "`offset_scale` is missing."),
    (
        lambda start, end, o, n, gamma: _moved_points(start, end, o, n, gamma / (end - start)),
        "your offsets are in pixels: they are fractions of the interval, so multiply by its length.",
    ),
    (
        lambda start, end, o, n, gamma: _moved_points(start, end, o, n, gamma / len(o)),
        "offsets are fractions of the whole interval, not of one bin.",
    ),
)


def check_box_overlap(function) -> bool:
    """Exercise 10.2: `function(boxes, others)`, `(n, 4)`, `(m, 4)` -> `(n, m)`: intersection over union."""
    boxes = np.array([[0, 0, 4, 3], [2, 1, 8, 5], [10, 10, 12, 15.5]])
    others = np.array([[1, 1, 5, 6], [11, 9, 13, 14], [0, 0, 4, 3], [5, 2, 6, 4.0]])
    rng = np.random.default_rng(102)
    corners = np.sort(rng.uniform(0, 9, size=(7, 2, 2)), axis=1).reshape(7, 4)
    return check("10.2", function, _overlap, [(boxes, others), (corners[:2], corners[2:])], OVERLAP_MISTAKES)


def _overlap(boxes, others, clip=True, extra=0.0, over="union"):
    """The keywords make mistakes."""
    boxes, others = boxes[:, None], others[None]
    sides = np.minimum(boxes[..., 2:], others[..., 2:]) - np.maximum(boxes[..., :2], others[..., :2]) + extra
    both = np.prod(np.maximum(sides, 0) if clip else sides, axis=-1)
    one, other = (np.prod(each[..., 2:] - each[..., :2] + extra, axis=-1) for each in (boxes, others))
    below = {
        "union": one + other - both,
        "sum": one + other,
        "smaller": np.minimum(one, other),
        "first": one + 0 * other,
        "nothing": np.ones_like(both),
    }
    return both / below[over]


def _hull(boxes, others):
    """The frame around both boxes in place of their intersection."""
    sides = np.maximum(boxes[:, None, 2:], others[None, :, 2:]) - np.minimum(boxes[:, None, :2], others[None, :, :2])
    return _overlap(boxes, others, over="nothing") / np.prod(sides, axis=-1)


OVERLAP_MISTAKES = (
    (
        lambda *a: _overlap(*a, clip=False),
        "boxes that miss each other have two negative sides, and their product is positive: let no side fall below 0.",
    ),
    (lambda *a: _overlap(*a, over="sum"), "the union counts the intersection once: subtract it from the two areas."),
    (lambda *a: _overlap(*a, over="smaller"), "you divide by the smaller area: a box inside another would score 1."),
    (lambda *a: _overlap(*a, over="first"), "you divide by the area of `boxes` alone; the union has both."),
    (lambda *a: _overlap(*a, over="nothing"), "this is the area of the intersection: divide it by that of the union."),
    (lambda *a: _overlap(*a, extra=1), "these are edges, not pixels: a box from 2 to 5 is 3 long, not 4."),
    (_hull, "you divide by the frame around both boxes; the union leaves out its empty corners."),
)


def check_offsets_in_pixels(function) -> bool:
    """Exercise 10.3: `function(offsets, boxes, offset_scale, spatial_scale)` -> moves in pixels of the map.

    `offsets` are `(n, out_height, out_width, 2)`, `boxes` `(n, 4)` in pixels of the image.
    """
    rng = np.random.default_rng(103)
    cases = []
    for number, gamma, scale in ((3, 0.1, 0.25), (2, 0.5, 0.125)):
        corners = np.sort(rng.uniform(2, 60, size=(number, 2, 2)), axis=1).reshape(number, 4)
        cases.append((rng.normal(size=(number, 4, 3, 2)), corners, gamma, scale))
    return check("10.3", function, _moves, cases, MOVES_MISTAKES)


def _moves(offsets, boxes, gamma, scale, size=lambda box: box[:, 2:] - box[:, :2]):
    return gamma * scale * offsets * size(boxes)[:, None, None]


MOVES_MISTAKES = (
    (
        lambda *a: _moves(*a, size=lambda box: (box[:, 2:] - box[:, :2])[:, ::-1]),
        "y is scaled by the width and x by the height: offsets are (y, x), boxes (y1, x1, y2, x2).",
    ),
    (lambda o, b, gamma, scale: _moves(o, b, 1, scale), "`offset_scale` is missing."),
    (lambda o, b, gamma, scale: _moves(o, b, gamma, 1), "these are pixels of the image: the map has another scale."),
    (
        lambda o, b, gamma, scale: _moves(o, b, gamma, 1 / scale),
        "the scale is upside down: `spatial_scale` is the size of the map over that of the image.",
    ),
    (
        lambda o, b, gamma, scale: _moves(o, b, gamma, scale) / np.array(o.shape[1:3]),
        "offsets are fractions of the box, not of one bin.",
    ),
    (
        lambda *a: _moves(*a, size=lambda box: box[:, 2:]),
        "you multiply by the box's far edges: its size is their distance from the near ones.",
    ),
    (
        lambda *a: _moves(*a, size=lambda box: np.sqrt(np.prod(box[:, 2:] - box[:, :2], axis=1, keepdims=True))),
        "one size serves both axes: height and width count on their own.",
    ),
)


def check_align(function) -> bool:
    """Exercise 10.4: `function(image, box, bins, samples)`, `(h, w)`, `(4,)` -> `bins`: RoIAlign of one box."""
    image = np.random.default_rng(104).uniform(size=(9, 7))
    cases = [
        (image, np.array([1.2, 0.7, 7.9, 5.6]), (4, 3), 2),
        (image, np.array([2.0, 1.0, 5.0, 6.0]), (2, 5), 3),
        (image, np.array([-2.5, 3.3, 4.1, 9.2]), (3, 2), 2),
    ]
    return check("10.4", function, _align, cases, ALIGN_MISTAKES, draw=_draw)


def _draw(got, want):
    answer_and_target(got, want)
    plt.show()


def _align(image, box, bins, samples, half=0.5, moved=lambda points: points, take=np.mean, **options):
    """The keywords make mistakes."""
    axes = []
    for first, last, count in zip(box[:2], box[2:], bins, strict=True):
        axes.append(_points(first, last, count, samples, half=-half).ravel())
    points = moved(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))
    values = reference.bilinear_sample(image[None, ..., None], points[None], **options)[0, ..., 0]
    return take(values.reshape(bins[0], samples, bins[1], samples), axis=(1, 3))


ALIGN_MISTAKES = (
    (lambda *a: _align(*a, half=0), NO_HALF),
    (
        lambda image, box, bins, samples: _align(image, box, bins, 1),
        "you read one point in the middle of each bin: take the mean over samples x samples of them.",
    ),
    (
        lambda image, box, *rest: _align(image, box[[1, 0, 3, 2]], *rest),
        "y and x of the box are swapped: its edges are (y1, x1, y2, x2).",
    ),
    (
        lambda *a: _align(*a, moved=lambda points: np.floor(points + 0.5)),
        "you read the nearest pixel: read between pixels, with four weights.",
    ),
    (lambda *a: _align(*a, take=np.sum), "you sum over the points of a bin: take their mean."),
    (lambda *a: _align(*a, take=np.max), "you take the largest of a bin's points: take their mean."),
    (lambda *a: _align(*a, padding="edge"), "wrong border: outside the image is zero, not the nearest pixel."),
    (
        lambda image, box, *rest: _align(image, np.floor(box + 0.5), *rest),
        "the box is rounded: leave its edges where they are.",
    ),
)


def check_own_channels(function) -> bool:
    """Exercise 10.5: `function(pooled)`, `(oh, ow, classes * oh * ow)` -> `(oh, ow, classes)`: each bin its own."""
    rng = np.random.default_rng(105)
    cases = [(rng.normal(size=(oh, ow, classes * oh * ow)),) for oh, ow, classes in ((2, 3, 4), (3, 1, 2), (4, 3, 10))]
    return check("10.5", function, _own(), cases, OWN_MISTAKES)


def _own(channel=lambda c, i, j, classes, oh, ow: (c * oh + i) * ow + j):
    def function(pooled):
        oh, ow, channels = pooled.shape
        classes = channels // (oh * ow)
        own = np.zeros((oh, ow, classes))
        for i, j, c in np.ndindex(own.shape):
            own[i, j, c] = pooled[i, j, channel(c, i, j, classes, oh, ow)]
        return own

    return function


def _mean_of_bins(pooled):
    """Plain pooling's answer: a bin takes the mean of all channels of a class, not only its own."""
    oh, ow, channels = pooled.shape
    return pooled.reshape(oh, ow, channels // (oh * ow), oh * ow).mean(axis=-1)


OWN_MISTAKES = (
    (
        _own(lambda c, i, j, classes, oh, ow: (i * ow + j) * classes + c),
        "you put the bin outermost: here all channels of class 0 come first, one for each bin.",
    ),
    (
        _own(lambda c, i, j, classes, oh, ow: (c * ow + j) * oh + i),
        "the bins go row by row; you count them column by column.",
    ),
    (_own(lambda c, i, j, classes, oh, ow: c), "every bin reads the same first channels: none has its own."),
    (_own(lambda c, i, j, classes, oh, ow: c * oh * ow), "every bin reads what belongs to bin (0, 0)."),
    (_mean_of_bins, "you take the mean over a class's channels: bin (i, j) reads one of them only."),
    (
        _own(lambda c, i, j, classes, oh, ow: (c + 1) * oh * ow - 1 - (i * ow + j)),
        "the bins run backwards: the first channel of a class belongs to the bin at the top left.",
    ),
)
