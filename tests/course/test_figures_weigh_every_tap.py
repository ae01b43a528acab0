"""Drawings of chapter 9: marks where the taps are and as large as they count, four ways to weigh, read off the axes."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from keras import ops

from deformconv.course import figures
from deformconv.course.figures.weigh_every_tap import AREA, draw_weighed

LOGITS = np.array([0.5, -1.0, 3.0, 0.0])
IMAGE = np.arange(35.0).reshape(5, 7) / 34
TAPS = np.array([[1.0, 5.0], [2.5, 3.0], [3.0, 2.0], [0.5, 1.0]])
KERNEL = np.array([1.0, -2.0, 0.0, 0.5])


def test_the_four_ways_are_those_of_keras():
    half = ops.convert_to_numpy(ops.sigmoid(LOGITS))
    np.testing.assert_allclose(figures.weigh(LOGITS, "sigmoid"), half, rtol=1e-5)
    np.testing.assert_allclose(figures.weigh(LOGITS, "2 sigmoid"), 2 * half, rtol=1e-5)
    np.testing.assert_allclose(figures.weigh(LOGITS, "softmax"), ops.convert_to_numpy(ops.softmax(LOGITS)), rtol=1e-5)
    np.testing.assert_array_equal(figures.weigh(LOGITS, "free"), LOGITS)


def test_a_softmax_of_large_logits_is_finite():
    np.testing.assert_allclose(figures.weigh([1000.0, 1000.0], "softmax"), [0.5, 0.5])


def test_an_unknown_way_is_an_error():
    with pytest.raises(KeyError):
        figures.weigh(LOGITS, "tanh")


def test_tap_weights_of_the_versions():
    v1, v2, v3, v4 = (figures.tap_weights(version, KERNEL, LOGITS) for version in figures.VERSIONS)
    np.testing.assert_array_equal(v1, KERNEL)
    np.testing.assert_allclose(v2, KERNEL * 2 / (1 + np.exp(-LOGITS)))
    assert np.isclose(v3.sum(), 1) and (v3 > 0).all()
    np.testing.assert_array_equal(v4, LOGITS)


def test_marks_lie_at_the_taps_and_their_area_is_the_weight():
    _, ax = plt.subplots()
    draw_weighed(ax, TAPS, KERNEL, area=100)
    marks = {tuple(mark.get_offsets()[0]): mark for mark in ax.collections}
    assert set(marks) == {(5.0, 1.0), (3.0, 2.5), (1.0, 0.5)}  # (x, y); the third weighs nothing
    assert [marks[place].get_sizes()[0] for place in ((5.0, 1.0), (3.0, 2.5), (1.0, 0.5))] == [100, 200, 50]
    (cross,) = ax.lines
    assert (cross.get_marker(), cross.get_xydata().tolist()) == ("x", [[2.0, 3.0]])


def test_a_negative_weight_is_another_shape_and_colour():
    _, ax = plt.subplots()
    draw_weighed(ax, TAPS[:2], [1.0, -1.0])
    above, below = ax.collections
    assert len(above.get_paths()[0].vertices) != len(below.get_paths()[0].vertices)
    assert above.get_facecolor().tolist() != below.get_facecolor().tolist()


def test_the_four_versions_say_their_output_and_sum():
    axes = figures.four_versions(IMAGE, TAPS, KERNEL, LOGITS).axes
    assert [ax.get_title() for ax in axes] == ["v1", "v2", "v3", "v4"]
    # On a plane, a bilinear sample is the plane itself.
    values = (7 * TAPS[:, 0] + TAPS[:, 1]) / 34
    for ax, version in zip(axes, figures.VERSIONS, strict=True):
        weights = figures.tap_weights(version, KERNEL, LOGITS)
        equation, output, total = ax.get_xlabel().split("\n")
        assert equation == figures.VERSIONS[version]
        assert output == f"$y = {weights @ values:+.2f}$"
        assert total == f"weights add up to {weights.sum():+.2f}"
    sizes = [axes[0].collections[n].get_sizes()[0] for n in range(3)]
    np.testing.assert_allclose(sizes, AREA * np.array([1, 2, 0.5]))


def test_fleeing_taps_end_where_they_are_said_to():
    row = np.array([0.5, 1.0, 0.0, 0.5])
    outputs = {"offsets": np.array([1.5, 1.0]), "a mask": np.array([1.5, 0.75])}
    left, right = figures.fleeing_taps(row, np.array([0, 1, 2]), np.array([-0.5, 1, 2.5]), outputs, 0.5).axes
    squares = [line.get_xydata()[0].tolist() for line in left.lines if line.get_marker() == "s"]
    assert squares == [[-0.5, 0.5], [2.5, 0.25]]  # the second tap did not move
    assert [bar.get_height() for bar in left.patches] == row.tolist()
    assert [line.get_ydata()[-1] for line in right.lines[:2]] == [1.0, 0.75]
    assert right.get_legend_handles_labels()[1] == ["offsets: 1.00", "a mask: 0.75"]


def test_the_curves_start_where_their_legend_says():
    (ax,) = figures.mask_curves().axes
    starts = [line.get_ydata()[0] for line in ax.lines if line.get_marker() in "soD" and len(line.get_xdata()) == 1]
    assert starts == [0.5, 1.0, 0.0]
    labels = ax.get_legend_handles_labels()[1]
    curves = [line for line in ax.lines if len(line.get_xdata()) == 201]
    for label, curve in zip(labels, curves, strict=True):
        start, slope = (float(words.split()[-1]) for words in label.split(","))
        logits, mask = curve.get_data()
        middle = len(logits) // 2
        rise = (mask[middle + 1] - mask[middle - 1]) / (logits[middle + 1] - logits[middle - 1])
        assert mask[middle] == start
        assert np.isclose(rise, slope, rtol=1e-3)


def test_the_mean_mask_is_centred_on_one_and_lies_over_the_digit():
    mean = np.array([[0.7, 1.0], [1.1, 0.9]])
    axes = figures.mask_on_digit(IMAGE, mean, [TAPS, TAPS], [KERNEL, LOGITS], ["first", "second"]).axes
    shown = axes[1].images[0]
    assert shown.get_clim() == pytest.approx((0.7, 1.3))
    assert shown.get_extent() == axes[0].images[0].get_extent()
    assert [ax.get_title() for ax in axes[2:4]] == ["first", "second"]
    assert (len(axes[2].collections), len(axes[3].collections)) == (3, 3)


def test_stacked_layers_show_the_largest_value_and_the_contrast():
    left, right = figures.stacked({"a": [(-4, 2), (-1, 3)], "b": [(1, 2), (1, 1.5)]}).axes
    assert [line.get_ydata().tolist() for line in left.lines] == [[4, 3], [2, 1.5]]
    assert [line.get_ydata().tolist() for line in right.lines] == [[6, 4], [1, 0.5]]


def test_the_explorer_changes_one_logit_and_divides_by_the_temperature():
    values = np.array([0.1, 0.2, 0.3, 0.4])
    axes = figures.weighing_explorer(values, LOGITS, favourite=1, logit=4.0, temperature=2.0).axes
    bars = [[bar.get_height() for bar in ax.patches] for ax in axes]
    assert bars[0] == values.tolist()
    logits = np.array([0.5, 4.0, 3.0, 0.0]) / 2
    for ax, heights, how in zip(axes[1:], bars[1:], ("sigmoid", "2 sigmoid", "softmax", "free"), strict=True):
        np.testing.assert_allclose(heights, figures.weigh(logits, how))
        assert ax.get_title() == f"{how}\n$y = {values @ heights:+.2f}$"
    assert LOGITS[1] == -1.0  # the caller's logits are left alone
