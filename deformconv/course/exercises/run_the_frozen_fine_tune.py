"""The exercises of chapter 7: counting, comparing, summarising, and what BatchNorm remembers."""

import numpy as np

from deformconv.course.exercises.checker import check


def check_offset_parameters(function) -> bool:
    """Exercise 7.1: `function(kh, kw, channels, offset_groups)` -> number of weights of the offset convolution."""
    cases = [(3, 3, 32, 1), (3, 2, 64, 1), (5, 3, 6, 3)]
    return check("7.1", function, _parameters, cases, PARAMETERS_MISTAKES)


def _parameters(height, width, channels, groups, biases=1, per_point=2):
    made = per_point * height * width * groups
    return height * width * channels * made + biases * made


PARAMETERS_MISTAKES = (
    (
        lambda *a: _parameters(*a, biases=0),
        "the offset convolution has a bias, too: one number for each channel that it makes.",
    ),
    (lambda *a: _parameters(*a, per_point=1), "each tap needs two numbers, y and x."),
    (
        lambda height, width, channels, groups: _parameters(height, width, channels, 1),
        "each offset group has taps of its own.",
    ),
    (
        lambda height, width, channels, groups: (channels + 1) * 2 * height * width * groups,
        "the offset convolution is a convolution: its kernel has kernel_height x kernel_width places.",
    ),
    (
        lambda *a: _parameters(*a, biases=0) + 1,
        "one bias is not enough: each channel that the offset convolution makes has its own.",
    ),
)


def check_moved(function) -> bool:
    """Exercise 7.2: `function(before, after)` -> sorted names of the arrays that are not bit-identical."""
    rng = np.random.default_rng(7)
    before = {name: rng.normal(size=(3, 2)).astype("float32") for name in NAMES}
    same = {name: array.copy() for name, array in before.items()}
    tiny = {**same, "b/mean": np.nextafter(before["b/mean"], np.float32(9))}
    large = {**same, "a/kernel": before["a/kernel"] + 1, "c/bias": before["c/bias"] - 1}
    single = {**same, "b/gamma": before["b/gamma"].copy()}
    single["b/gamma"][1, 1] += 1
    balanced = {**same, "a/kernel": before["a/kernel"] + np.array([[1, -1]] * 3, "float32")}
    cases = [(before, after) for after in (large, same, single, balanced, tiny)]
    mistakes = [(_encoded(wrong), message) for wrong, message in MOVED_MISTAKES]
    return check("7.2", _encoded(function), _encoded(_moved(_differ)), cases, mistakes)


NAMES = ("a/kernel", "b/gamma", "b/mean", "c/bias")


def _encoded(function):
    """The names that `function` returns as numbers, which `check` compares: which of the four, in order."""

    def encoded(before, after):
        names = function(before, after)
        return None if names is None else [NAMES.index(name) + 1 for name in names] + [0] * (len(NAMES) - len(names))

    return encoded


def _differ(before, after):
    return not np.array_equal(before, after)


def _moved(differ):
    return lambda before, after: sorted(name for name in before if differ(before[name], after[name]))


MOVED_MISTAKES = (
    (
        _moved(lambda b, a: not np.allclose(b, a)),
        "frozen means bit-identical: `allclose` overlooks a weight that moved by its last bit.",
    ),
    (_moved(lambda b, a: b.sum() != a.sum()), "two arrays with the same sum can differ: compare every element."),
    (
        _moved(lambda b, a: b is not a),
        "you ask whether it is the same object; an array that is read twice is two objects. Compare the numbers.",
    ),
    (_moved(lambda b, a: not _differ(b, a)), "these are the names of what stayed; the question is what moved."),
    (_moved(lambda b, a: (b != a).all()), "one changed element is enough: `any`, not `all`."),
    (lambda b, a: _moved(_differ)(b, a)[::-1], "sort the names from a to z."),
)


def check_mean_and_spread(function) -> bool:
    """Exercise 7.3: `function(accuracies)` -> mean and sample standard deviation, in per cent."""
    cases = [([0.97, 0.98, 0.975],), ([0.9, 0.92, 0.91, 0.95, 0.93],)]
    return check("7.3", function, lambda a: (_mean(a), _spread(a)), cases, SPREAD_MISTAKES)


def _mean(accuracies):
    return 100 * np.mean(accuracies)


def _spread(accuracies, ddof=1):
    return 100 * np.std(accuracies, ddof=ddof)


SPREAD_MISTAKES = (
    (
        lambda a: (_mean(a), _spread(a, ddof=0)),
        "a few seeds are a sample: divide by their number less one (`ddof=1`).",
    ),
    (lambda a: (_mean(a) / 100, _spread(a) / 100), "in per cent, please: multiply by 100."),
    (lambda a: (_spread(a), _mean(a)), "the mean first, then the spread."),
    (
        lambda a: (_mean(a), _spread(a) / len(a) ** 0.5),
        "that is the standard error of the mean; the table shows the spread of single runs.",
    ),
    (
        lambda a: (_mean(a), 100 * np.ptp(a)),
        "that is the distance from the least to the greatest, which grows with the number of seeds.",
    ),
    (lambda a: (_mean(a), _spread(a) ** 2 / 100), "that is the variance: its square root has the unit of the mean."),
)


def check_running_statistics(function) -> bool:
    """Exercise 7.4: `function(batches, mean, variance, momentum)` -> BatchNorm's statistics after them, `(2, c)`."""
    rng = np.random.default_rng(74)
    cases = []
    for shape, momentum in (((4, 3, 5, 4, 2), 0.9), ((1, 2, 3, 5, 3), 0.75)):
        channels = shape[-1]
        batches = rng.normal(rng.uniform(1, 3, channels), rng.uniform(0.5, 2, channels), shape)
        cases.append((batches, rng.normal(size=channels), rng.uniform(1, 4, size=channels), momentum))
    return check("7.4", function, _statistics, cases, STATISTICS_MISTAKES)


def _statistics(batches, mean, variance, momentum, ddof=0, power=1, share=None):
    share = 1 - momentum if share is None else share
    for batch in batches:
        mean = momentum * mean + share * batch.mean(axis=(0, 1, 2))
        variance = momentum * variance + share * batch.var(axis=(0, 1, 2), ddof=ddof) ** power
    return np.stack([mean, variance])


STATISTICS_MISTAKES = (
    (
        lambda b, mean, variance, momentum: _statistics(b, mean, variance, 1 - momentum),
        "the momentum is the share that stays; the batch has the rest, 1 less the momentum.",
    ),
    (
        lambda *a: _statistics(*a, ddof=1),
        "divide by the number of values, not by one less: BatchNorm takes the variance of the batch as it is.",
    ),
    (
        lambda b, mean, variance, momentum: _statistics(b[-1:], mean, variance, momentum),
        "every batch moves the statistics, not the last one alone.",
    ),
    (
        lambda b, mean, variance, momentum: _statistics(b, 0 * mean, 0 * variance + 1, momentum),
        "start from the statistics that you are given, not from 0 and 1.",
    ),
    (
        lambda *a: _statistics(*a, power=0.5),
        "it keeps the variance, not the standard deviation.",
    ),
    (
        lambda *a: _statistics(*a, share=1),
        "the old and the new share one whole: the batch counts 1 less the momentum, not 1.",
    ),
    (
        lambda b, *a: _statistics(b.reshape(1, -1, *b.shape[2:]), *a),
        "one step for each batch, not one for all of them together.",
    ),
    (lambda *a: _statistics(*a)[::-1], "the mean first, then the variance."),
)
