"""The exercises of chapter 7: counting, comparing, summarising."""

import numpy as np

from deformconv.course.exercises.checker import check


def check_offset_parameters(function) -> bool:
    """Exercise 7.1: `function(kh, kw, channels, offset_groups)` -> number of weights of the offset convolution."""

    def truth(kernel_height, kernel_width, channels, offset_groups):
        made = 2 * kernel_height * kernel_width * offset_groups
        return kernel_height * kernel_width * channels * made + made

    def without(bias=1, per_point=2, groups=True):
        def wrong(kernel_height, kernel_width, channels, offset_groups):
            made = per_point * kernel_height * kernel_width * (offset_groups if groups else 1)
            return kernel_height * kernel_width * channels * made + bias * made

        return wrong

    return check(
        "7.1",
        function,
        truth,
        [(3, 3, 32, 1), (3, 2, 64, 1), (5, 3, 6, 3)],
        mistakes=[
            (without(bias=0), "the offset convolution has a bias, too: one number for each channel that it makes."),
            (without(per_point=1), "each tap needs two numbers, y and x."),
            (without(groups=False), "each offset group has taps of its own."),
            (
                lambda height, width, channels, groups: (channels + 1) * 2 * height * width * groups,
                "the offset convolution is a convolution: its kernel has kernel_height x kernel_width places.",
            ),
        ],
    )


def check_moved(function) -> bool:
    """Exercise 7.2: `function(before, after)` -> sorted names of the arrays that are not bit-identical."""
    rng = np.random.default_rng(7)
    before = {name: rng.normal(size=(3, 2)).astype("float32") for name in ("a/kernel", "b/gamma", "b/mean", "c/bias")}
    tiny = {**before, "b/mean": np.nextafter(before["b/mean"], np.float32(9))}
    large = {**before, "a/kernel": before["a/kernel"] + 1, "c/bias": before["c/bias"] - 1}
    single = {**before, "b/gamma": before["b/gamma"].copy()}
    single["b/gamma"][1, 1] += 1
    balanced = {**before, "a/kernel": before["a/kernel"] + np.array([[1, -1]] * 3, "float32")}

    def named(changed):
        return lambda before, after: sorted(name for name in before if changed(before[name], after[name]))

    return check(
        "7.2",
        lambda before, after: _encode(function(before, after)),
        lambda before, after: _encode(named(lambda b, a: not np.array_equal(b, a))(before, after)),
        [(before, before), (before, large), (before, single), (before, balanced), (before, tiny)],
        mistakes=[
            (
                lambda b, a: _encode(named(lambda b, a: not np.allclose(b, a))(b, a)),
                "frozen means bit-identical: `allclose` overlooks a weight that moved by its last bit.",
            ),
            (
                lambda b, a: _encode(named(lambda b, a: b.sum() != a.sum())(b, a)),
                "two arrays with the same sum can differ: compare every element.",
            ),
            (
                lambda b, a: _encode(named(lambda b, a: np.array_equal(b, a))(b, a)),
                "these are the names of what stayed; the question is what moved.",
            ),
            (
                lambda b, a: _encode(named(lambda b, a: (b != a).all())(b, a)),
                "one changed element is enough: `any`, not `all`.",
            ),
        ],
    )


def _encode(names):
    """A list of names as numbers, which `check` compares: which of the four are in it, in order."""
    known = ["a/kernel", "b/gamma", "b/mean", "c/bias"]
    return None if names is None else [known.index(name) + 1 for name in names] + [0] * (4 - len(names))


def check_mean_and_spread(function) -> bool:
    """Exercise 7.3: `function(accuracies)` -> mean and sample standard deviation, in per cent."""

    def truth(accuracies):
        percent = 100 * np.asarray(accuracies)
        return percent.mean(), percent.std(ddof=1)

    def wrong(scale=100, ddof=1, order=1):
        return lambda accuracies: (
            scale * np.mean(accuracies),
            scale * np.std(accuracies, ddof=ddof),
        )[::order]

    return check(
        "7.3",
        function,
        truth,
        [([0.97, 0.98, 0.975],), ([0.9, 0.92, 0.91, 0.95, 0.93],)],
        mistakes=[
            (wrong(ddof=0), "a few seeds are a sample: divide by their number less one (`ddof=1`)."),
            (wrong(scale=1), "in per cent, please: multiply by 100."),
            (wrong(order=-1), "the mean first, then the spread."),
            (
                lambda accuracies: (
                    100 * np.mean(accuracies),
                    100 * np.std(accuracies, ddof=1) / len(accuracies) ** 0.5,
                ),
                "that is the standard error of the mean; the table shows the spread of single runs.",
            ),
        ],
    )
