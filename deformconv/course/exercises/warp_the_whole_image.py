"""Chapter 3's exercises: warps that place, turn, follow each other and resize; and one that is not affine.

A warp `(2, 3)` sends an output pixel at `(y, x)` from the centre to where it looks: `matrix @ (y, x, 1)`.
"""

import matplotlib.pyplot as plt
import numpy as np

from deformconv import reference
from deformconv.course.exercises.checker import check
from deformconv.course.figures import answer_and_target

SWAPPED = "y and x are swapped. A point is (y, x), as an array is indexed: the row comes first."
RADIANS = "NumPy's sine and cosine take radians: convert with np.deg2rad."
FORWARD = (
    "this is the forward map, from the input to the output. A warp says where each output pixel looks: "
    "take the inverse."
)


def check_place(function) -> bool:
    """Exercise 3.1: `function(size, move)`, pairs `(y, x)` -> `(2, 3)`: resizes the image, then moves it."""
    cases = [((0.5, 0.4), (3.0, -2.0)), ((1.6, 0.8), (0.0, 5.0)), ((1.0, 2.0), (-4.0, 1.5))]
    return check("3.1", function, _place, cases, PLACE_MISTAKES)


def _matrix(zoom, shift):
    return np.column_stack([np.diag(zoom), shift])


def _place(size, move):
    zoom = 1 / np.array(size)
    return _matrix(zoom, -zoom * move)


PLACE_MISTAKES = [
    (lambda size, move: _matrix(size, move), FORWARD),
    (
        lambda size, move: _matrix(1 / np.array(size), move / np.array(size)),
        "the image moves the wrong way: to show it further down, each output pixel must look further up.",
    ),
    (
        lambda size, move: _matrix(1 / np.array(size), -np.array(move)),
        "the shift is too long or too short: a step of one output pixel is 1 / size pixels of the input.",
    ),
    (
        lambda size, move: _matrix(size, -np.array(move)),
        "the zoom is upside down: to show the image at half its size, look twice as far.",
    ),
    (lambda size, move: _place(size[::-1], move[::-1]), SWAPPED),
    (lambda size, move: _place(size, (0, 0)), "the shift is missing: it is the last column."),
    (lambda size, move: _matrix(1 / np.array(size), -np.array(size) * move), "divide the shift by `size`."),
]


def check_turn_about(function) -> bool:
    """Exercise 3.2: `function(degrees, pivot)` -> `(2, 3)`: turns the image clockwise about `pivot` `(y, x)`."""
    cases = [(30.0, (5.0, -2.0)), (-75.0, (0.0, 3.0)), (110.0, (-1.5, 4.0))]
    return check("3.2", function, _turn_about, cases, TURN_MISTAKES)


