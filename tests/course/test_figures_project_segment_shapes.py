"""Drawings of "Segment shapes": classes keep their colours, places are where they were."""

import numpy as np

from deformconv.course import figures

PICTURE = np.linspace(0, 1, 20 * 30).reshape(20, 30)


def test_classes_have_one_scale_in_all_label_maps():
    """A map that lacks a class must not shift the colours of the others."""
    maps = np.array([[[0, 1, 1], [0, 0, 1]], [[4, 2, 3], [0, 1, 0]]])
    fig = figures.label_maps({"picture": maps / 4, "labels": maps}, ("disc", "ring", "cross", "bar"))
    (grey, _), (first, second) = np.reshape([ax.images[0] for ax in fig.axes], (2, 2))
    assert first.get_clim() == second.get_clim() == (0, 4) and grey.get_clim() == (0, 1)
    np.testing.assert_allclose(first.to_rgba(first.get_array())[0, 1], second.to_rgba(second.get_array())[1, 1])
    patches = fig.legends[0].get_patches()
    np.testing.assert_allclose(patches[0].get_facecolor(), first.to_rgba(first.get_array())[0, 1], atol=1e-2)
    np.testing.assert_allclose(patches[3].get_facecolor(), second.to_rgba(second.get_array())[0, 0], atol=1e-2)


def test_taps_are_drawn_where_they_look():
    rest = np.indices((3, 3)).reshape(2, 9).T * 4.0 + 5
    places = rest + np.array([1.5, -2])
    (ax,) = figures.taps_on_shapes([(PICTURE, rest, places, "a bar")]).axes
    np.testing.assert_allclose(ax.lines[-1].get_xydata(), places[:, ::-1])
    np.testing.assert_allclose(ax.lines[-2].get_xydata(), rest[:, ::-1])
    assert ax.get_title() == "a bar" and ax.yaxis_inverted()
