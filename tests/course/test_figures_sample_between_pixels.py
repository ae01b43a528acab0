"""Drawings of "Sample between pixels": what is written on them is what bilinear interpolation gives."""

import numpy as np
import pytest

from deformconv.course import figures


@pytest.mark.parametrize("y, x", [(0.0, 0.0), (0.3, 2.65), (3.0, 4.0)])
def test_four_pixels_says_the_value_of_the_point(y, x):
    image = np.arange(20.0).reshape(4, 5) / 20
    figure = figures.four_pixels(image, y, x)
    value = (5 * y + x) / 20
    assert figure.axes[1].get_title().endswith(f"= {value:.2f}")


def test_the_nearest_pixel_and_the_line_meet_at_the_pixels():
    row = np.array([0.0, 0.2, 1.0, 0.4, 0.0])
    above, strip = figures.row_profile(row, 1, 3).axes
    nearest, line, pixels = above.lines
    np.testing.assert_allclose(line.get_xydata(), [[1, 0.2], [2, 1.0], [3, 0.4]])
    np.testing.assert_allclose(pixels.get_xydata(), line.get_xydata())
    x, y = nearest.get_data()
    known = ~np.isnan(y)
    np.testing.assert_allclose(y[known], row[np.floor(x[known] + 0.5).astype(int)])
    assert strip.get_xlim() == (0.4, 3.6)
