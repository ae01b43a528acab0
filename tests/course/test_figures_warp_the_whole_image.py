"""Drawings of chapter 3: what is drawn where, read off the axes."""

import numpy as np
import pytest

from deformconv.course import figures


def grid(zoom, height=5, width=4):
    middle = (np.array([height, width]) - 1) / 2
    return zoom * (np.stack(np.indices((height, width)), axis=-1) - middle) + middle


def texts(ax):
    return [text.get_text() for text in ax.texts if text.get_text()]


def test_sent_pixels_leave_holes_and_fetched_ones_do_not():
    row, places = np.array([1.0, 2, 6, 4, 3]), np.arange(5)
    figure = figures.sent_and_fetched(row, sent=2 * places - 2, fetched=0.5 * places + 1)
    left, right = figure.axes
    assert left.get_title() == "sent: 2 of 5 stay empty"
    assert texts(left) == ["1", "2", "6", "4", "3", "2", "6", "4"]  # the input, then what has arrived
    assert texts(right)[5:] == ["2", "4", "6", "5", "4"]


def test_looks_draws_the_grid_where_the_pixels_look():
    image = np.random.default_rng(0).uniform(size=(5, 4))
    figure = figures.looks(image, {"larger": (grid(0.5), image), "smaller": (grid(2.0), image)})
    larger, smaller, *below = figure.axes
    assert [ax.get_title() for ax in (larger, smaller)] == ["larger", "smaller"]
    first_row = smaller.lines[-2].get_xydata()
    np.testing.assert_allclose(first_row, grid(2.0)[0, :, ::-1])  # drawn as (x, y)
    np.testing.assert_allclose(below[0].lines[-2].get_xydata(), grid(1.0)[0, :, ::-1])
    assert larger.get_xlim() == smaller.get_xlim()


@pytest.mark.parametrize("zoom", [0.4, 1.0, 6.0])
def test_no_grid_leaves_its_panel(zoom):
    image = np.zeros((5, 4))
    ax, _ = figures.looks(image, {"one": (grid(zoom), image)}).axes
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert top < grid(zoom)[0, 0, 0] and grid(zoom)[-1, 0, 0] < bottom
    assert left < min(-0.5, grid(zoom)[0, 0, 1]) and right > max(3.5, grid(zoom)[0, -1, 1])


def test_picture_rows_have_labels_and_captions():
    images = np.random.default_rng(0).uniform(size=(3, 5, 4))
    figure = figures.picture_rows({"before": images, "after": images[:2]}, {"after": ["says 1", "says 7"]})
    axes = np.array(figure.axes).reshape(2, 3)
    assert [line[0].get_ylabel() for line in axes] == ["before", "after"]
    assert [ax.get_xlabel() for ax in axes[1, :2]] == ["says 1", "says 7"]
    np.testing.assert_array_equal(axes[0, 2].images[0].get_array(), images[2])
    assert not axes[1, 2].images and not axes[1, 2].axison


def test_pictures_keep_their_shapes():
    figure = figures.pictures({"narrow": np.zeros((5, 4)), "wide": np.ones((5, 8))})
    assert [ax.get_title() for ax in figure.axes] == ["narrow", "wide"]
    assert [ax.images[0].get_array().shape for ax in figure.axes] == [(5, 4), (5, 8)]


def test_the_exact_line_is_the_diagonal():
    exact, chosen = np.array([[1.0, 5], [3, 7], [2, 9]]), np.array([[0.0, 1], [2, 3], [4, 5]])
    figure = figures.chosen_against_exact(exact, chosen, ["zoom", "shift"])
    for index, (ax, name) in enumerate(zip(figure.axes, ["zoom", "shift"], strict=True)):
        points, line = ax.lines
        assert ax.get_title() == name
        np.testing.assert_allclose(points.get_xydata(), np.stack([exact[:, index], chosen[:, index]], axis=-1))
        np.testing.assert_allclose(*line.get_xydata().T)
