"""The reference by hand: numbers that anyone can check, for the conventions that everything else is tested by.

`test_sampling` and `test_operators` hold the reference against SciPy, Keras's `Conv2D` and ONNX as well.
"""

import numpy as np
import pytest

from deformconv import reference

#  0  1  2
#  3  4  5
IMAGE = np.arange(6.0).reshape(1, 2, 3, 1)


def sample(y, x, **options):
    return reference.bilinear_sample(IMAGE, np.array([[[y, x]]], "float64"), **options).item()


@pytest.mark.parametrize(
    "y, x, value",
    [
        (1, 2, 5),
        (0.5, 0, 1.5),
        (0, 1.25, 1.25),
        (0.5, 1.5, 3),
        (-0.5, 2, 1),
        (1.75, 1, 1),
        (1, 2.5, 2.5),
        (1.5, 2.5, 1.25),
    ],
)
def test_a_value_between_pixels_is_their_weighted_mean_and_fades_out_at_the_border(y, x, value):
    assert sample(y, x) == value


@pytest.mark.parametrize(
    "y, x", [(-1, 1), (2, 1), (1, -1), (1, 3), (-1, -1), (-7, 1), (1, 1e30), (np.inf, 1), (1, -np.inf)]
)
def test_a_point_outside_is_zero(y, x):
    assert sample(y, x) == 0


@pytest.mark.parametrize("y, x", [(np.nan, 1), (1, np.nan), (np.nan, np.inf), (1e30, np.nan)])
def test_a_nan_coordinate_is_nan_wherever_the_other_one_lies(y, x):
    assert np.isnan(sample(y, x))


@pytest.mark.parametrize("y, x, value", [(-3, 1, 1), (5, 1, 4), (0.5, -9, 1.5), (0.5, np.inf, 3.5), (1, 2, 5)])
def test_edge_padding_goes_on_with_the_border_pixels(y, x, value):
    assert sample(y, x, padding="edge") == value


@pytest.mark.parametrize(
    "channel, moved_by, expected",
    [
        # A 1 x 2 kernel of weights 1 and 10, at its first place, sees pixels 0 and 1: 0 + 10 * 1.
        (0, 1, 3 + 10),  # the first tap, y
        (1, 1, 1 + 10),  # the first tap, x
        (2, 1, 10 * 4),  # the second tap, y
        (3, 1, 10 * 2),  # the second tap, x
        (3, 0.5, 10 * 1.5),
    ],
)
def test_offset_channels_are_tap_by_tap_y_then_x(channel, moved_by, expected):
    offsets = np.zeros((1, 2, 2, 4))
    offsets[0, 0, 0, channel] = moved_by
    outputs = reference.deform_conv2d(IMAGE, offsets, np.array([1.0, 10.0]).reshape(1, 2, 1, 1))
    assert outputs[0, 0, 0, 0] == expected
    np.testing.assert_array_equal(outputs.ravel()[1:], [21, 43, 54])  # nobody else moved


def test_the_taps_of_a_kernel_are_numbered_row_by_row():
    offsets = np.zeros((1, 1, 2, 8))
    offsets[0, 0, 0, 2 * 1 + 0] = 1  # tap 1 is the one in the first row, second column: it moves down to pixel 4
    kernel = np.array([1.0, 10.0, 100.0, 1000.0]).reshape(2, 2, 1, 1)
    outputs = reference.deform_conv2d(IMAGE, offsets, kernel)
    np.testing.assert_array_equal(outputs.ravel(), [0 + 40 + 300 + 4000, 1 + 20 + 400 + 5000])


def test_mask_and_offset_channels_have_the_group_outermost():
    inputs = np.concatenate([IMAGE, 100 * IMAGE], axis=-1)
    offsets = np.zeros((1, 2, 2, 8))
    offsets[0, 0, 0, 4 + 1] = 1  # group 1, tap 0, x: the second channel's pixel 0 becomes pixel 1
    mask = np.ones((1, 2, 2, 4))
    mask[0, 0, 0, 2 + 1] = 7  # group 1, tap 1
    kernel = np.array([1.0, 1.0, 10.0, 10.0]).reshape(1, 2, 2, 1)
    outputs = reference.deform_conv2d(inputs, offsets, kernel, mask=mask, bias=[0.5])
    assert outputs[0, 0, 0, 0] == (0 + 10 * 1) + (100 * 1 + 7 * 10 * 100) + 0.5
