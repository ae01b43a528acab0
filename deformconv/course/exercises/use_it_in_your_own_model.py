"""Chapter 12's exercises: rounded coordinates, a foreign kernel, clipped gradients, shared batches, patience."""

import matplotlib.pyplot as plt
import numpy as np

from deformconv.course.exercises.checker import check
from deformconv.course.figures import curve_and_target, rounded


def check_rounded(function) -> bool:
    """Exercise 12.1: `function(coords, bits)` -> the nearest numbers with so many significant bits, same shape."""
    rng = np.random.default_rng(121)
    cases = [
        (np.sort(rng.uniform(-20, 40, size=60)), 4),
        (rng.uniform(0, 300, size=(5, 3)), 8),
        (np.array([0.0, 0.3, -0.013, 7.1]), 6),
    ]
    return check("12.1", function, rounded, cases, ROUNDED_MISTAKES, draw=_draw_staircase)


def _draw_staircase(got, want):
    curve_and_target(got.ravel(), want.ravel(), x="which coordinate", y="rounded")
    plt.show()


def _with_exponent(coords, bits, exponent):
    with np.errstate(invalid="ignore"):
        step = 2.0 ** (exponent - bits + 1)
        return np.round(coords / step) * step


ROUNDED_MISTAKES = (
    (
        lambda x, bits: rounded(x, bits - 1),
        "one bit too few: `bits` counts all significant bits, the leading 1 as well, though no format stores it.",
    ),
    (
        lambda x, bits: rounded(x, bits + 1),
        "one bit too many: the leading 1 is one of the `bits`, though no format stores it.",
    ),
    (lambda x, bits: rounded(x, bits, np.trunc), "you cut off what does not fit: take the nearest number."),
    (lambda x, bits: rounded(x, bits, np.floor), "you round down: take the nearest number, above or below."),
    (lambda x, bits: rounded(x, bits, np.ceil), "you round up: take the nearest number, above or below."),
    (
        lambda x, bits: _with_exponent(x, bits, 0),
        "your numbers are equally far apart everywhere: their distance doubles at each power of two.",
    ),
    (
        lambda x, bits: _with_exponent(x, bits, np.floor(np.log2(np.abs(x).max()))),
        "you take the distance that the largest coordinate has for all: each has that of its own power of two.",
    ),
    (
        lambda x, bits: _with_exponent(x, bits, np.round(np.log2(np.maximum(np.abs(x), 1e-9)))),
        "the exponent must be rounded down: all numbers from 16 to 32 are as far apart as those after 16.",
    ),
    (
        lambda x, bits: np.where(x == 0, np.nan, rounded(x, bits)),
        "zero has no logarithm, and yours becomes NaN: `np.frexp` takes it, or leave zero out.",
    ),
    (
        lambda x, bits: np.where(x > 0, rounded(x, bits), np.nan),
        "a negative number has no logarithm: take that of its size.",
    ),
    (lambda x, bits: rounded(np.abs(x), bits), "the sign got lost."),
    (lambda x, bits: np.round(x, bits), "these are decimal places: bits are asked for, and significant ones."),
)


def check_bring(function) -> bool:
    """Exercise 12.2: `function(kernel, bias)` -> a pair, the same layer's kernel and bias here."""
    rng = np.random.default_rng(122)
    cases = [
        (rng.normal(size=(filters, channels, kh, kw)), rng.normal(size=filters))
        for filters, channels, kh, kw in ((4, 2, 3, 5), (3, 6, 2, 3), (5, 3, 1, 4))
    ]

    def laid(bring):
        return lambda kernel, bias: _kernel_and_bias(bring(kernel, bias))

    mistakes = [(laid(wrong), message) for wrong, message in BRING_MISTAKES]
    return check("12.2", laid(function), laid(_bring), cases, mistakes)


def _kernel_and_bias(pair):
    """Shape of the kernel, its numbers, the bias: one row of numbers that tells two answers apart."""
    if pair is None:
        return None
    kernel, bias = pair
    return np.concatenate([np.shape(kernel), np.ravel(kernel), np.ravel(bias)])


def _bring(kernel, bias, axes=(2, 3, 1, 0), factor=0.5, bias_factor=1.0):
    return factor * np.transpose(kernel, axes), bias_factor * bias


