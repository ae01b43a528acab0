"""The drawing of "Port your CNN": the level that a choice must reach."""

import pytest

from deformconv.course import figures


def test_the_dashed_line_is_one_standard_error_below_the_best_mean():
    accuracies = {"a": [0.5, 0.6, 0.7], "b": [0.8, 0.86, 0.92]}
    (ax,) = figures.worth_and_cost(accuracies, {"a": 1000, "b": 3000}, "b").axes
    (level,) = (line for line in ax.lines if line.get_linestyle() == "--")
    assert level.get_ydata()[0] == pytest.approx(100 * (0.86 - 0.06 / 3**0.5))
    assert {text.get_text() for text in ax.texts} >= {"a", "b"}
