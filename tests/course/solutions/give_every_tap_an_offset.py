"""Chapter 5's exercises, solved."""

import numpy as np

import deformconv
from deformconv import reference
from deformconv.course import exercises
from deformconv.course.exercises import give_every_tap_an_offset as checks
from solutions.solved import Solved


def zoom_offsets(kernel_size, zoom):
    middle = (np.array(kernel_size) - 1) / 2
    return ((zoom - 1) * (np.indices(kernel_size).reshape(2, -1).T - middle)).ravel()


def output_pixel(image, offsets, kernel, row, column, strides, dilation_rate):
    """The whole convolution, of which one pixel is taken; a second way to the same number."""
    kernel_height, kernel_width = kernel.shape[:2]
    size = [
        (full - (k - 1) * dilation - 1) // stride + 1
        for full, k, dilation, stride in zip(image.shape, kernel.shape, dilation_rate, strides, strict=False)
    ]
    every = np.zeros((1, *size, 2 * kernel_height * kernel_width))
    every[0, row, column] = offsets[row, column]
    return reference.deform_conv2d(image[None], every, kernel, strides=strides, dilation_rate=dilation_rate)[
        0, row, column
    ]


def from_xy_columns(offsets, kernel_size, offset_groups):
    height, width = kernel_size
    taps = offsets.reshape(*offsets.shape[:3], offset_groups, width, height, 2)
    return np.swapaxes(taps, 4, 5)[..., ::-1].reshape(offsets.shape)


def with_offset_groups(images, offsets, kernel, offset_groups):
    parts = (np.split(array, offset_groups, axis) for array, axis in ((images, -1), (offsets, -1), (kernel, 2)))
    return sum(deformconv.deform_conv2d(*part) for part in zip(*parts, strict=True))


def swapped(offsets, *rest):
    """Every (y, x) pair turned round, as a reader's own slip would."""
    return offsets.reshape(*offsets.shape[:-1], -1, 2)[..., ::-1].reshape(offsets.shape)


EXERCISES = {
    "5.1": Solved(
        exercises.check_zoom_offsets,
        zoom_offsets,
        checks.ZOOM_MISTAKES,
        slips=((lambda k, z: swapped(zoom_offsets(k, z)), "x comes before y"),),
    ),
    "5.2": Solved(
        exercises.check_output_pixel,
        output_pixel,
        checks.PIXEL_MISTAKES,
        slips=(
            (lambda image, offsets, *rest: output_pixel(image, swapped(offsets), *rest), "swapped"),
            (lambda *a: output_pixel(*a[:5], a[5], (1, 1)), "dilation is missing"),
        ),
    ),
    "5.3": Solved(
        exercises.check_from_xy_columns,
        from_xy_columns,
        checks.ORDER_MISTAKES,
        slips=((lambda offsets, k, g: swapped(offsets), "column by column"),),
    ),
    "5.4": Solved(
        exercises.check_offset_groups,
        with_offset_groups,
        checks.GROUP_MISTAKES,
        slips=((lambda x, o, k, g: with_offset_groups(x, o, k, g) / g, "not averaged"),),
    ),
}
