"""Chapter 6's exercises: a loss's slope, gradients of offset weights, bounded offsets, taps outside, a schedule."""

import matplotlib.pyplot as plt
import numpy as np

from deformconv.course.exercises.checker import check
from deformconv.course.figures import answer_and_target, curve_and_target


def check_loss_slope(function) -> bool:
    """Exercise 6.1: `function(row, copy, offset)` -> the slope of the mean squared difference by the offset."""
    rng = np.random.default_rng(61)
    cases = [(rng.uniform(size=n), rng.uniform(size=n), offset) for n, offset in ((7, 0.4), (6, -1.7), (8, 1.0))]
    return check("6.1", function, _slope, cases, SLOPE_MISTAKES)


def _pixels(row, index, border="zero"):
    inside = (index >= 0) & (index < len(row))
    return row[np.clip(index, 0, len(row) - 1)] * (inside if border == "zero" else 1)


def _slope(row, copy, offset, factor=2.0, reduce=np.mean, back=False, border="zero", sign=1):
    """The keywords make mistakes; `back` takes the cell to the left of a whole place."""
    places = np.arange(len(row)) + sign * offset
    left = np.ceil(places).astype(int) - 1 if back else np.floor(places).astype(int)
    a, b = (_pixels(row, left + step, border) for step in (0, 1))
    value = a + (places - left) * (b - a)
    return reduce(factor * (value - copy) * (b - a))


def _slope_with_ceil(row, copy, offset):
    return 0.0 if offset == np.floor(offset) else _slope(row, copy, offset)


def _slope_of_values(row, copy, offset):
    left = np.floor(np.arange(len(row)) + offset).astype(int)
    return np.mean(_pixels(row, left + 1) - _pixels(row, left))


SLOPE_MISTAKES = (
    (lambda *a: _slope(*a, factor=1.0), "the factor 2 of the square's derivative is missing."),
    (lambda *a: _slope(*a, reduce=np.sum), "the loss is the mean over the pixels, not the sum."),
    (lambda *a: -_slope(*a), "the sign is wrong: the slope is that of (value - copy) squared, not of what to do next."),
    (lambda *a: _slope(*a, sign=-1), "you subtract the offset: each pixel reads at its own place plus the offset."),
    (_slope_with_ceil, "at a whole offset your slope vanishes: take floor + 1, not ceil, as the right neighbour."),
    (lambda *a: _slope(*a, back=True), "at a whole offset you take the cell to the left: take floor and floor + 1."),
    (lambda *a: _slope(*a, border="edge"), "wrong border: outside the row is zero, not the last pixel."),
    (_slope_of_values, "this is how fast the values change; the chain rule multiplies it by 2 (value - copy)."),
)


def check_kernel_gradient(function) -> bool:
    """Exercise 6.2: `function(images, by_offsets, kernel_size)` -> the offset kernel's gradient, `(kh, kw, c, m)`."""
    rng = np.random.default_rng(62)
    cases = [
        (rng.normal(size=(b, h + kh - 1, w + kw - 1, c)), rng.normal(size=(b, h, w, m)), (kh, kw))
        for b, h, w, c, m, kh, kw in ((2, 4, 5, 3, 4, 3, 2), (3, 2, 6, 2, 6, 1, 3), (2, 3, 3, 1, 2, 2, 4))
    ]
    return check("6.2", function, _kernel_gradient, cases, KERNEL_MISTAKES, draw=_draw_first_channels)


def _draw_first_channels(got, want):
    answer_and_target(got[:, :, 0, 0], want[:, :, 0, 0])
    plt.show()


def _kernel_gradient(images, by_offsets, kernel_size, flip=False, reduce="sum"):
    _, height, width, made = by_offsets.shape
    gradient = np.zeros((*kernel_size, images.shape[-1], made))
    for i, j in np.ndindex(kernel_size):
        seen = images[:, i : i + height, j : j + width]
        at = (kernel_size[0] - 1 - i, kernel_size[1] - 1 - j) if flip else (i, j)
        gradient[at] = np.einsum("bijc,bijm->cm", seen, by_offsets)
    return gradient / {"sum": 1, "batch": len(images), "all": by_offsets[..., 0].size}[reduce]


def _not_multiplied(images, by_offsets, kernel_size):
    shape = (*kernel_size, images.shape[-1], by_offsets.shape[-1])
    return np.broadcast_to(by_offsets.sum(axis=(0, 1, 2)), shape)


