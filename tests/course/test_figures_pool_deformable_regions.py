"""Drawings of chapter 10: frames where boxes are, half a pixel off the centres; points, shares and means by hand."""

import keras
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from deformconv import deform_roi_pool2d
from deformconv.course import figures
from deformconv.course.figures import pool_deformable_regions

PICTURE = np.arange(40.0).reshape(5, 8) / 40


def frames(ax, colour):
    """The frames of a colour on `ax`, as edges (y1, x1, y2, x2)."""
    found = []
    for patch in ax.patches:
        if isinstance(patch, Rectangle) and to_hex(patch.get_edgecolor()).lower() == to_hex(colour).lower():
            x, y, wide, tall = *patch.get_xy(), patch.get_width(), patch.get_height()
            found.append((y + 0.5, x + 0.5, y + tall + 0.5, x + wide + 0.5))
    return found


def test_points_lie_in_the_middles_of_their_shares():
    points = figures.sample_points((0, 2, 4, 8), (2, 3), samples=2)
    assert points.shape == (2, 3, 2, 2, 2)
    np.testing.assert_allclose(points[:, 0, :, 0, 0], [[0.5, 1.5], [2.5, 3.5]])
    np.testing.assert_allclose(points[0, :, 0, :, 1], [[2.5, 3.5], [4.5, 5.5], [6.5, 7.5]])


def test_offsets_are_fractions_of_the_box_y_first():
    offsets = np.zeros((2, 3, 2))
    offsets[1, 2] = 0.25, -0.5
    moved = figures.sample_points((0, 2, 4, 8), (2, 3), offsets) - figures.sample_points((0, 2, 4, 8), (2, 3))
    np.testing.assert_allclose(moved[1, 2], np.broadcast_to([1, -3], (2, 2, 2)))
    assert not moved[0].any()


def test_points_are_those_that_the_operator_reads():
    """Of an image that holds its own coordinates, the operator's means are the means of the points."""
    places = np.moveaxis(np.indices((12, 14)), 0, -1).astype("float32")
    box, offsets = np.array([2.3, 3.1, 8.0, 10.7]), np.random.default_rng(0).uniform(-0.1, 0.1, size=(4, 3, 2))
    read = deform_roi_pool2d(places[None], box[None, None], offsets[None, None] / 0.1, output_size=(4, 3))
    points = figures.sample_points(box, (4, 3), offsets).mean(axis=(2, 3)) - 0.5
    np.testing.assert_allclose(keras.ops.convert_to_numpy(read)[0, 0], points, atol=1e-4)


def test_bins_at_rest_tile_their_box():
    edges = pool_deformable_regions.bin_corners((1, 2, 5, 8), (2, 3))
    np.testing.assert_allclose(edges[0, 0], [1, 2, 3, 4])
    np.testing.assert_allclose(edges[1, 2], [3, 6, 5, 8])


def test_the_share_of_ink_inside_the_bins():
    picture = np.zeros((6, 8))
    picture[1:5, 2:6] = 1  # the digit
    picture[0, 7] = 1  # somebody else's
    digit = (1, 2, 5, 6)
    assert figures.ink_inside(picture, digit, digit, (2, 2)) == 1
    assert figures.ink_inside(picture, digit, (1, 4, 5, 8), (4, 3)) == 0.5
    back = np.full((4, 3, 2), [0, -0.5])
    assert figures.ink_inside(picture, digit, (1, 4, 5, 8), (4, 3), back) == 1
    together = np.zeros((1, 2, 2))
    together[0, 1, 1] = -0.5  # the right bin lies on the left one
    assert figures.ink_inside(picture, digit, digit, (1, 2), together) == 0.5