BRING_MISTAKES = (
    (
        lambda *a: _bring(*a, factor=1.0),
        "each tap counts twice as much as before: a mask of 1/2 there is one of 1 here.",
    ),
    (lambda *a: _bring(*a, factor=2.0), "you double the kernel: a mask here is twice that there, so halve it."),
    (
        lambda *a: _bring(*a, bias_factor=0.5),
        "no mask acts on the bias: it stays as it is.",
    ),
    (
        lambda *a: _bring(*a, axes=(3, 2, 1, 0)),
        "height and width of the kernel are swapped: turning the whole order round turns them round, too.",
    ),
    (
        lambda *a: _bring(*a, axes=(2, 3, 0, 1)),
        "filters and channels are swapped: filters come last here.",
    ),
    (lambda *a: _bring(*a, axes=(0, 1, 2, 3)), "the order is still PyTorch's: here it is (kh, kw, channels, filters)."),
    (
        lambda kernel, bias: (0.5 * kernel.reshape(*kernel.shape[2:], *kernel.shape[1::-1]), bias),
        "the shape is right and the numbers are in other places: `reshape` moves nothing, `transpose` does.",
    ),
    (
        lambda kernel, bias: _bring(kernel[:, :, ::-1, ::-1], bias),
        "your kernel is turned by half a turn: neither library does that, whatever a convolution is in books.",
    ),
)


def check_clip_together(function) -> bool:
    """Exercise 12.3: `function(gradients, longest)` -> a list of arrays of the same shapes."""
    rng = np.random.default_rng(123)
    cases = [
        ([rng.normal(size=shape) for shape in ((3, 2, 4), (5,), (2, 3))], 0.7),
        ([0.1 * rng.normal(size=shape) for shape in ((4, 3), (2,))], 1.5),
        ([rng.normal(size=shape) for shape in ((2, 2, 3), (7,))], 0.5),
    ]

    def laid(clip):
        def flat(*arguments):
            clipped = clip(*arguments)
            return None if clipped is None else np.concatenate([np.ravel(each) for each in clipped])

        return flat

    mistakes = [(laid(wrong), message) for wrong, message in CLIP_MISTAKES]
    return check("12.3", laid(function), laid(_clipped), cases, mistakes)


def _length(gradients):
    return np.sqrt(sum(np.sum(np.square(each)) for each in gradients))


def _clipped(gradients, longest, length=_length, factor=lambda share: min(1, share)):
    """The keywords make mistakes."""
    return [each * factor(longest / length(gradients)) for each in gradients]


CLIP_MISTAKES = (
    (
        lambda g, longest: [_clipped([each], longest)[0] for each in g],
        "each array is clipped alone: that turns the gradient. Take one length, of all of them together.",
    ),
    (
        lambda g, longest: [np.clip(each, -longest, longest) for each in g],
        "each number is clipped alone: that turns the gradient. Make all shorter by one factor.",
    ),
    (
        lambda *a: _clipped(*a, factor=lambda share: share),
        "a gradient that is short enough stays as it is; yours is made longer.",
    ),
    (
        lambda *a: _clipped(*a, factor=lambda share: max(1, share)),
        "you take the larger factor: it should never exceed 1.",
    ),
    (
        lambda *a: _clipped(*a, length=lambda g: _length(g) ** 2),
        "the root is missing: the length is the root of the sum of squares.",
    ),
    (
        lambda *a: _clipped(*a, length=lambda g: sum(_length([each]) for each in g)),
        "lengths do not add up: squares do. Sum all squares, then take the root.",
    ),
    (
        lambda *a: _clipped(*a, length=lambda g: sum(np.abs(each).sum() for each in g)),
        "you add up sizes: the length is the root of the sum of squares.",
    ),
    (
        lambda *a: _clipped(*a, length=lambda g: max(np.abs(each).max() for each in g)),
        "you measure the largest number alone: the length is the root of the sum of squares.",
    ),
    (
        lambda *a: _clipped(*a, length=lambda g: _length(g) / np.sqrt(sum(each.size for each in g))),
        "you take the mean of the squares: the length takes their sum.",
    ),
)


