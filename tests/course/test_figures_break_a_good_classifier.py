"""Chapter 1's drawings: what is marked as wrong, the numbers of the curves, the places of the frames."""

import numpy as np
from matplotlib.colors import same_color

from deformconv.course import figures


def test_a_wrong_answer_and_no_other_has_a_dashed_frame():
    images = np.random.default_rng(0).uniform(size=(2, 3, 7, 5, 1))
    chances = np.full((2, 3, 4), 0.1)
    chances[..., 2] = 0.7  # the answer is always 2
    labels = np.array([[2, 1, 2], [0, 2, 2]])
    axes = np.array(figures.answers(images, chances, labels, ["a", "b", "c"]).axes).reshape(2, 3)
    framed = np.array([[len(ax.patches) for ax in row] for row in axes])
    np.testing.assert_array_equal(framed, labels != 2)
    frame = axes[0, 1].patches[0]
    assert (frame.get_width(), frame.get_height(), frame.get_linestyle()) == (5, 7, "--")
    assert {ax.get_xlabel() for ax in axes.flat} == {"2, 70 %"}
    assert [ax.get_title() for ax in axes[0]] == ["a", "b", "c"]


def test_the_explorer_hatches_the_bar_of_the_true_class():
    chances = np.array([0.1, 0.2, 0.3, 0.4])
    bars = figures.answer_explorer(np.zeros((7, 5, 1)), chances, 1, "zoom 2").axes[1].patches
    assert {(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in bars} == set(enumerate(chances))
    assert [bar.get_height() for bar in bars if bar.get_hatch()] == [0.2]


def test_confusions_write_every_count_that_is_not_zero():
    counts = np.array([[5, 0, 1], [0, 2, 0], [0, 0, 0]])
    ax, other = figures.confusions({"zoom 1": counts, "zoom 2": counts.T}).axes
    written = {(text.get_position(), text.get_text()) for text in ax.texts}
    assert written == {((0, 0), "5"), ((2, 0), "1"), ((1, 1), "2")}  # (answer, digit)
    np.testing.assert_allclose(ax.images[0].get_array()[0], [5 / 6, 0, 1 / 6])
    assert (ax.get_title(), other.get_title()) == ("zoom 1", "zoom 2")


def test_zoom_curves_are_means_and_the_band_is_all_runs():
    zooms = (0.5, 1.0, 2.0)
    runs = np.array([[0.2, 0.9, 0.4], [0.4, 1.0, 0.2]])
    left, right = figures.zoom_curves(
        {"one": {"regular": (zooms, [0.1, 0.8, 0.3])}, "two": {"regular": (zooms, runs), "other": (zooms, runs[0])}}
    ).axes
    curves = {curve.get_label(): curve for curve in right.lines if not curve.get_label().startswith("_")}
    assert curves.keys() == {"regular", "other"}
    np.testing.assert_allclose(curves["regular"].get_xydata(), [[0.5, 30], [1, 95], [2, 30]])
    band = right.collections[0].get_paths()[0].vertices
    at_two = band[band[:, 0] == 2, 1]
    np.testing.assert_allclose([at_two.min(), at_two.max()], [20, 40])
    assert not same_color(*(curve.get_color() for curve in curves.values()))
    assert len({(curve.get_marker(), curve.get_linestyle()) for curve in curves.values()}) == 2
    assert (left.get_title("left"), right.get_title("left")) == ("one", "two")


def test_controls_draw_each_picture_above_its_bar():
    image = np.random.default_rng(0).uniform(size=(7, 5, 1))
    axes = np.array(figures.controls({"as it is": (image, 0.98), "shift": (image[:4], 0.5)}).axes).reshape(2, 2)
    assert [ax.get_title() for ax in axes[0]] == ["as it is", "shift"]
    assert [ax.patches[0].get_height() for ax in axes[1]] == [98, 50]
    assert axes[0, 1].images[0].get_array().shape == (4, 5)


def test_the_taps_of_the_detector_lie_in_the_middle_of_the_row():
    kernel = np.array([-0.5, 1, -0.5])
    strip, curve = figures.bar_detector({"width 1": np.eye(1, 9, 4)[0]}, kernel, [1, 3], [1, 0]).axes
    assert [line.get_xdata()[0] for line in strip.lines] == [3, 4, 5]
    assert [line.get_marker() for line in strip.lines] == ["s", "o", "s"]
    np.testing.assert_allclose(curve.lines[0].get_xydata(), [[1, 1], [3, 0]])


def test_the_grid_is_centred_on_its_point_and_shows_what_is_there():
    image = np.random.default_rng(0).uniform(size=(12, 10))
    above, below = figures.grid_on_stroke({"zoom 1": image}, (6, 4), 5).axes
    large, small = above.patches
    assert (large.get_xy(), large.get_width()) == ((1.5, 3.5), 5)  # columns 2 to 6, rows 4 to 8
    assert (small.get_xy(), small.get_width()) == ((2.5, 4.5), 3)
    assert {text.get_position(): text.get_text() for text in below.texts}[(5, 7)] == f"{image[7, 5]:.1f}"
    assert len(below.texts) == 9
