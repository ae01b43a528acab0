"""The exercises of chapter 2: values between pixels, their slopes, and the way back to the image."""

import matplotlib.pyplot as plt
import numpy as np

from deformconv import reference
from deformconv.course.exercises.checker import check
from deformconv.course.figures import answer_and_target


def check_edge_row(function) -> bool:
    """Exercise 2.1: `function(row, xs)`, `(width,)`, `(n,)` -> `(n,)`, border pixels repeated."""
    row = np.array([3.0, -1.0, 4.0, 1.5, 5.0])
    cases = [
        (row, np.array([0.25, 1.5, 3.9])),
        (row, np.array([0.0, 2.0, 3.0])),
        (row, np.array([-0.5, -7.0, 1.25])),
        (row, np.array([4.0, 4.5, 11.0, 0.75])),
    ]
    return check("2.1", function, _true_edge_row, cases, EDGE_ROW_MISTAKES)


def check_sample_points(function) -> bool:
    """Exercise 2.2: `function(image, coords)`, `(h, w, c)`, `(n, 2)` -> `(n, c)`, zero outside."""
    image = np.random.default_rng(2).normal(size=(5, 4, 3))
    cases = [
        (image, np.array([[0.25, 1.5], [3.75, 2.1], [2.4, 0.3], [1.9, 1.2], [3.1, 2.6]])),
        (image, np.array([[2.0, 1.0], [3.0, 0.5], [0.75, 2.0], [0.0, 0.0]])),
        (image, np.array([[-0.25, 1.5], [1.5, -0.75], [-0.5, -0.5], [-1.5, 2.0]])),
        (image, np.array([[4.0, 3.0], [4.5, 1.25], [2.5, 3.75], [9.0, 1.0], [1.0, 40.0]])),
    ]
    return check("2.2", function, _true_sample_points, cases, SAMPLE_POINTS_MISTAKES)


def check_slopes(function) -> bool:
    """Exercise 2.3: `function(image, coords)`, `(h, w)`, `(n, 2)` inside -> `(n, 2)`, the slopes by y and by x."""
    image = np.random.default_rng(3).normal(size=(5, 4))
    cases = [
        (image, np.array([[0.25, 1.5], [2.75, 2.1], [2.4, 0.3]])),
        (image, np.array([[2.0, 1.0], [3.0, 0.5], [0.75, 2.0], [1.0, 1.0]])),
    ]
    return check("2.3", function, _slopes, cases, SLOPES_MISTAKES)


def check_scatter(function) -> bool:
    """Exercise 2.4: `function(upstream, coords, shape)`, `(n, c)`, `(n, 2)`, `(h, w, c)` -> `(h, w, c)`."""
    upstream = np.random.default_rng(4).normal(size=(5, 3))
    shape = (5, 4, 3)
    cases = [
        (upstream, np.array([[0.25, 1.5], [2.75, 0.5], [3.25, 2.3], [0.1, 0.2], [1.25, 2.75]]), shape),
        (upstream, np.array([[2.0, 1.0], [0.0, 0.0], [3.0, 0.0], [0.0, 2.0], [4.0, 2.0]]), shape),
        (upstream, np.array([[1.25, 1.5], [1.75, 1.5], [1.5, 1.25], [1.5, 1.75], [1.6, 1.6]]), shape),
        (upstream, np.array([[-0.25, 1.5], [4.5, 2.25], [2.5, 3.75], [1.5, -0.5], [-9.0, 1.0]]), shape),
    ]
    return check("2.4", function, _scatter, cases, SCATTER_MISTAKES, draw=_draw_first_channel)


def _draw_first_channel(got, want):
    answer_and_target(got[..., 0], want[..., 0])
    plt.show()


def _true_edge_row(row, xs):
    coords = np.stack([np.zeros_like(xs), xs], axis=-1)
    return reference.bilinear_sample(row[None, None, :, None], coords[None], padding="edge")[0, :, 0]


def _true_sample_points(image, coords):
    return reference.bilinear_sample(image[None], coords[None])[0]


# Below, one function for each exercise, and the ways of getting it wrong: the same lines with one thing changed.


def _next(value):
    return np.floor(value) + 1


def _corners(coords, low=np.floor, high=_next):
    """The four corners of every point `(n, 2)`: rows, columns and weights, each `(n,)`."""
    y, x = coords[:, 0], coords[:, 1]
    for row, other_row in ((low(y), high(y)), (high(y), low(y))):
        for column, other_column in ((low(x), high(x)), (high(x), low(x))):
            weight = np.abs(other_row - y) * np.abs(other_column - x)
            yield row.astype(int), column.astype(int), weight


def _place(rows, columns, size, border):
    """Where in an array of `size` each corner lies by a border rule, and whether it counts."""
    inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
    if border == "wrap":  # what a negative index does
        return rows % size[0], columns % size[1], np.ones_like(inside)
    nearest = np.clip(rows, 0, size[0] - 1), np.clip(columns, 0, size[1] - 1)
    return *nearest, inside | (border == "edge")


def _sample_points(image, coords, border="zeros", **neighbours):
    values = np.zeros((len(coords), image.shape[2]))
    for rows, columns, weights in _corners(coords, **neighbours):
        rows, columns, counts = _place(rows, columns, image.shape, border)
        values += (weights * counts)[:, None] * image[rows, columns]
    return values


def _scatter(upstream, coords, shape, border="zeros", add=np.add.at, **neighbours):
    image = np.zeros(shape)
    for rows, columns, weights in _corners(coords, **neighbours):
        rows, columns, counts = _place(rows, columns, shape, border)
        add(image, (rows, columns), (weights * counts)[:, None] * upstream)
    return image


