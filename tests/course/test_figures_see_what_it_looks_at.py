"""Drawings of chapter 8, read off their axes."""

import numpy as np
import pytest

from deformconv.course import figures
from deformconv.study.digits import models

IMAGE = np.zeros((28, 28))
IMAGE[10:14, 12] = 1
REST = np.indices((3, 3)).reshape(2, -1).T + [5.0, 8.0]


def test_the_mean_offset_is_the_cross_and_the_length_is_said():
    offsets = {"a": np.array([[3.0, 4.0], [-3.0, 0.0]]), "b": np.array([[0.0, 2.0]])}
    axes = figures.lengths_and_means(offsets).axes
    assert [ax.get_title() for ax in axes] == ["a\nmean length 4.0", "b\nmean length 2.0"]
    np.testing.assert_allclose(axes[0].lines[1].get_xydata(), [[2, 0]])  # (x, y)
    assert axes[0].yaxis_inverted()


def test_taps_are_joined_to_where_they_rest_and_the_pixels_differ_in_shape():
    looks = REST + [1.0, -2.0]
    figure = figures.taps_on_digits({"layer": [(IMAGE, [(REST, looks), (REST, REST)])]}, ["zoom 1"])
    (ax,) = figure.axes
    assert (ax.get_title(), ax.get_ylabel()) == ("zoom 1", "layer")
    first = ax.lines[0]
    np.testing.assert_array_equal(first.get_xydata(), [[8, 5], [6, 6]])
    filled = [line for line in ax.lines if line.get_markersize() == 7 and line.get_marker() in "os"]
    assert [line.get_marker() for line in filled] == ["o", "s"]
    np.testing.assert_array_equal(filled[0].get_xydata(), looks[:, ::-1])


def test_each_stage_says_its_points_and_their_spread():
    stages = [REST, np.repeat(REST, 9, axis=0)]
    axes = figures.depth_by_depth(IMAGE[..., None], {"some": ("#FF0000", stages)}).axes
    # the variance of 0, 1, 2 is two thirds
    assert [ax.get_title() for ax in axes] == ["9 points\nspread 0.8 px", "81 points\nspread 0.8 px"]
    assert len(axes[1].collections[0].get_offsets()) == 81


@pytest.mark.parametrize("depth", [1, 2])
def test_the_explorer_traces_the_pixel_that_it_is_given(depth):
    rigid = models.digit_classifier(models.deformable)
    learned = models.digit_classifier(models.deformable)
    learned.get_layer("conv22").offset_conv.bias.assign(np.tile([1, -2], 9))
    left, right = figures.points_explorer(rigid, learned, IMAGE[..., None], 1.5, y=1, x=4, depth=depth).axes
    before, after = (ax.collections[0].get_offsets() for ax in (left, right))
    assert len(before) == 9**depth and f"{9**depth} points" in right.get_title()
    np.testing.assert_allclose(before.mean(axis=0), [4 * 4 + 3, 4 * 1 + 3])  # (x, y)
    np.testing.assert_allclose(after - before, np.tile([-4, 2], (9**depth, 1)), atol=1e-5)


def test_curves_are_the_means_and_their_band_the_deviation():
    curves = {"one": {"a": ([1.0, 2.0], [0.1, 0.2]), "b": ([3.0, 3.0], [0.0, 0.0])}, "two": {"a": ([5.0, 4.0], [0, 0])}}
    figure = figures.curves_by_layer([1.0, 0.5], curves, "something", rest=1.5)
    left, right = figure.axes
    assert (left.get_title(), right.get_title(), left.get_ylabel()) == ("one", "two", "something")
    np.testing.assert_allclose(left.lines[0].get_xydata(), [[1, 1], [0.5, 2]])
    np.testing.assert_allclose(right.lines[0].get_xydata(), [[1, 5], [0.5, 4]])
    band = left.collections[0].get_paths()[0].vertices
    at_half = band[band[:, 0] == 0.5, 1]
    np.testing.assert_allclose([at_half.min(), at_half.max()], [1.8, 2.2])
    assert list(left.lines[2].get_ydata()) == [1.5, 1.5]
    assert len({line.get_linestyle() for line in left.lines[:2]}) == 2


def test_fields_say_their_reach_and_are_drawn_by_their_root():
    field = np.zeros((28, 28))
    field[2, 3], field[4, 5] = 0.36, 0.64
    image, shown = figures.fields_in_rows([(IMAGE[..., None], [(field, 1.5)])], ["digit", "field"]).axes
    assert (image.get_title(), shown.get_title(), shown.get_xlabel()) == ("digit", "field", "reach 1.5 px")
    values = np.asarray(shown.images[0].get_array())
    np.testing.assert_allclose(values[[2, 4, 0], [3, 5, 0]], [0.6, 0.8, 0])


def test_bars_are_as_long_as_their_numbers_and_come_in_order():
    (ax,) = figures.swapped_bars({"its own": 0.975, "zero": 0.25}).axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["zero", "its own"]
    assert [bar.get_width() for bar in ax.patches] == [25, 97.5]
    assert [text.get_text() for text in ax.texts] == ["25.0", "97.5"]
    assert ax.patches[0].get_hatch() and not ax.patches[1].get_hatch()  # never colour alone


def test_answer_and_target_are_numbered_in_their_order():
    left, right = figures.places_and_target(REST + 1, REST).axes
    assert (left.get_title(), right.get_title()) == ("yours", "the target")
    assert left.get_ylim() == right.get_ylim() and right.yaxis_inverted()
    assert [text.get_text() for text in right.texts] == [str(number) for number in range(9)]
    assert right.texts[3].get_position() == (REST[3, 1], REST[3, 0])