KERNEL_MISTAKES = (
    (lambda *a: _kernel_gradient(*a, reduce="all"), "add up over images and pixels; you take the mean of them."),
    (
        lambda *a: _kernel_gradient(*a, reduce="batch"),
        "you take the mean over the images: the mean, if any, is in the loss already.",
    ),
    (
        lambda *a: _kernel_gradient(*a, flip=True),
        "your kernel is turned round: weight (i, j) reads pixel + (i, j), so its gradient does, too.",
    ),
    (
        lambda x, g, k: _kernel_gradient(x[:1], g[:1], k),
        "only the first image counts in yours: one kernel serves all images, so all of them push it.",
    ),
    (
        lambda x, g, k: _kernel_gradient(x, np.ascontiguousarray(g[:, ::-1, ::-1]), k),
        "pixels are paired the wrong way round: output pixel (p, q) belongs to inputs (p + i, q + j).",
    ),
    (
        lambda x, g, k: np.broadcast_to(_kernel_gradient(x, g, k)[:1, :1], (*k, x.shape[-1], g.shape[-1])),
        "all your places get what belongs to (0, 0): shift the window by (i, j).",
    ),
    (
        _not_multiplied,
        "this is the bias's gradient at every weight: a weight is multiplied by the pixel that it reads.",
    ),
)


def check_bounded(function) -> bool:
    """Exercise 6.3: `function(made, limit)` -> offsets of the same shape, all shorter than `limit` along each axis."""
    rng = np.random.default_rng(63)
    cases = [(rng.normal(scale=scale, size=size), limit) for scale, size, limit in
             ((2.0, (3, 4, 2), 3.0), (6.0, (2, 5, 2), 1.5), (0.3, (4, 2, 2), 0.5))]  # fmt: skip
    return check("6.3", function, _bounded, cases, BOUNDED_MISTAKES)


def _bounded(made, limit):
    return limit * np.tanh(made / limit)


BOUNDED_MISTAKES = (
    (
        lambda made, limit: np.clip(made, -limit, limit),
        "a clipped offset has no slope beyond the limit: once there, it never learns again. Bend it smoothly.",
    ),
    (lambda made, limit: np.tanh(made), "yours end at 1: they should reach for `limit`."),
    (
        lambda made, limit: limit * np.tanh(made),
        "the slope at zero is `limit`, not 1: a small offset should stay as it was made.",
    ),
    (lambda made, limit: np.tanh(made / limit), "you divide by the limit and do not multiply by it again."),
    (
        lambda made, limit: limit * np.tanh(made * limit),
        "you multiply by the limit inside: divide, so that the slope at zero is 1.",
    ),
    (
        lambda made, limit: limit / (1 + np.exp(-made)),
        "a sigmoid of zero is not zero: the layer would not start as a convolution.",
    ),
    (
        lambda made, limit: limit * np.tanh(np.abs(made) / limit),
        "all your offsets point down and to the right: the sign got lost.",
    ),
    (
        lambda made, limit: limit * (2 / (1 + np.exp(-made)) - 1),
        "the slope at zero is limit / 2, not 1: a small offset should stay as it was made.",
    ),
)


