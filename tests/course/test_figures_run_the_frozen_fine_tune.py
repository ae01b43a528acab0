"""Drawings of the study: the curves' numbers."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import same_color

from deformconv.course import figures
from deformconv.course.figures.run_the_frozen_fine_tune import LOOKS
from deformconv.study.digits.variants import VARIANTS


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


def test_each_variant_has_its_mean_its_seeds_and_their_deviation(runs):
    figure = figures.accuracy_by_variant([{**run, "scaled": 0.5 + 0.1 * k} for k, run in enumerate(runs)])
    assert [ax.get_title() for ax in figure.axes] == ["regular digits", "scaled digits"]
    ax = figure.axes[1]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["regular", "deformable"]
    seeds = [line for line in ax.lines if line.get_marker() == "|" and len(set(line.get_ydata())) == 1][0]
    np.testing.assert_allclose(seeds.get_xdata(), [50, 60])
    _, _, (bar,) = ax.containers[0].lines
    np.testing.assert_allclose(bar.get_segments()[0][:, 0], [55 - 50**0.5, 55 + 50**0.5])
    low, high = ax.containers[0].lines[0].get_xdata(), ax.containers[1].lines[0].get_xdata()
    np.testing.assert_allclose([low[0], high[0]], [55, 70])


def test_equal_steps_of_the_axis_are_equal_factors_of_the_errors(make_run):
    ax = figures.accuracy_by_variant([make_run("regular", 0), make_run("deformable", 0, scaled=1.0)]).axes[1]
    place = ax.transData.transform([(90, 0), (95, 0), (98, 0), (99, 0)])[:, 0]
    np.testing.assert_allclose(place[1] - place[0], place[3] - place[2])
    assert np.isfinite(ax.transData.transform((100, 0))).all()
    assert ax.get_xlim()[0] < 25


def test_every_variant_has_a_line_of_its_own(make_run):
    ax = figures.accuracy_by_variant([make_run(name, seed) for name in LOOKS for seed in (0, 1)]).axes[0]
    assert {label.get_text() for label in ax.get_yticklabels()} == VARIANTS.keys()
    assert (np.diff(ax.get_yticks()) >= 1).all()


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


def test_errors_of_a_protocol_stand_beside_the_published_ones(make_run):
    runs = [make_run(name, seed, error=error) for name, seed, error in (("regular", 0, 0.03), ("deformable", 0, 0.02))]
    others = [{"network": "A", "error": 4.0, "spread": 0.5}, {"network": "B", "error": 1.5, "spread": None}]
    ax = figures.protocol_errors(runs, others).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["regular", "deformable", "A", "B"]
    marks = [bar.lines[0].get_xdata()[0] for bar in ax.containers]
    np.testing.assert_allclose(marks, [3, 2, 4, 1.5])
    (half,) = ax.containers[2].lines[2][0].get_segments()
    np.testing.assert_allclose(half[:, 0], [3.5, 4.5])
