"""Drawings of the study: the sampling points by hand, the curves' numbers, the animation."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import same_color
from PIL import Image

from deformconv.course import figures
from deformconv.course.figures.study import LOOKS
from deformconv.study import models
from deformconv.study.variants import VARIANTS

# Pixel 3 of the last map looks at rows 6 to 8 of conv22's input (stride 2); conv21 at one row more on either side;
# and conv12 (stride 2) at the rows 2 y to 2 y + 2 of the image, for each of those rows y.
ROWS = [2 * (6 + a + b - 1) + c for a, b, c in itertools.product(range(3), repeat=3)]


@pytest.fixture(scope="module")
def rigid(study):
    """The regular classifier in deformable clothes, its offsets zero."""
    return models.transplant(study.model("regular", 0), models.digit_classifier(models.deformable))


@pytest.fixture(scope="module")
def image(study):
    return study.data.x_test[0]


def trace(model, image, **options):
    (points,) = figures.trace_points(model, image[None], **options)
    return points


def test_without_offsets_the_points_are_the_sums_of_three_grids(rigid, image):
    points = trace(rigid, image)
    assert points.shape == (729, 2)
    assert sorted(map(tuple, points)) == sorted(itertools.product(ROWS, ROWS))
    # by hand: 2 * 7 + 1, and the variance of 0, 1, 2 (two thirds) times 4 + 4 + 1
    np.testing.assert_allclose(points.mean(axis=0), 15)
    np.testing.assert_allclose(points.std(axis=0), 6**0.5)


def test_a_trained_models_points_have_moved(study, image):
    points = trace(study.model("deformable", 0), image)
    assert points.shape == (729, 2) and np.isfinite(points).all()
    assert (points % 1 != 0).any()


def test_offsets_move_the_points_by_their_layers_stride(rigid, image):
    """A pixel of conv12's input is one of the image; a pixel of conv22's is two, (y, x) in that order."""
    moved = models.transplant(rigid, models.digit_classifier(models.deformable))
    moved.get_layer("conv12").offset_conv.bias.assign(np.tile([0.25, -0.5], 9))
    moved.get_layer("conv22").offset_conv.bias.assign(np.tile([1, -2], 9))
    expected = trace(rigid, image) + [2 * 1 + 0.25, 2 * -2 - 0.5]
    np.testing.assert_allclose(trace(moved, image), expected, atol=1e-6)


def test_another_pixel_looks_elsewhere(rigid, image):
    np.testing.assert_allclose(trace(rigid, image, pixel=(2, 4)).mean(axis=0), [15 - 4, 15 + 4])


def test_each_image_of_a_batch_has_its_own_points(study):
    model, images = study.model("deformable", 0), study.data.x_test[:3]
    points = figures.trace_points(model, images)
    assert points.shape == (3, 729, 2)
    for own, image in zip(points, images, strict=True):
        np.testing.assert_allclose(own, trace(model, image), atol=1e-4)
    assert (points[0] != points[1]).any()


@pytest.fixture
def runs(make_run):
    """Two seeds of the regular classifier, 0.4 and 0.6 at zoom 1; one of the deformable one."""
    return [
        make_run("regular", 0, zoom={"1.0": 0.4, "2.5": 0.2}),
        make_run("regular", 1, zoom={"1.0": 0.6, "2.5": 0.2}),
        make_run("deformable", 0, zoom={"1.0": 0.9, "2.5": 0.8}),
    ]


def test_the_curves_are_means_and_the_band_is_the_deviation(runs):
    ax = figures.accuracy_against_zoom(runs).axes[0]
    curves = {curve.get_label(): curve for curve in ax.lines}
    assert curves.keys() == {"regular", "deformable"}
    np.testing.assert_allclose(curves["regular"].get_xydata(), [[1, 50], [2.5, 20]])
    np.testing.assert_allclose(curves["deformable"].get_xydata(), [[1, 90], [2.5, 80]])
    band = ax.collections[0].get_paths()[0].vertices
    at_one = band[band[:, 0] == 1, 1]
    np.testing.assert_allclose([at_one.min(), at_one.max()], [50 - 200**0.5, 50 + 200**0.5])
    assert ax.figure.get_suptitle() == "digits, 2 seeds"


def test_in_every_panel_each_variant_has_a_look_of_its_own(make_run):
    assert LOOKS.keys() == VARIANTS.keys()
    axes = figures.accuracy_against_zoom([make_run(name, zoom={"1.0": 0.4}) for name in LOOKS]).axes
    assert len(axes) == 3
    for ax in axes:
        labels = [text.get_text() for text in ax.get_legend().get_texts()]
        assert labels[:2] == ["regular", "deformable"] and len(labels) == len(set(labels)) > 4
        assert len({curve.get_marker() for curve in ax.lines}) == len(labels)
        assert not any(same_color(*pair) for pair in itertools.combinations([c.get_color() for c in ax.lines], 2))
    assert {label for ax in axes for label in ax.get_legend_handles_labels()[1]} == VARIANTS.keys()


def test_the_dilation_of_each_layer_is_drawn_against_the_digits_size(make_run):
    def dilation(on, off):
        return {
            zoom: {name: {"digit": on, "background": off} for name in ("conv12", "conv21")} for zoom in ("1.0", "2.0")
        }

    figure = figures.effective_dilation(
        [make_run("deformable", seed, dilation=dilation(2 + seed, 1)) for seed in (0, 2)]
    )
    assert [ax.get_title() for ax in figure.axes] == ["conv12", "conv21"]
    digit = figure.axes[1].lines[0]
    assert digit.get_label() == "on the digit"
    np.testing.assert_allclose(digit.get_xydata(), [[1, 3], [0.5, 3]])


def test_sampling_points_shows_before_and_after_at_each_zoom(rigid, study, image):
    figure = figures.sampling_points(rigid, study.model("deformable", 0), image, zooms=(1.0, 2.0))
    panels = np.array(figure.axes).reshape(2, 2)
    # without offsets the spread is 6 ** 0.5
    assert [panel.get_title() for panel in panels[0]] == ["zoom 1, spread 2.4 px", "zoom 2, spread 2.4 px"]
    before, after = (panel.collections[0].get_offsets() for panel in panels[:, 1])
    assert before.shape == after.shape == (729, 2)
    np.testing.assert_array_equal(before, trace(rigid, image)[:, ::-1])  # drawn as (x, y)
    assert (before != after).any()


def test_the_animation_has_a_frame_for_each_zoom(rigid, study, image, tmp_path):
    path = tmp_path / "points.gif"
    figures.save_animation(path, rigid, study.model("deformable", 0), image, zooms=(1.0, 1.5, 2.5))
    with Image.open(path) as animation:
        assert (animation.format, animation.n_frames) == ("GIF", 3)
        assert animation.info["duration"] == 100
    assert not plt.get_fignums()