def check_batchnorm_together(function) -> bool:
    """Exercise 12.4: `function(means, variances, counts)` -> mean and variance of all together, `(2, channels)`."""
    rng = np.random.default_rng(124)
    cases = [
        (rng.normal(size=(devices, channels)), rng.uniform(0.5, 2, size=(devices, channels)), np.array(counts))
        for devices, channels, counts in ((3, 4, (2, 5, 9)), (2, 5, (7, 3)), (4, 2, (1, 2, 6, 3)))
    ]
    return check("12.4", function, _together, cases, TOGETHER_MISTAKES)


def _together(means, variances, counts, shares=lambda counts: counts / counts.sum(), within=1, between=1):
    """The keywords make mistakes."""
    shares = shares(counts)[:, None]
    mean = (shares * means).sum(axis=0)
    variance = (shares * (within * variances + between * (means - mean) ** 2)).sum(axis=0)
    return np.stack([mean, variance])


def _squares(means, variances, counts):
    shares = (counts / counts.sum())[:, None]
    return np.stack([(shares * means).sum(axis=0), (shares * (variances + means**2)).sum(axis=0)])


TOGETHER_MISTAKES = (
    (
        lambda *a: _together(*a, shares=lambda counts: np.full(len(counts), 1 / len(counts))),
        "each device counts the same in yours: weigh it by how many images it has.",
    ),
    (
        lambda *a: _together(*a, between=0),
        "the variance is too small: the devices' means differ from each other, and that is variance, too.",
    ),
    (lambda *a: _together(*a, within=0), "only the differences between devices are in yours: add those within each."),
    (_squares, "this is the mean square, not the variance: take off the square of the mean."),
    (lambda *a: _together(*a, shares=lambda counts: counts.astype(float)), "divide by the number of all images."),
    (
        lambda m, v, c: _together(m, v, c) * np.array([[1], [c.sum() / (c.sum() - 1)]]),
        "you divide the variance by n - 1: BatchNorm divides by n.",
    ),
    (
        lambda *a: np.sqrt(_together(*a) ** [[2], [1]]) * np.sign(_together(*a)),
        "this is the standard deviation: leave the root out.",
    ),
    (lambda *a: _together(*a)[::-1], "upside down: the mean first, then the variance."),
)


def check_patience(function) -> bool:
    """Exercise 12.5: `function(losses, patience)` -> the look at which it stops, the look whose weights it keeps."""
    cases = [
        ([0.9, 0.5, 0.6, 0.55, 0.7, 0.8, 0.9, 0.95], 3),
        ([0.8, 0.6, 0.6, 0.7, 0.65, 0.66, 0.2], 3),
        ([0.9, 0.8, 0.85, 0.7, 0.75, 0.6, 0.65], 4),
        ([0.5, 0.9, 0.8, 0.7, 0.6, 0.55], 4),
    ]
    return check("12.5", function, _stop, cases, PATIENCE_MISTAKES)


def _stop(losses, patience, lower=lambda loss, best: loss < best, more=0, forget=False, kept="best"):
    """The keywords make mistakes; `forget` compares with the look before alone."""
    best, at, end = np.inf, 0, len(losses) - 1
    for look, loss in enumerate(losses):
        if lower(loss, best):
            best, at = loss, look
        elif look - at >= patience + more:
            end = look
            break
        if forget:
            best = loss
    return np.array([end, {"best": at, "last": end, "all": int(np.argmin(losses))}[kept]])


PATIENCE_MISTAKES = (
    (lambda *a: _stop(*a, more=1), "you stop one look too late: `patience` looks without a lower loss are enough."),
    (lambda *a: _stop(*a, more=-1), "you stop one look too early: wait for `patience` looks without a lower loss."),
    (
        lambda *a: _stop(*a, forget=True),
        "you compare with the look before: compare with the lowest so far.",
    ),
    (lambda *a: _stop(*a, lower=lambda loss, best: loss <= best), "as low as before is not lower."),
    (lambda *a: _stop(*a, kept="last"), "keep the weights of the lowest loss, not the last."),
    (
        lambda *a: _stop(*a, kept="all"),
        "you look into the future: a lower loss after the end is never seen.",
    ),
    (lambda *a: _stop(*a)[::-1], "the other way round: first where it stops, then what it keeps."),
    (lambda *a: _stop(*a) + 1, "looks are counted from 0."),
    (
        lambda losses, patience: np.array([len(losses) - 1, int(np.argmin(losses))]),
        "yours never stops before the end.",
    ),
)
