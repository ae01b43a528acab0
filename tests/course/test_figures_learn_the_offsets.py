"""Drawings of chapter 6: searches, the gradient's way, taps that move, curves of a training."""

import numpy as np
import pytest

from deformconv.course import figures

IMAGE = np.arange(30.0).reshape(5, 6) / 30


def _marked(ax, marker):
    return [
        line.get_xydata()[0].tolist() for line in ax.lines if line.get_marker() == marker and len(line.get_xydata())
    ]


def test_a_search_is_drawn_from_its_first_to_its_last_step():
    track = [(0.0, 0.5), (0.2, 0.4), (0.3, 0.35)]
    figure = figures.offset_search(np.ones(4), np.zeros(4), np.arange(3.0), np.array([0.5, 0.4, 0.1]), track, goal=2)
    above, below = figure.axes
    assert [line.get_ydata().tolist() for line in above.lines] == [[1] * 4, [0] * 4]
    assert _marked(below, "o") == [[0.0, 0.5]]
    assert _marked(below, "X") == [[0.3, 0.35]]
    assert _marked(below, "*") == [[2, 0]]
    assert "end, at 0.3" in [text.get_text() for text in below.get_legend().get_texts()]


def test_the_gradients_way_is_numbered_from_the_loss_back():
    (ax,) = figures.gradient_way().axes
    places = {text.get_text(): text.get_position()[0] for text in ax.texts}
    assert places["1"] > places["2"] > places["3"] > places["4"]
    backwards = [text for text in ax.texts if hasattr(text, "xy") and text.xy[1] < -0.5]
    assert len(backwards) == 4
    assert all(text.xy[0] < text.xyann[0] for text in backwards)


@pytest.mark.parametrize(("field", "size"), [(None, (5, 6)), ((10, 12), (10, 12))])
def test_taps_are_drawn_at_x_y_over_the_map_they_count_in(field, size):
    rest, taps = np.array([[1.0, 2], [3, 4]]), np.array([[0.0, 5], [9, 4]])
    figure = figures.taps_in_panels([[(IMAGE, rest, taps, "one")], [(IMAGE, rest, taps, "two")]], margin=2, field=field)
    assert [ax.get_title() for ax in figure.axes] == ["one", "two"]
    ax = figure.axes[0]
    discs, rings = (
        next(line for line in ax.lines if line.get_marker() == "o" and (line.get_markersize() == size))
        for size in (8, 5)
    )
    assert discs.get_xydata().tolist() == [[5, 0], [4, 9]]
    assert rings.get_xydata().tolist() == [[2, 1], [4, 3]]
    height, width = size
    assert ax.get_xlim() == (-2.5, width + 1.5)
    assert ax.get_ylim() == (height + 1.5, -2.5)
    assert list(ax.images[0].get_extent()) == [-0.5, width - 0.5, height - 0.5, -0.5]


def test_growth_has_a_dash_for_each_size_and_per_cent_below():
    lengths = {"first": {"large": [0, 1, 2], "small": [0, 3, 4]}, "second": {"large": [0, 5, 6], "small": [0, 7, 8]}}
    above, below = figures.offset_growth(
        [0, 10, 20], lengths, {"large": [0.9, 0.8, 0.7], "small": [0.1, 0.2, 0.3]}
    ).axes
    drawn = {line.get_label(): line for line in above.lines}
    assert drawn["second, small"].get_xydata().tolist() == [[0, 0], [10, 7], [20, 8]]
    assert {line.get_linestyle() for name, line in drawn.items() if "small" in name} == {"--"}
    assert {line.get_linestyle() for name, line in drawn.items() if "large" in name} == {"-"}
    # Not by colour alone: the layers' markers differ.
    assert drawn["first, large"].get_marker() != drawn["second, large"].get_marker()
    np.testing.assert_allclose(below.lines[1].get_ydata(), [10, 20, 30])


def test_curves_share_their_axes():
    left, right = figures.curve_and_target(np.array([1.0, 2]), np.array([5.0, 6]), x="step", y="learning rate").axes
    assert (left.get_title(), right.get_title()) == ("yours", "the target")
    assert left.get_ylim() == right.get_ylim()
    assert left.lines[0].get_ydata().tolist() == [1, 2] and right.lines[0].get_ydata().tolist() == [5, 6]
    assert (left.get_xlabel(), left.get_ylabel()) == ("step", "learning rate")