def _add_once(array, index, values):
    array[index] += values


def _slopes(image, coords, high=_next, blend=True):
    top, left = np.floor(coords).astype(int).T
    bottom, right = high(coords).astype(int).T
    fy, fx = (coords - np.floor(coords)).T * blend
    by_y = (1 - fx) * (image[bottom, left] - image[top, left]) + fx * (image[bottom, right] - image[top, right])
    by_x = (1 - fy) * (image[top, right] - image[top, left]) + fy * (image[bottom, right] - image[bottom, left])
    return np.stack([by_y, by_x], axis=-1)


def _left_slopes(image, coords):
    """The slope of the cell to the left where that cell ends at the point: `ceil - 1` and `ceil`."""
    flipped = _slopes(image[::-1, ::-1], np.array(image.shape) - 1 - coords)
    return -flipped


def _edge_row(row, xs, size_error=0, **neighbours):
    xs = np.clip(xs, 0, len(row) - 1 - size_error)
    return _one_row(row, xs, border="edge", **neighbours)


def _one_row(row, xs, **options):
    coords = np.stack([np.zeros_like(xs), xs], axis=-1)
    # Two equal rows, so that only the columns can go wrong.
    return _sample_points(np.stack([row, row])[..., None], coords, **options)[:, 0]


SWAPPED = "y and x are swapped. Coordinates are (y, x), as an array is indexed: the row comes first."
VANISHES = (
    "at whole coordinates your value vanishes. There `ceil` equals `floor`, so both weights are 0; "
    "the right neighbour is `floor + 1`."
)
WRAPS = (
    "on the left or on top, your function reads the other side of the image: index -1 is the last pixel in Python. "
    "Check each corner before you read it."
)
HALF_PIXEL = "off by half a pixel. In this book the centre of the first pixel lies at 0, not at 0.5."
NEIGHBOURS_OFF = "off by one: the neighbours are `floor` and `floor + 1`, not one pixel before."
RESHAPED = "the channels are scrambled: you have (channels, ...) and reshaped it. Move the axis with a transpose."

EDGE_ROW_MISTAKES = [
    (
        lambda row, xs: _one_row(row, 2 * np.floor(xs) + 1 - xs),
        "the two weights are exchanged: the fraction `f` weighs the right pixel, `1 - f` the left one.",
    ),
    (lambda row, xs: _one_row(row, xs - 1, border="edge"), NEIGHBOURS_OFF),
    (lambda row, xs: _one_row(row, xs - 0.5, border="edge"), HALF_PIXEL),
    (lambda row, xs: _edge_row(row, xs, high=np.ceil), VANISHES),
    (lambda row, xs: _one_row(row, xs, border="wrap"), WRAPS),
    (lambda row, xs: _one_row(row, xs), "wrong border: yours fades to zero outside; here the border pixel goes on."),
    (
        lambda row, xs: _edge_row(row, xs, size_error=1),
        "off by one at the right border: the last pixel is `len(row) - 1`.",
    ),
]

SAMPLE_POINTS_MISTAKES = [
    (lambda image, coords: _sample_points(image, coords[:, ::-1]), SWAPPED),
    (lambda image, coords: _sample_points(image, coords).T.reshape(len(coords), -1), RESHAPED),
    (lambda image, coords: _sample_points(image, coords - 1), NEIGHBOURS_OFF),
    (lambda image, coords: _sample_points(image, coords - 0.5), HALF_PIXEL),
    (lambda image, coords: _sample_points(image, coords, high=np.ceil), VANISHES),
    (lambda image, coords: _sample_points(image, coords, border="wrap"), WRAPS),
    (
        lambda image, coords: _sample_points(image, coords, border="edge"),
        "wrong border: yours goes on with the border pixel; here the outside is zero.",
    ),
]

SLOPES_MISTAKES = [
    (lambda image, coords: _slopes(image, coords)[:, ::-1], "the two slopes are swapped: the slope by y comes first."),
    (lambda image, coords: _slopes(image, coords[:, ::-1]), SWAPPED),
    (
        lambda image, coords: _slopes(image, coords, blend=False),
        "your slope is that of one edge of the cell. Blend the two parallel edges by the other fraction.",
    ),
    (
        lambda image, coords: _slopes(image, coords, high=np.ceil),
        "the ceil trap: at whole coordinates your slope is 0. The neighbours are `floor` and `floor + 1`.",
    ),
    (_left_slopes, "at whole coordinates yours is the slope of the cell to the left. Take `floor`, not `ceil - 1`."),
]

SCATTER_MISTAKES = [
    (lambda upstream, coords, shape: _scatter(upstream, coords[:, ::-1], shape), SWAPPED),
    (
        lambda upstream, coords, shape: np.moveaxis(_scatter(upstream, coords, shape), -1, 0).reshape(shape),
        RESHAPED,
    ),
    (lambda upstream, coords, shape: _scatter(upstream, coords - 1, shape), NEIGHBOURS_OFF),
    (lambda upstream, coords, shape: _scatter(upstream, coords, shape, high=np.ceil), VANISHES),
    (
        lambda upstream, coords, shape: _scatter(upstream, coords, shape, add=_add_once),
        "points that share a pixel overwrite each other: `a[i] += b` counts a repeated index once. Use `np.add.at`.",
    ),
    (lambda upstream, coords, shape: _scatter(upstream, coords, shape, border="wrap"), WRAPS),
    (
        lambda upstream, coords, shape: _scatter(upstream, coords, shape, border="edge"),
        "wrong border: what falls outside is lost; yours is added to the border pixels.",
    ),
]
