"""Drawings of "Give every tap an offset": taps are where they look, channels in the order of the operator."""

import numpy as np
import pytest

from deformconv.course import figures

IMAGE = np.linspace(0, 1, 9 * 12).reshape(9, 12)
REST = np.indices((3, 3)).reshape(2, 9).T + np.array([3.0, 5.0])


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_offsets_are_drawn_as_they_point_y_downwards():
    offsets = np.arange(18.0).reshape(9, 2) / 10
    before, after = figures.tap_arrows(IMAGE, REST, offsets).axes
    moved = [line for line in after.lines if line.get_markersize() == 13]
    np.testing.assert_allclose(moved[0].get_xydata(), (REST + offsets)[:, ::-1])
    assert before.yaxis_inverted() and [text for text in texts(before) if text] == list("012345678")


@pytest.mark.parametrize("kernel_size, offset_groups", [((3, 2), 1), ((1, 2), 2)])
def test_channels_stand_in_the_order_of_the_operator(kernel_size, offset_groups):
    """Offset group outermost, then the tap, row by row, then (y, x)."""
    _, strip = figures.channel_order(kernel_size, offset_groups).axes
    kh, kw = kernel_size
    names = [text for text in texts(strip) if text in ("y", "x")]
    assert names == ["y", "x"] * (offset_groups * kh * kw)
    taps = [text for text in texts(strip) if "," in text]
    assert taps == [f"{i},{j}" for i in range(kh) for j in range(kw)] * offset_groups


def test_the_explorer_tells_the_response_of_the_taps_it_draws():
    """At rest the taps read pixels, so the response is the convolution's."""
    weights = np.array([-1.0, 2, -1] * 3)
    left, right = figures.tap_explorer(IMAGE, (4, 6), weights).axes
    response = (IMAGE[3:6, 5:8].ravel() * weights).sum()
    assert left.get_title() == f"response {response:.3f}"
    heights = sorted(patch.get_height() for patch in right.patches)
    np.testing.assert_allclose(heights, np.sort(IMAGE[3:6, 5:8].ravel()))
