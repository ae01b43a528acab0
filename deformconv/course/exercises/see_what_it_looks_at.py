"""Chapter 8's exercises: where taps rest, how far apart they look, which zoom fits them, the next layer, reach."""

import matplotlib.pyplot as plt
import numpy as np

from deformconv import diagnostics
from deformconv.course.exercises.checker import check
from deformconv.course.figures import places_and_target

SWAPPED = "y and x are swapped: each place is (y, x)."


def check_resting_taps(function) -> bool:
    """Exercise 8.1: `function(pixel, size, kernel_size, strides, dilation_rate)` -> `(taps, 2)`, padding "same"."""
    cases = [
        ((1, 3), (7, 9), (3, 5), (2, 1), (1, 1)),
        ((2, 1), (8, 12), (4, 3), (1, 3), (2, 1)),
        ((0, 2), (10, 6), (3, 2), (2, 1), (1, 2)),
    ]
    return check("8.1", function, _rest, cases, REST_MISTAKES, draw=_draw_places)


def _draw_places(got, want):
    places_and_target(got, want)
    plt.show()


def _rest(pixel, size, kernel_size, strides, dilation_rate, before=lambda missing, _: np.maximum(missing, 0) // 2):
    size, strides, dilation = np.array(size), np.array(strides), np.array(dilation_rate)
    span = (np.array(kernel_size) - 1) * dilation + 1
    missing = (-(-size // strides) - 1) * strides + span - size
    taps = np.indices(kernel_size).reshape(2, -1).T
    return np.array(pixel) * strides + taps * dilation - before(missing, span)


def _rest_mistake(**options):
    return lambda *arguments: _rest(*arguments, **options)


REST_MISTAKES = (
    (
        _rest_mistake(before=lambda missing, span: 0),
        'the zeros before the map are missing: with "same" padding the first tap rests further up and to the left.',
    ),
    (
        _rest_mistake(before=lambda missing, span: -(-np.maximum(missing, 0) // 2)),
        "half of the missing zeros, rounded *down*, stand before; where their number is odd, the larger half is after.",
    ),
    (
        _rest_mistake(before=lambda missing, span: span // 2),
        "you always put half a kernel of zeros before. With strides fewer are missing: count them.",
    ),
    (
        lambda pixel, size, kernel, strides, dilation: _rest(
            pixel, size, kernel, strides, (1, 1), lambda missing, _: _zeros_before(size, kernel, strides, dilation)
        ),
        "the taps should stand `dilation_rate` pixels apart.",
    ),
    (
        lambda pixel, size, kernel, strides, dilation: _rest(pixel, size, kernel, strides, (1, 1)),
        "the dilation is missing: it moves the taps apart, and more zeros are needed.",
    ),
    (
        lambda pixel, size, kernel, strides, dilation: (
            _rest(pixel, size, kernel, strides, dilation) - np.array(pixel) * (np.array(strides) - 1)
        ),
        "the stride is missing: output pixel p begins at p times the stride.",
    ),
    (lambda *a: _rest(*a)[:, ::-1], SWAPPED),
    (
        lambda pixel, size, kernel, strides, dilation: (
            _rest(pixel, size, kernel, strides, dilation).reshape(*kernel, 2).swapaxes(0, 1).reshape(-1, 2)
        ),
        "your taps run column by column: they go row by row.",
    ),
)


def _zeros_before(size, kernel_size, strides, dilation_rate):
    return -_rest((0, 0), size, kernel_size, strides, dilation_rate)[0]


def check_effective_dilation(function) -> bool:
    """Exercise 8.2: `function(offsets, dilation_rate)`, `(kh, kw, 2)` -> the mean distance of neighbouring taps."""
    rng = np.random.default_rng(82)
    cases = [
        (rng.normal(size=(*size, 2)), dilation)
        for size, dilation in (((3, 2), (1, 1)), ((2, 4), (2, 1)), ((4, 3), (1, 3)))
    ]
    return check("8.2", function, _dilation, cases, DILATION_MISTAKES)


def _dilation(offsets, dilation_rate):
    return diagnostics.effective_dilation(offsets[None, None, None, None], dilation_rate)[0, 0, 0]


def _looks(offsets, dilation_rate):
    return np.moveaxis(np.indices(offsets.shape[:2]), 0, -1) * dilation_rate + offsets


def _steps(looks):
    """The way from each tap to the next, `(pairs, 2)`, down and to the right."""
    return np.diff(looks, axis=0).reshape(-1, 2), np.diff(looks, axis=1).reshape(-1, 2)


def _lengths(looks, ways=(0, 1)):
    return np.concatenate([np.linalg.norm(_steps(looks)[way], axis=-1) for way in ways])


def _around(offsets, dilation_rate):
    looks = _looks(offsets, dilation_rate)
    steps = [looks - np.roll(looks, 1, axis) for axis in (0, 1)]
    return np.linalg.norm(steps, axis=-1).mean()


def _every_pair(offsets, dilation_rate):
    looks = _looks(offsets, dilation_rate).reshape(-1, 2)
    first, second = np.triu_indices(len(looks), 1)
    return np.linalg.norm(looks[first] - looks[second], axis=-1).mean()


DILATION_MISTAKES = (
    (
        lambda o, d: _lengths(o).mean(),
        "you measure between offsets. A tap looks at its place in the grid plus its offset.",
    ),
    (lambda o, d: _dilation(o, (1, 1)), "the dilation is missing: the taps rest `dilation_rate` pixels apart."),
    (
        lambda o, d: _lengths(_looks(o * np.array(d), d)).mean(),
        "dilation spreads the taps, not their offsets, which are in pixels already.",
    ),
    (lambda o, d: _lengths(_looks(o, d), (0,)).mean(), "your pairs are above each other only: add those side by side."),
    (lambda o, d: _lengths(_looks(o, d), (1,)).mean(), "your pairs are side by side only: add those above each other."),
    (
        lambda o, d: np.mean([_lengths(_looks(o, d), (way,)).mean() for way in (0, 1)]),
        "you take the mean of two means. The two directions have different numbers of pairs: one mean over all pairs.",
    ),
    (
        lambda o, d: np.abs(np.concatenate(_steps(_looks(o, d)))).sum(axis=-1).mean(),
        "you add up y and x. A distance is the root of the sum of their squares.",
    ),
    (
        lambda o, d: np.sqrt((_lengths(_looks(o, d)) ** 2).mean()),
        "you take the root of the mean square: the mean of the distances is asked for.",
    ),
    (_around, "your last tap is the neighbour of the first: a kernel has ends."),
    (_every_pair, "you measure all pairs of taps: only neighbours in the grid count."),
)


def check_best_zoom(function) -> bool:
    """Exercise 8.3: `function(offsets)`, `(kh, kw, 2)` -> the zoom of the grid that comes closest to the taps."""
    rng = np.random.default_rng(83)
    cases = [(rng.normal(size=(*size, 2)),) for size in ((3, 2), (2, 5), (4, 3))]
    return check("8.3", function, _best_zoom, cases, ZOOM_MISTAKES)


def _grid(offsets):
    """The taps' places, seen from their middle."""
    places = np.moveaxis(np.indices(offsets.shape[:2]), 0, -1)
    return places - places.mean(axis=(0, 1))


def _best_zoom(offsets):
    grid = _grid(offsets)
    return 1 + (grid * offsets).sum() / (grid**2).sum()


def _about_corner(offsets):
    places = np.moveaxis(np.indices(offsets.shape[:2]), 0, -1)
    return 1 + (places * offsets).sum() / (places**2).sum()


ZOOM_MISTAKES = (
    (
        lambda o: _best_zoom(o) - 1,
        "you fit the offsets. The taps look at grid plus offset, so without any offset the zoom is 1.",
    ),
    (
        _about_corner,
        "you measure places from the top left tap. Measure them from the middle: a shift of all taps is no zoom.",
    ),
    (
        lambda o: ((_grid(o) + o) ** 2).sum() ** 0.5 / (_grid(o) ** 2).sum() ** 0.5,
        "you compare sizes, and scattered taps are far from the middle, too. Ask how far each went along its own way.",
    ),
    (
        lambda o: 1 + (_grid(o) * o[..., ::-1]).sum() / (_grid(o) ** 2).sum(),
        "y and x of the offsets are swapped: each pair is (y, x).",
    ),
    (
        lambda o: 1 + (_grid(o) * o).mean(),
        "the mean of products is not yet a zoom: divide their sum by the sum of the squared places.",
    ),
    (
        lambda o: (_grid(o) ** 2).sum() / ((_grid(o) + o) * _grid(o)).sum(),
        "yours is upside down: a zoom above 1 spreads the taps.",
    ),
    (
        lambda o: np.mean([1 + (_grid(o) * o)[..., a].sum() / (_grid(o) ** 2)[..., a].sum() for a in (0, 1)]),
        "you fit each axis on its own and take the mean. One zoom for both weighs the longer axis more.",
    ),
)


def check_next_points(function) -> bool:
    """Exercise 8.4: `function(points, looks)`, `(n, 2)` and `(h, w, taps, 2)` -> `(n * taps, 2)`."""
    rng = np.random.default_rng(84)
    cases = []
    for size, taps, n in (((5, 4), 6, 3), ((3, 7), 2, 4), ((6, 5), 3, 5)):
        # whole places plus less than half, so that the nearest pixel is beyond doubt; some beyond the border
        points = rng.integers([-2, -2], np.array(size) + 2, size=(n, 2)) + rng.choice([-0.4, -0.2, 0.3], size=(n, 2))
        points[0] = np.array(size) - 1.4  # rounds down on no axis
        cases.append((points, rng.normal(size=(*size, taps, 2))))
    return check("8.4", function, _next_points, cases, NEXT_MISTAKES, draw=_draw_places)


def _next_points(points, looks, whole=np.round, limit=np.clip):
    pixel = limit(whole(points), 0, np.array(looks.shape[:2]) - 1).astype(int)
    return looks[pixel[:, 0], pixel[:, 1]].reshape(-1, 2)


NEXT_MISTAKES = (
    (
        lambda p, q: _next_points(p, q, whole=np.floor),
        "you round down. The nearest pixel to 2.6 is 3: `np.round`.",
    ),
    (
        lambda p, q: _next_points(p, q, limit=lambda a, low, high: a % (high + 1)),
        "a point outside takes its pixel from the other side of the map. Take the nearest pixel that there is: clip.",
    ),
    (
        lambda p, q: _next_points(p, q, limit=lambda a, low, high: np.minimum(a, high)),
        "beyond the upper or left border your index is negative, and NumPy counts it from the end. Clip there, too.",
    ),
    (
        lambda p, q: _next_points(p[:, ::-1], q, limit=lambda a, low, high: np.clip(a, low, high)),
        "y and x of the points are swapped: the first number is the row.",
    ),
    (
        lambda p, q: _next_points(p, q.reshape(q.shape[1], q.shape[0], *q.shape[2:])),
        "height and width of the map are swapped: its axes are (y, x, tap).",
    ),
    (
        lambda p, q: _next_points(p, q).reshape(len(p), -1, 2).swapaxes(0, 1).reshape(-1, 2),
        "the order is wrong: all taps of the first point, then those of the second.",
    ),
    (lambda p, q: _next_points(p, q)[:, ::-1], SWAPPED),
    (
        lambda p, q: _next_points(p, q) + np.repeat(p, q.shape[2], axis=0),
        "you add the point to where its taps look. `looks` are places already, not steps from the point.",
    ),
)


def check_reach(function) -> bool:
    """Exercise 8.5: `function(field)`, `(h, w)`, not negative -> its reach, in pixels."""
    rng = np.random.default_rng(85)
    # Weight on one side, so that the middle of the field is not that of the image.
    cases = [(rng.uniform(size=size) * np.arange(1, size[1] + 1),) for size in ((4, 7), (6, 3), (5, 8))]
    return check("8.5", function, diagnostics.reach, cases, REACH_MISTAKES)


def _reach(field, middle=None, power=lambda distance: distance**2, back=np.sqrt, share=True, axes=(0, 1)):
    places = np.indices(field.shape)
    share = field / field.sum() if share else field
    if middle is None:
        middle = [(places[axis] * share).sum() / share.sum() for axis in (0, 1)]
    distance = np.sqrt(sum((places[axis] - middle[axis]) ** 2 for axis in axes))
    return back((power(distance) * share).sum())


def _image_middle(field):
    return (np.array(field.shape) - 1) / 2


REACH_MISTAKES = (
    (lambda f: _reach(np.ones_like(f)), "every pixel counts the same in yours: weigh each by the field."),
    (
        lambda f: _reach(f, _image_middle(f)),
        "you measure from the middle of the image: the field has a middle of its own, its weighted mean place.",
    ),
    (
        lambda f: _reach(f, np.unravel_index(f.argmax(), f.shape)),
        "you measure from the brightest pixel: the middle is the weighted mean place.",
    ),
    (lambda f: _reach(f, back=lambda value: value), "take the root: this is the mean *squared* distance."),
    (
        lambda f: _reach(f, power=lambda d: d, back=lambda value: value),
        "this is the mean distance: square before the mean, take the root after.",
    ),
    (
        lambda f: _reach(f, share=False),
        "divide by the sum of the field: twice the light is not twice the reach.",
    ),
    (lambda f: _reach(f, axes=(0,)), "you count distances in y only."),
    (lambda f: _reach(f, axes=(1,)), "you count distances in x only."),
)
