"""Drawings of chapter 11: bars as long as their times, marks at their speeds under a roof, the fastest block marked."""

import numpy as np
import pytest

from deformconv.course import figures

TIMES = {"slow": 12.0, "quick": 3.0, "plain": 2.0}


def test_bars_are_as_long_as_their_times_from_top_to_bottom():
    (ax,) = figures.time_bars(TIMES).axes
    assert [bar.get_width() for bar in ax.patches] == [12, 3, 2]
    assert [label.get_text() for label in ax.get_yticklabels()] == list(TIMES) and ax.yaxis_inverted()
    assert [text.get_text() for text in ax.texts] == ["12 ms", "3 ms", "2 ms"]


def test_with_a_yardstick_each_bar_says_how_many_times_it():
    (ax,) = figures.time_bars(TIMES, "plain").axes
    assert [text.get_text() for text in ax.texts] == ["12 ms = 6 x", "3 ms = 1.5 x", "2 ms"]
    slow, quick, plain = (bar.get_facecolor() for bar in ax.patches)
    assert slow == quick != plain


def test_no_number_is_cut_off():
    figure = figures.time_bars({"a": 123.0, "b": 1.0}, "b")
    figure.canvas.draw()
    (ax,) = figure.axes
    assert all(text.get_window_extent().x1 <= figure.bbox.x1 for text in ax.texts)


def test_the_roof_is_the_lower_of_slope_and_peak():
    (ax,) = figures.roofline(80, 10, {"left": (0.5, 2.0), "right": (40, None)}).axes
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(y, np.minimum(80, 10 * x))
    assert x[0] < 0.5 and x[-1] > 40 and y.max() == 80
    ridge = ax.lines[1].get_xdata()
    np.testing.assert_allclose(ridge, 8)


def test_measured_marks_are_filled_and_others_lie_hollow_on_the_roof():
    (ax,) = figures.roofline(80, 10, {"left": (0.5, 2.0), "slope": (2, None), "right": (40, None)}).axes
    marks = {line.get_label().split(":")[0]: line for line in ax.lines if ":" in line.get_label()}
    assert [tuple(np.ravel(mark.get_data())) for mark in marks.values()] == [(0.5, 2), (2, 20), (40, 80)]
    assert [mark.get_markerfacecolor() == "white" for mark in marks.values()] == [False, True, True]
    assert len({mark.get_marker() for mark in marks.values()}) == 3
    low, high = ax.get_ylim()
    assert low < 2 and high > 80


def test_what_stands_beside_a_mark_says_its_numbers():
    (ax,) = figures.roofline(80, 10, {"left": (0.5, 2.0), "right": (40, None)}).axes
    labels = [line.get_label() for line in ax.lines if ":" in line.get_label()]
    assert labels == ["left: 0.5 a byte, 2 GFLOP/s", "right: 40 a byte, at most 80 GFLOP/s"]


@pytest.mark.parametrize("times", [[9, 4, 6, 8.0], [9, 7, 3, 8.0]])
def test_the_fastest_block_is_marked_with_its_numbers(times):
    (ax,) = figures.block_sizes([2, 9, 36, 144], times, [(50, "a cache")]).axes
    curve, mark, cache = ax.lines
    np.testing.assert_allclose(curve.get_xydata(), np.stack([[2, 9, 36, 144], times], axis=1))
    best = int(np.argmin(times))
    np.testing.assert_allclose(mark.get_xydata(), curve.get_xydata()[[best]])
    words = [text.get_text() for text in ax.texts]
    assert words == [f"{times[best]:.3g} ms with blocks of {[2, 9, 36, 144][best]} KB", "a cache"]
    assert list(cache.get_xdata()) == [50, 50] and ax.get_ylim()[0] == 0


def test_a_readers_roof_stands_beside_the_target():
    yours, target = figures.speeds_and_target([1, 2, 4, 8], [1, 2, 4, 4]).axes
    np.testing.assert_allclose(yours.lines[0].get_ydata(), [1, 2, 4, 8])
    np.testing.assert_allclose(target.lines[0].get_ydata(), [1, 2, 4, 4])
    assert (yours.get_title(), target.get_title()) == ("yours", "the target")
    np.testing.assert_allclose(np.diff(np.log2(yours.lines[0].get_xdata())), 1)


def test_growth_draws_each_contender_in_each_panel_by_numbers_not_by_names():
    results = [
        {"case": f"{what} {value}", "direction": "forward", "contender": contender, "median": factor * value}
        for what in ("batch", "size", "channels")
        for value in (16, 4, 1)  # "16" comes before "4" as a word
        for contender, factor in (("conv2d", 1), ("ours", 2))
    ]
    results.append({"case": "batch 1", "direction": "backward", "contender": "conv2d", "median": 99})
    figure = figures.growth(results)
    for ax in figure.axes:
        yardstick, ours = ax.lines
        np.testing.assert_array_equal(yardstick.get_xydata(), [[1, 1], [4, 4], [16, 16]])
        np.testing.assert_array_equal(ours.get_ydata(), [2, 8, 32])
        assert yardstick.get_marker() != ours.get_marker()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["conv2d", "ours"]


def test_growth_draws_more_contenders_than_there_are_colours():
    names = ["conv2d", "tensorflow", *(f"number {n}" for n in range(9))]
    results = [
        {"case": f"{what} {value}", "direction": "forward", "contender": name, "median": 1.0 + n}
        for what in ("batch", "size", "channels")
        for value in (4, 16)
        for n, name in enumerate(names)
    ]
    assert [len(ax.lines) for ax in figures.growth(results).axes] == 3 * [len(names)]


def test_growth_to_the_end_draws_the_time_of_an_image_and_says_what_ended_it():
    results = []
    for grows in ("batch", "size", "channels"):
        for contender, ended in (("conv2d", "memory"), ("tensorflow", "time")):
            for value in (8, 16, 32):
                timed = {"per_image": 0.5 * value, "median": 4.0 * value}
                results.append({"grows": grows, "value": value, "contender": contender, **timed})
            results.append({"grows": grows, "value": 64, "contender": contender, "ended": ended})
    axes = figures.growth_to_the_end(results).axes
    assert [ax.get_xlabel() for ax in axes] == ["images in a batch", "side of the map, pixels", "channels"]
    for ax in axes:
        assert [line.get_xydata().tolist() for line in ax.lines] == [[[8, 4], [16, 8], [32, 16]]] * 2
        assert [text.get_text() for text in ax.texts] == ["memory ends", "time ends"]