def _rotation(degrees):
    """Looks turned anticlockwise as seen on the page, y pointing down: so what is seen turns clockwise."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s], [s, c]])


def _turn_about(degrees, pivot, turn=_rotation):
    matrix, pivot = turn(degrees), np.array(pivot)
    return np.column_stack([matrix, pivot - matrix @ pivot])


TURN_MISTAKES = [
    (lambda degrees, pivot: _turn_about(np.rad2deg(degrees), pivot), RADIANS),
    (
        lambda degrees, pivot: _turn_about(-degrees, pivot),
        "the image turns the wrong way. To turn it clockwise, each output pixel looks anticlockwise of itself; "
        "and y points down.",
    ),
    (
        lambda degrees, pivot: _turn_about(degrees, (0, 0)),
        "the shift is missing: yours turns about the centre. The pivot must look at itself.",
    ),
    (
        lambda degrees, pivot: np.column_stack([_rotation(degrees), _rotation(degrees) @ pivot - pivot]),
        "the shift has the wrong sign. The pivot must look at itself: what does yours do with it?",
    ),
    (lambda degrees, pivot: _turn_about(degrees, pivot[::-1]), "the pivot is (y, x): yours is read as (x, y)."),
    (
        lambda degrees, pivot: np.column_stack([_rotation(degrees), pivot - pivot @ _rotation(degrees)]),
        "the pivot is multiplied from the wrong side: `matrix @ pivot`, not `pivot @ matrix`.",
    ),
    (
        lambda degrees, pivot: np.column_stack([_rotation(degrees), pivot]),
        "the shift is not the pivot itself: where does yours send the pivot?",
    ),
]


def check_one_warp(function) -> bool:
    """Exercise 3.3: `function(first, second)`, `(2, 3)` each -> the one warp `(2, 3)` that does both."""
    rng = np.random.default_rng(33)
    cases = [tuple(rng.normal(size=(2, 2, 3))) for _ in range(3)]
    return check("3.3", function, _one_warp, cases, ONE_WARP_MISTAKES)


def _one_warp(first, second):
    return np.column_stack([first[:, :2] @ second[:, :2], first[:, :2] @ second[:, 2] + first[:, 2]])


def _inverse(warp):
    back = np.linalg.inv(warp[:, :2])
    return np.column_stack([back, -back @ warp[:, 2]])


ONE_WARP_MISTAKES = [
    (
        lambda first, second: _one_warp(second, first),
        "the order is wrong. An output pixel belongs to the second warp, so `second` says where it looks in the "
        "image between; `first` goes on from there.",
    ),
    (
        lambda first, second: np.column_stack([first[:, :2] @ second[:, :2], first[:, 2] + second[:, 2]]),
        "the shifts are only added. The second shift is a step in the image between: `first` must transform it too.",
    ),
    (
        lambda first, second: np.column_stack([first[:, :2] @ second[:, :2], first[:, :2] @ second[:, 2]]),
        "the shift of `first` is missing.",
    ),
    (
        lambda first, second: np.column_stack([first[:, :2] @ second[:, :2], first[:, 2]]),
        "the shift of `second` is missing.",
    ),
    (
        lambda first, second: first * second,
        "`*` multiplies number by number. Matrices are multiplied with `@`.",
    ),
    (lambda first, second: _inverse(_one_warp(first, second)), "this is the inverse of the warp that is asked for."),
]


def check_resize(function) -> bool:
    """Exercise 3.4: `function(size, out_size)`, pairs -> where `out_size` pixels look in `size`, `(h', w', 2)`."""
    cases = [((5, 4), (3, 7)), ((3, 8), (6, 4)), ((4, 6), (8, 9))]
    return check("3.4", function, _resize, cases, RESIZE_MISTAKES)


def _resize(size, out_size, place=lambda i, n, m: (i + 0.5) * n / m - 0.5):
    """`place(i, n, m)`: where pixel i of m looks in n pixels."""
    axes = (place(np.arange(m), n, m) for n, m in zip(size, out_size, strict=True))
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


RESIZE_MISTAKES = [
    (lambda size, out_size: _resize(size, out_size)[..., ::-1], SWAPPED),
    (
        lambda size, out_size: _resize(size, out_size, lambda i, n, m: i * n / m),
        "you resize about the centre of the first pixel. Resize about the centre of the image, (h - 1) / 2: the two "
        "centres must meet.",
    ),
    (
        lambda size, out_size: _resize(size, out_size, lambda i, n, m: (i - m / 2) * n / m + n / 2 - 0.5),
        "the output's centre is not at h' / 2 but at (h' - 1) / 2: pixel centres lie at whole numbers.",
    ),
    (
        lambda size, out_size: _resize(size, out_size, lambda i, n, m: (i - (m - 1) / 2) * n / m + n / 2),
        "the input's centre is not at h / 2 but at (h - 1) / 2: pixel centres lie at whole numbers.",
    ),
    (
        lambda size, out_size: _resize(size, out_size, lambda i, n, m: (i - (m - 1) / 2) * m / n + (n - 1) / 2),
        FORWARD,
    ),
    (
        lambda size, out_size: _resize(size, out_size, lambda i, n, m: i * (n - 1) / (m - 1)),
        "you stretch from the first pixel's centre to the last one's. Here a pixel has an area: the step is h / h', "
        "not (h - 1) / (h' - 1).",
    ),
    (
        lambda size, out_size: _resize(size, out_size, lambda i, n, m: (i - (m - 1) / 2) * n / m),
        "these are distances from the centre: add the input's centre.",
    ),
    (
        lambda size, out_size: _resize(size, out_size, lambda i, n, m: (i + 0.5) * n / m + 0.5),
        "off by one: the centre of the first pixel is at 0, half a pixel after its edge at -0.5.",
    ),
]


def check_swirl(function) -> bool:
    """Exercise 3.5: `function(image, degrees, radius)` `(h, w)` -> `(h, w)`: a turn that fades out at `radius`."""
    cases = [(_stripes(22, 29), 120.0, 9.0), (_stripes(15, 12), -60.0, 5.5), (_stripes(9, 20), 200.0, 12.0)]
    return check("3.5", function, _swirl, cases, SWIRL_MISTAKES, draw=_draw)


def _stripes(height, width):
    """A picture that shows every turn: soft stripes of two kinds, and one bright quarter."""
    y, x = np.indices((height, width))
    quarter = (y < height / 2) & (x < width / 2)
    return 0.35 + 0.2 * np.sin(0.9 * y) + 0.15 * np.cos(0.7 * x) + 0.3 * quarter


def _draw(got, want):
    answer_and_target(got, want)
    plt.show()


def _fading(r, radius):
    return np.maximum(0, 1 - r / radius)


def _swirl(image, degrees, radius, fade=_fading, centre=0.5, home=True, flip=False):
    """The keywords make mistakes: another fading, a centre at `(h - 1) / 2 + (0.5 - centre)`, none added back."""
    middle = np.array(image.shape) / 2 - centre
    points = np.stack(np.indices(image.shape), axis=-1) - middle  # (h, w, 2)
    angle = np.deg2rad(degrees * fade(np.hypot(*np.moveaxis(points, -1, 0)), radius))
    y, x = np.moveaxis(points, -1, 0)
    looks = np.stack([np.cos(angle) * y - np.sin(angle) * x, np.sin(angle) * y + np.cos(angle) * x], axis=-1)
    coords = (looks[..., ::-1] if flip else looks) + middle * home
    return reference.bilinear_sample(image[None, :, :, None], coords[None], padding="edge")[0, :, :, 0]


SWIRL_MISTAKES = [
    (lambda image, degrees, radius: _swirl(image, np.rad2deg(degrees), radius), RADIANS),
    (lambda image, degrees, radius: _swirl(image, -degrees, radius), "the image turns the wrong way round."),
    (
        lambda image, degrees, radius: _swirl(image, degrees, radius, centre=0.0),
        "the centre is not at h / 2 but at (h - 1) / 2: pixel centres lie at whole numbers.",
    ),
    (
        lambda image, degrees, radius: _swirl(image, degrees, radius, home=False),
        "you look at distances from the centre: add the centre before you sample.",
    ),
    (lambda image, degrees, radius: _swirl(image, degrees, radius, flip=True), SWAPPED),
    (
        lambda image, degrees, radius: _swirl(image, degrees, radius, lambda r, radius: 1 - r / radius),
        "beyond `radius` nothing turns: there yours turns back, for 1 - r / radius is negative.",
    ),
    (
        lambda image, degrees, radius: _swirl(image, degrees, radius, lambda r, radius: np.minimum(1, r / radius)),
        "the turn fades the wrong way: all of it in the middle, none at `radius`.",
    ),
    (
        lambda image, degrees, radius: _swirl(image, degrees, radius, lambda r, radius: np.ones_like(r)),
        "yours turns the whole image alike, an affine warp. Each pixel has an angle of its own here.",
    ),
]
