"""Chapter 3's exercises, solved."""

import numpy as np
from scipy.ndimage import map_coordinates

from deformconv.course import exercises
from deformconv.course.exercises import warp_the_whole_image as checks
from solutions.solved import Solved


def place(size, move):
    """Forward, input to output, then inverted as a whole."""
    forward = np.eye(3)
    forward[0, [0, 2]] = size[0], move[0]
    forward[1, [1, 2]] = size[1], move[1]
    return np.linalg.inv(forward)[:2]


def turn_about(degrees, pivot):
    """By complex numbers, x the real axis and -y the imaginary one, so that turning left is multiplying."""

    def look(y, x):
        point, still = complex(x, -y), complex(pivot[1], -pivot[0])
        there = (point - still) * np.exp(1j * np.pi * degrees / 180) + still
        return np.array([-there.imag, there.real])

    origin = look(0, 0)
    return np.column_stack([look(1, 0) - origin, look(0, 1) - origin, origin])


def one_warp(first, second):
    homogeneous = [np.vstack([warp, [0, 0, 1]]) for warp in (first, second)]
    return (homogeneous[0] @ homogeneous[1])[:2]


def resize(size, out_size):
    """Edges of pixels are stretched onto edges, and centres lie between."""
    axes = []
    for n, m in zip(size, out_size, strict=True):
        edges = np.linspace(-0.5, n - 0.5, m + 1)
        axes.append((edges[1:] + edges[:-1]) / 2)
    return np.moveaxis(np.array(np.meshgrid(*axes, indexing="ij")), 0, -1)


def swirl(image, degrees, radius):
    """Pixel by pixel, in polar coordinates."""
    output = np.empty(image.shape)
    middle_y, middle_x = (image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2
    for row, column in np.ndindex(image.shape):
        y, x = row - middle_y, column - middle_x
        r = np.hypot(y, x)
        # measured from x towards -y, which is anticlockwise on the page
        angle = np.arctan2(-y, x) + np.deg2rad(degrees) * max(0, 1 - r / radius)
        place = [[middle_y - r * np.sin(angle)], [middle_x + r * np.cos(angle)]]
        output[row, column] = map_coordinates(image, place, order=1, mode="nearest")[0]
    return output


EXERCISES = {
    "3.1": Solved(
        exercises.check_place,
        place,
        checks.PLACE_MISTAKES,
        slips=((lambda size, move: np.diag(1 / np.array(size)), "the shape should be (2, 3); yours is (2, 2)."),),
    ),
    "3.2": Solved(exercises.check_turn_about, turn_about, checks.TURN_MISTAKES),
    "3.3": Solved(exercises.check_one_warp, one_warp, checks.ONE_WARP_MISTAKES),
    "3.4": Solved(exercises.check_resize, resize, checks.RESIZE_MISTAKES),
    "3.5": Solved(exercises.check_swirl, swirl, checks.SWIRL_MISTAKES, draws=True),
}
