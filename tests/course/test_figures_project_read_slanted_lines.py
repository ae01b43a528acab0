"""Drawings of "Read slanted lines": bins are where they were, slopes against the true ones."""

import numpy as np

from deformconv.course import figures

BOX = np.array([4.0, 6.0, 12.0, 24.0])
PICTURE = np.linspace(0, 1, 20 * 30).reshape(20, 30)


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


def test_slopes_are_drawn_against_the_true_ones():
    true = np.array([-0.4, 0.1, 0.3, 0.5])
    left, right = figures.slopes_found(true, {"one": 0.5 * true, "other": -true}).axes
    np.testing.assert_allclose(left.lines[-1].get_xydata(), np.stack([true, 0.5 * true], axis=1))
    assert left.get_title() == "one: correlation 1.00" and right.get_title() == "other: correlation -1.00"
