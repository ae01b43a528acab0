"""Chapter 7's exercises: the solution passes, each mistake is named."""

import numpy as np
import pytest

from deformconv.course import exercises

SOLUTIONS = {
    exercises.check_offset_parameters: lambda h, w, c, g: (h * w * c + 1) * 2 * h * w * g,
    exercises.check_moved: lambda b, a: sorted(name for name in b if not np.array_equal(b[name], a[name])),
    exercises.check_mean_and_spread: lambda a: (100 * np.mean(a), 100 * np.std(a, ddof=1)),
}

MISTAKES = [
    (exercises.check_offset_parameters, lambda h, w, c, g: h * w * c * 2 * h * w * g, "has a bias"),
    (exercises.check_offset_parameters, lambda h, w, c, g: (h * w * c + 1) * h * w * g, "two numbers"),
    (exercises.check_offset_parameters, lambda h, w, c, g: (h * w * c + 1) * 2 * h * w, "offset group"),
    (exercises.check_offset_parameters, lambda h, w, c, g: (c + 1) * 2 * h * w * g, "places"),
    (exercises.check_moved, lambda b, a: sorted(n for n in b if not np.allclose(b[n], a[n])), "bit-identical"),
    (exercises.check_moved, lambda b, a: sorted(n for n in b if b[n].sum() != a[n].sum()), "same sum"),
    (exercises.check_moved, lambda b, a: sorted(n for n in b if np.array_equal(b[n], a[n])), "what stayed"),
    (exercises.check_moved, lambda b, a: sorted(n for n in b if (b[n] != a[n]).all()), "not `all`"),
    (exercises.check_mean_and_spread, lambda a: (100 * np.mean(a), 100 * np.std(a)), "ddof=1"),
    (exercises.check_mean_and_spread, lambda a: (np.mean(a), np.std(a, ddof=1)), "per cent"),
    (exercises.check_mean_and_spread, lambda a: (100 * np.std(a, ddof=1), 100 * np.mean(a)), "mean first"),
    (
        exercises.check_mean_and_spread,
        lambda a: (100 * np.mean(a), 100 * np.std(a, ddof=1) / len(a) ** 0.5),
        "standard error",
    ),
]


@pytest.mark.parametrize("check", SOLUTIONS, ids=lambda check: check.__name__)
def test_the_solution_passes(check, capsys):
    assert check(SOLUTIONS[check])
    assert "correct" in capsys.readouterr().out


@pytest.mark.parametrize(("check", "wrong", "words"), MISTAKES)
def test_a_common_mistake_is_named(check, wrong, words, capsys):
    assert not check(wrong)
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("check", SOLUTIONS, ids=lambda check: check.__name__)
def test_a_stub_is_told_so_and_nothing_is_raised(check, capsys):
    def stub(*_):
        raise NotImplementedError

    assert not check(stub)
    assert "not solved yet" in capsys.readouterr().out
