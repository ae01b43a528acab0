"""Drawings of chapter 12: what a swap costs and brings, offsets that run away, numbers that a format can name."""

import numpy as np
import pytest

from deformconv.course import figures
from deformconv.course.figures.use_it_in_your_own_model import FORMATS

RESULTS = {
    "as it was": {"large": 0.9, "small": 0.4},
    "nothing": {"large": 0.8, "small": 0.7},
    "all": {"large": 0.7, "small": 0.75},
}


def test_each_change_has_a_mark_for_each_test_in_per_cent():
    (ax,) = figures.swaps(RESULTS, control="nothing").axes
    marks = [line for line in ax.lines if line.get_marker() in ("o", "s")]
    places = [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in marks]
    np.testing.assert_allclose(places, [(90, 0), (40, 0), (80, 1), (70, 1), (70, 2), (75, 2)])
    assert [label.get_text() for label in ax.get_yticklabels()] == list(RESULTS) and ax.yaxis_inverted()


def test_lines_lead_down_from_the_control():
    (ax,) = figures.swaps(RESULTS, control="nothing").axes
    upright = [line.get_xdata()[0] for line in ax.lines if list(line.get_ydata()) == [0, 1]]
    np.testing.assert_allclose(upright, [80, 70])


def test_offsets_are_drawn_on_one_axis_beneath_the_limit_and_zero_is_not_lost():
    runs = {
        "fast": ([10, 20], {"a": [3, 90.0], "b": [0.0, 2.0]}, "stopped"),
        "slow": ([10, 20, 30], {"a": [1, 1, 1], "b": [2, 2, 2]}, "went through"),
    }
    figure = figures.offset_lengths(runs, limit=68)
    assert [ax.get_title() for ax in figure.axes] == ["fast\nstopped", "slow\nwent through"]
    first = figure.axes[0]
    np.testing.assert_allclose([line.get_ydata() for line in first.lines], [[3, 90], [1e-3, 2], [68, 68]])
    assert first.get_yscale() == "log" and first.get_ylim() == figure.axes[1].get_ylim()


@pytest.mark.parametrize(("value", "bits", "want"), [(27.3, 8, 27.25), (-300.9, 8, -300), (0.3, 3, 0.3125), (0, 5, 0)])
def test_rounded_gives_the_nearest_number_of_so_many_bits(value, bits, want):
    assert figures.rounded(value, bits) == want


def test_rounding_is_what_the_formats_do():
    values = np.random.default_rng(0).uniform(0.1, 500, size=200)
    for name in ("float16", "float32"):
        np.testing.assert_array_equal(figures.rounded(values, FORMATS[name]), values.astype(name))


def test_each_format_shows_its_numbers_and_the_nearest_of_them():
    (ax,) = figures.representable(27.3, {"ten": 10, "eight": 8}).axes
    numbers = [np.unique([segment[0, 0] for segment in lines.get_segments()]) for lines in ax.collections]
    np.testing.assert_allclose([np.diff(row).max() for row in numbers], [1 / 32, 1 / 8])
    nearest = [float(line.get_xdata()[0]) for line in ax.lines if line.get_marker() == "o"]
    assert nearest == [27.3125, 27.25] and all(x in row for x, row in zip(nearest, numbers, strict=True))
    words = [text.get_text() for text in ax.texts]
    assert any("27.25, 0.05 off\nthe next is 0.125 away" in text for text in words)


def test_a_format_too_fine_to_draw_is_a_band():
    (ax,) = figures.representable(300.0).axes
    assert len(ax.collections) == 3 and not hasattr(ax.collections[0], "get_segments")
