"""Points traced through deformable layers, by hand and against the network itself; their pictures, still and moving."""

import itertools

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from deformconv import DeformableConv2D, training
from deformconv.course import figures
from deformconv.course.figures.points import draw_points, glow, smooth
from deformconv.study.digits import models

# Pixel 3 of the last map looks at rows 6 to 8 of conv22's input (stride 2); conv21 at one row more on either side;
# and conv12 (stride 2) at the rows 2 y to 2 y + 2 of the image, for each of those rows y.
ROWS = [2 * (6 + a + b - 1) + c for a, b, c in itertools.product(range(3), repeat=3)]


@pytest.fixture(scope="module")
def rigid(study):
    """The regular classifier in deformable clothes, its offsets zero."""
    return training.transplant(study.model("regular", 0), models.digit_classifier(models.deformable))


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
    moved = training.transplant(rigid, models.digit_classifier(models.deformable))
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


def test_depth_one_is_nine_points_over_the_middles_of_the_layers_below(rigid, image):
    moved = training.transplant(rigid, models.digit_classifier(models.deformable))
    moved.get_layer("conv12").offset_conv.bias.assign(np.full(18, 5.0))  # not followed
    moved.get_layer("conv22").offset_conv.bias.assign(np.tile([1, -2], 9))
    # by hand: tap u of conv22's input stands over pixel 2 u + 1 of the image
    expected = [(2 * (6 + i + 1) + 1, 2 * (6 + j - 2) + 1) for i in range(3) for j in range(3)]
    np.testing.assert_allclose(trace(moved, image, depth=1), expected, atol=1e-5)
    assert trace(moved, image, depth=2).shape == (81, 2)


def test_between_pixels_the_offset_is_the_mean_of_the_four(rigid, image):
    """A middle layer whose offsets are equal everywhere sends all points half-way; the next one's are its columns."""
    model = keras.Sequential([keras.Input((9, 8, 1)), DeformableConv2D(1, 1), DeformableConv2D(1, 1)])
    low, high = model.layers
    high.offset_conv.bias.assign([0.25, 0.5])
    low.offset_conv.kernel.assign(np.array([0.0, 1.0]).reshape(1, 1, 1, 2))  # x offset: what the pixel holds
    picture = np.random.default_rng(0).uniform(size=(1, 9, 8, 1)).astype("float32")
    (point,) = figures.trace_points(model, picture, pixel=(4, 3))[0]
    four = picture[0, 4:6, 3:5, 0]
    own = (0.75 * four[0] + 0.25 * four[1]).mean()
    np.testing.assert_allclose(point, [4.25, 3.5 + own], atol=1e-5)


@pytest.mark.parametrize("pixel", [(0, 0), (2, 3), (4, 4)])
def test_at_rest_the_points_of_any_chain_are_pixels_that_the_output_depends_on(pixel):
    """Nothing square, a plain convolution below, a pool between, two offset groups: nudge each pixel and see."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((19, 22, 1)),
            keras.layers.Conv2D(2, 1, strides=(1, 2), padding="same"),
            DeformableConv2D(4, (3, 2), padding="same", offset_groups=2),
            keras.layers.AveragePooling2D(1, strides=(2, 1)),
            DeformableConv2D(3, (2, 3), strides=2, padding="same", dilation_rate=1),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    (points,) = figures.trace_points(model, np.zeros((1, 19, 22, 1), "float32"), pixel)
    assert points.shape == (6 * 2 * 6, 2)
    until = keras.Model(model.inputs[0], model.layers[-2].output)
    nudged = np.eye(19 * 22, dtype="float32").reshape(-1, 19, 22, 1)
    moved = (
        keras.ops.convert_to_numpy(until(nudged))[:, *pixel] - keras.ops.convert_to_numpy(until(nudged * 0))[:, *pixel]
    )
    seen = {divmod(int(number), 22) for number in np.flatnonzero(np.abs(moved).max(axis=-1) > 1e-7)}
    inside = {(y, x) for y, x in points.tolist() if 0 <= y < 19 and 0 <= x < 22}
    assert seen == inside


def test_light_is_where_points_are_and_stronger_where_they_meet():
    light = glow(np.array([[3.0, 5.0], [3.0, 5.0], [8.0, 2.0]]), "#FF0000", (-0.5, 9.5), finer=2)
    assert light.shape == (20, 20, 4)
    alpha = light[..., 3]
    at = {place: alpha[2 * place[0] + 1, 2 * place[1] + 1] for place in ((3, 5), (8, 2), (5, 8), (2, 8))}
    assert at[3, 5] > at[8, 2] > 0.3 and max(at[5, 8], at[2, 8]) < 0.01
    assert light.min() >= 0 and light.max() <= 1


def test_points_are_drawn_as_x_and_y_and_an_empty_picture_is_drawn():
    _, ax = plt.subplots()
    draw_points(ax, np.zeros((28, 28, 1)), np.array([[3.0, 5.0]]), "white")
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), [[5.0, 3.0]])
    assert len(ax.collections) == 1 and ax.yaxis_inverted()


def test_the_grid_of_digits_says_each_spread(rigid, study):
    learned, images = study.model("deformable", 0), study.data.x_test[:2]
    panels = np.array(figures.digits_and_points(rigid, learned, images, zooms=(1.0, 2.0)).axes).reshape(3, 2)
    assert [panel.get_ylabel() for panel in panels[:, 0]] == ["zero offsets", "zoom 1", "zoom 2"]
    assert [panel.texts[0].get_text() for panel in panels[0]] == ["2.4 px", "2.4 px"]
    said = f"{figures.spread(trace(learned, images[1])):.1f} px"
    assert panels[1, 1].texts[0].get_text() == said


def test_sampling_points_shows_before_and_after_at_each_zoom(rigid, study, image):
    figure = figures.sampling_points(rigid, study.model("deformable", 0), image, zooms=(1.0, 2.0))
    panels = np.array(figure.axes).reshape(2, 2)
    # without offsets the spread is 6 ** 0.5
    assert [panel.get_title() for panel in panels[0]] == ["zoom 1, spread 2.4 px", "zoom 2, spread 2.4 px"]
    before, after = (panel.collections[0].get_offsets() for panel in panels[:, 1])  # the rim of the digit comes after
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


def test_the_animation_loops_and_stays_small(rigid, study, image, tmp_path):
    path = tmp_path / "points.gif"
    figures.save_animation(path, rigid, study.model("deformable", 0), image)
    with Image.open(path) as animation:
        assert animation.n_frames >= 24 and animation.info["loop"] == 0
    assert path.stat().st_size < 600_000


def test_a_stroke_is_drawn_where_it_is():
    image = np.zeros((28, 28))
    image[5, 9] = 1
    fine = smooth(image, (-1.5, 28.5), finer=4)
    assert fine.shape == (120, 120) and fine.min() >= 0 and fine.max() <= 1
    y, x = (np.indices(fine.shape) * fine).sum(axis=(1, 2)) / fine.sum() / 4 - 1.5 + 1 / 8
    np.testing.assert_allclose((y, x), (5, 9), atol=0.02)