def check_share_outside(function) -> bool:
    """Exercise 6.4: `function(offsets, input_size, kernel_size, strides)` -> each tap's share outside, `(taps,)`."""
    rng = np.random.default_rng(64)
    cases = []
    for input_size, kernel_size, strides in (
        ((9, 6), (3, 2), (2, 1)),
        ((7, 12), (3, 5), (1, 3)),
        ((8, 5), (2, 3), (2, 2)),
    ):
        size = [-(-full // stride) for full, stride in zip(input_size, strides, strict=True)]
        offsets = rng.uniform(-4, 4, size=(*size, 2 * kernel_size[0] * kernel_size[1]))
        # Some land exactly on the border's two ends, where a tap reads nothing any more.
        offsets[0] = np.round(offsets[0])
        cases.append((offsets, input_size, kernel_size, strides))
    return check("6.4", function, _share, cases, SHARE_MISTAKES)


def _before(size, kernel_size, stride):
    missing = (-(-size // stride) - 1) * stride + kernel_size - size
    return max(missing, 0) // 2


def _share(offsets, input_size, kernel_size, strides, before=_before, flip=False, column=False, edge=1.0, rest=True,
           count=lambda out: out.any(axis=-1).mean(axis=(0, 1)), strided=True):  # fmt: skip
    """The keywords make mistakes: where taps rest, how offsets are read, where outside begins, what is counted."""
    own = offsets.reshape(*offsets.shape[:2], -1, 2)
    own = own[..., ::-1] if flip else own
    taps = np.indices(kernel_size).reshape(2, -1).T
    if column:
        taps = np.indices(kernel_size[::-1]).reshape(2, -1).T[:, ::-1]
    pads = [before(*each) for each in zip(input_size, kernel_size, strides, strict=True)]
    pixels = np.moveaxis(np.indices(offsets.shape[:2]), 0, -1)[:, :, None] * (strides if strided else 1)
    places = own + (pixels + taps - pads if rest else 0)
    return count((places <= -edge) | (places >= np.array(input_size) - 1 + edge))


SHARE_MISTAKES = (
    (lambda *a: _share(*a, flip=True), "y and x of the offsets are swapped: each pair is (y, x)."),
    (lambda *a: _share(*a, column=True), "the taps go row by row; you read them column by column."),
    (
        lambda *a: _share(*a, before=lambda *_: 0),
        "the padding is missing: `same` puts the first taps before the image.",
    ),
    (
        lambda *a: _share(*a, before=lambda size, k, s: (k - 1) // 2),
        "you pad (k - 1) // 2 before; with a stride Keras counts the zeros that it needs and puts half of them before.",
    ),
    (lambda *a: _share(*a, strided=False), "the stride is missing: output pixel (i, j) begins at (i, j) * strides."),
    (
        lambda *a: _share(*a, edge=0.0),
        "outside begins one pixel later: up to there a tap still reads a part of the outermost pixel.",
    ),
    (lambda *a: _share(*a, rest=False), "an offset is no place: add where the tap rests."),
    (
        lambda *a: _share(*a, count=lambda out: out.mean(axis=(0, 1, 3))),
        "you count numbers, y and x apart: a tap is outside if either of them is.",
    ),
    (
        lambda *a: _share(*a, count=lambda out: out.all(axis=-1).mean(axis=(0, 1))),
        "one axis is enough to be outside: or, not and.",
    ),
    (lambda *a: 1 - _share(*a), "these are the shares of what is inside."),
)


def check_rates(function) -> bool:
    """Exercise 6.5: `function(steps, warmup, peak)` -> the learning rate of each step, `(steps,)`."""
    cases = [(20, 5, 0.002), (30, 3, 0.5), (9, 4, 1.0)]
    return check("6.5", function, _rates, cases, RATES_MISTAKES, draw=_draw_rates)


def _draw_rates(got, want):
    curve_and_target(got, want, x="step", y="learning rate")
    plt.show()


def _rates(steps, warmup, peak, first=1, turn=np.pi):
    step = np.arange(steps)
    fall = (step - warmup) / (steps - warmup)
    rates = np.where(step < warmup, (step + first) / warmup, (1 + np.cos(turn * fall)) / 2)
    return peak * rates


def _from_the_first_step(steps, warmup, peak):
    step = np.arange(steps)
    return peak * np.where(step < warmup, (step + 1) / warmup, (1 + np.cos(np.pi * step / steps)) / 2)


def _both_at_once(steps, warmup, peak):
    step = np.arange(steps)
    return peak * np.minimum((step + 1) / warmup, 1) * (1 + np.cos(np.pi * step / steps)) / 2


def _straight(steps, warmup, peak):
    step = np.arange(steps)
    return peak * np.where(step < warmup, (step + 1) / warmup, 1 - (step - warmup) / (steps - warmup))


RATES_MISTAKES = (
    (lambda *a: _rates(*a, first=0), "the first step has rate 0 and is lost: warm-up step 0 has peak / warmup."),
    (
        _from_the_first_step,
        "your cosine began before the warm-up ended: it should start at the peak, at step `warmup`.",
    ),
    (_both_at_once, "you multiply warm-up and cosine, so the peak is never reached: first the one, then the other."),
    (lambda *a: _rates(*a, turn=2 * np.pi), "a whole period comes up again: fall along half of one, to pi."),
    (lambda *a: _rates(*a, turn=np.pi / 2), "a quarter of a period ends half-way: fall along half of one, to pi."),
    (_straight, "your rate falls along a straight line: it should fall along a cosine."),
    (lambda s, w, p: _rates(s, w, 1.0), "your peak is 1: it should be `peak`."),
    (lambda s, w, p: np.where(np.arange(s) < w, p, _rates(s, w, p)), "the warm-up is missing: rise to the peak first."),
)
