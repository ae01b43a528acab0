"""Drawings of the study: the curves' numbers."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import same_color

from deformconv.course import figures
from deformconv.course.figures.study import LOOKS
from deformconv.study.variants import VARIANTS


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