@pytest.mark.parametrize(
    ("box", "want"),
    [
        ((0.6, 1.4, 3.4, 5.2), [[PICTURE[1, 1:3], PICTURE[1, 2:4], PICTURE[1, 3:5]], [PICTURE[2, 1:3]]]),
        ((2.2, 4.1, 2.3, 4.4), [[PICTURE[2:3, 4]] * 3, [PICTURE[2:3, 4]]]),
        ((-9, -9, -7, -7), [[[0]] * 3, [[0]]]),
    ],
)
def test_rounded_means_by_hand(box, want):
    got = figures.rounded_means(PICTURE, box, (2, 3))
    assert got.shape == (2, 3)
    np.testing.assert_allclose(got[0], [np.mean(cells) for cells in want[0]])
    np.testing.assert_allclose(got[1, 0], np.mean(want[1][0]))


def test_boxes_are_framed_where_they_are():
    exact, rough = np.array([[[1, 2, 4, 6.0]]]), np.array([[[0.5, 3, 3.5, 9.5]]])
    (ax,) = figures.boxes_on_pictures(PICTURE[None], exact, rough).axes
    np.testing.assert_allclose(frames(ax, figures.SKY), exact[0])
    np.testing.assert_allclose(frames(ax, figures.ORANGE), rough[0])
    assert ax.get_xlim()[1] >= 9  # nothing is cut off


def test_the_interval_is_drawn_as_it_is_and_rounded():
    places = np.array([1.0, 2.0])
    row, curves = [0.0, 3, 1, 2, 5, 0], {"rounded": [1, 2], "sampled": [3, 4]}
    above, below = figures.interval_bins(row, 1.4, 4.7, 3, 2, places, curves).axes
    interval, rounded, points = above.lines
    np.testing.assert_allclose(interval.get_xdata(), [1.4, 4.7])
    np.testing.assert_allclose(rounded.get_xdata(), [1, 5])
    np.testing.assert_allclose(points.get_xdata(), 1.4 + 0.55 * (np.arange(6) + 0.5))
    assert [line.get_label() for line in below.lines] == ["rounded", "sampled"]


def test_the_explorer_shows_both_boxes_and_both_means():
    box = (0.6, 1.4, 3.4, 5.2)
    left, middle, right = figures.pool_explorer(PICTURE, box, (2, 3)).axes
    np.testing.assert_allclose(frames(left, figures.SKY), [box])
    np.testing.assert_allclose(frames(left, figures.ORANGE), [(1, 1, 3, 5)])
    np.testing.assert_allclose(middle.images[0].get_array(), figures.rounded_means(PICTURE, box, (2, 3)))
    # The picture is a plane, so the mean of a bin is its value at the bin's middle, less half a pixel.
    y, x = 0.6 + 2.8 / 4 - 0.5, 1.4 + 3.8 / 6 - 0.5
    np.testing.assert_allclose(right.images[0].get_array()[0, 0], (8 * y + x) / 40)


def test_moved_bins_are_drawn_below_with_their_share_of_the_ink():
    picture = np.zeros((6, 9))
    picture[1:5, 2:6] = 1
    digit, box = (1, 2, 5, 6), (1, 4, 5, 8)
    above, below = figures.bins_on_digits([(picture, digit, box, np.full((2, 1, 2), [0, -0.5]))], (2, 1)).axes
    assert (above.get_title(), below.get_title()) == ("at rest: 50% of the ink", "moved: 100% of the ink")
    np.testing.assert_allclose(frames(above, figures.SKY), [(1, 4, 3, 8), (3, 4, 5, 8)])
    np.testing.assert_allclose(frames(below, figures.SKY), [(1, 2, 3, 6), (3, 2, 5, 6)])
    for ax in (above, below):
        assert frames(ax, figures.ORANGE) == [box] and frames(ax, "white") == [digit]


def test_shifts_are_drawn_axis_by_axis_with_their_correlation():
    wanted = np.array([[0.1, 0.3], [-0.2, 0.0], [0.0, -0.1]])
    y, x = figures.shifts_found(wanted, np.stack([wanted[:, 0], -wanted[:, 1]], axis=1)).axes
    assert y.get_title().endswith("1.00") and x.get_title().endswith("-1.00")
    np.testing.assert_allclose(x.lines[-1].get_xydata(), np.stack([wanted[:, 1], -wanted[:, 1]], axis=1))
