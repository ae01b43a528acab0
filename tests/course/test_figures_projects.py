"""Drawings of the projects: classes keep their colours, places are where they were, means are of the seeds given."""

import numpy as np
import pytest

from deformconv.course import figures

BOX = np.array([4.0, 6.0, 12.0, 24.0])
PICTURE = np.linspace(0, 1, 20 * 30).reshape(20, 30)


def test_classes_have_one_scale_in_all_label_maps():
    """A map that lacks a class must not shift the colours of the others."""
    maps = np.array([[[0, 1, 1], [0, 0, 1]], [[4, 2, 3], [0, 1, 0]]])
    fig = figures.label_maps({"picture": maps / 4, "labels": maps}, ("disc", "ring", "cross", "bar"))
    (grey, _), (first, second) = np.reshape([ax.images[0] for ax in fig.axes], (2, 2))
    assert first.get_clim() == second.get_clim() == (0, 4) and grey.get_clim() == (0, 1)
    np.testing.assert_allclose(first.to_rgba(first.get_array())[0, 1], second.to_rgba(second.get_array())[1, 1])
    patches = fig.legends[0].get_patches()
    np.testing.assert_allclose(patches[0].get_facecolor(), first.to_rgba(first.get_array())[0, 1], atol=1e-2)
    np.testing.assert_allclose(patches[3].get_facecolor(), second.to_rgba(second.get_array())[0, 0], atol=1e-2)


def test_taps_are_drawn_where_they_look():
    rest = np.indices((3, 3)).reshape(2, 9).T * 4.0 + 5
    places = rest + np.array([1.5, -2])
    (ax,) = figures.taps_on_shapes([(PICTURE, rest, places, "a bar")]).axes
    np.testing.assert_allclose(ax.lines[-1].get_xydata(), places[:, ::-1])
    np.testing.assert_allclose(ax.lines[-2].get_xydata(), rest[:, ::-1])
    assert ax.get_title() == "a bar" and ax.yaxis_inverted()


def test_bins_lie_half_a_pixel_off_the_edges_and_move_by_fractions_of_the_box():
    offsets = np.zeros((4, 9, 2))
    offsets[..., 0], offsets[..., 1] = 0.25, -0.5
    above, below = figures.bins_on_lines([(PICTURE, BOX, offsets)]).axes
    frame = above.lines[0].get_xydata()
    np.testing.assert_allclose((frame.min(axis=0), frame.max(axis=0)), [[5.5, 3.5], [23.5, 11.5]])
    at_rest, moved = (np.stack([line.get_xydata() for line in ax.lines[1:]]) for ax in (above, below))
    assert at_rest.shape == (4, 9, 2)
    np.testing.assert_allclose(at_rest[0, 0], [6 + 1 - 0.5, 4 + 1 - 0.5])
    np.testing.assert_allclose(moved - at_rest, np.broadcast_to([-9, 2], (4, 9, 2)))


def test_without_offsets_there_is_one_row_and_no_bin():
    (ax,) = figures.bins_on_lines([(PICTURE, BOX, None)]).axes
    assert len(ax.lines) == 1


def test_means_and_dots_are_those_of_the_seeds():
    (ax,) = figures.seed_scores({"plain": [0.5, 0.7], "ours": [0.8, 0.9]}, "right, %", own="ours").axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["ours", "plain"]
    bars = [container.lines[0].get_xydata()[0] for container in ax.containers]
    np.testing.assert_allclose(bars, [[85, 0], [60, 1]])
    dots = [line.get_xdata() for line in ax.lines if line.get_marker() in "oD"]
    np.testing.assert_allclose(dots, [[80, 90], [50, 70]])


def test_slopes_are_drawn_against_the_true_ones():
    true = np.array([-0.4, 0.1, 0.3, 0.5])
    left, right = figures.slopes_found(true, {"one": 0.5 * true, "other": -true}).axes
    np.testing.assert_allclose(left.lines[-1].get_xydata(), np.stack([true, 0.5 * true], axis=1))
    assert left.get_title() == "one: correlation 1.00" and right.get_title() == "other: correlation -1.00"


def test_the_dashed_line_is_one_standard_error_below_the_best_mean():
    accuracies = {"a": [0.5, 0.6, 0.7], "b": [0.8, 0.86, 0.92]}
    (ax,) = figures.worth_and_cost(accuracies, {"a": 1000, "b": 3000}, "b").axes
    (level,) = (line for line in ax.lines if line.get_linestyle() == "--")
    assert level.get_ydata()[0] == pytest.approx(100 * (0.86 - 0.06 / 3**0.5))
    assert {text.get_text() for text in ax.texts} >= {"a", "b"}
