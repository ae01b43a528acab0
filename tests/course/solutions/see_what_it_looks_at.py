"""Chapter 8's exercises, solved."""

import itertools

import numpy as np
from keras import ops

from deformconv.course import exercises
from deformconv.course.exercises import see_what_it_looks_at as checks
from solutions.solved import Solved


def resting_taps(pixel, size, kernel_size, strides, dilation_rate):
    """Asks a convolution: its kernel has one tap at a time, and the image holds the coordinates."""
    pad = 30  # room for zeros: coordinates are read from a wider image, cut out as `same` would
    before = [
        max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0) // 2
        for n, k, s, d in zip(size, kernel_size, strides, dilation_rate, strict=True)
    ]
    rows, columns = np.mgrid[-pad : size[0] + pad, -pad : size[1] + pad]
    wide = np.stack([rows, columns], axis=-1)[pad - before[0] :, pad - before[1] :].astype("float32")
    places = []
    for tap in itertools.product(*map(range, kernel_size)):
        kernel = np.zeros((*kernel_size, 1, 1), "float32")
        kernel[tap] = 1
        for axis in (0, 1):
            # a stride and a dilation at once is more than every engine can do: take every `strides`-th pixel
            read = ops.conv(wide[None, ..., axis : axis + 1], kernel, dilation_rate=tuple(dilation_rate))
            places.append(ops.convert_to_numpy(read)[0, :: strides[0], :: strides[1], 0][pixel])
    return np.reshape(places, (-1, 2))


def effective_dilation(offsets, dilation_rate):
    height, width, _ = offsets.shape
    place = {(i, j): np.array([i, j]) * dilation_rate + offsets[i, j] for i, j in np.ndindex(height, width)}
    far = [
        np.hypot(*(place[other] - place[i, j]))
        for i, j in place
        for other in ((i + 1, j), (i, j + 1))
        if other in place
    ]
    return np.mean(far)


def best_zoom(offsets):
    """By least squares, with a shift beside the zoom."""
    places = np.indices(offsets.shape[:2]).reshape(2, -1)
    unknown = [[*p] for y, x in places.T for p in ((y, 1, 0), (x, 0, 1))]
    looks = (places.T + offsets.reshape(-1, 2)).ravel()
    return np.linalg.lstsq(np.array(unknown, "float64"), looks, rcond=None)[0][0]


def next_points(points, looks):
    """The nearest pixel is found by comparing with all of them."""
    pixels = np.array(list(np.ndindex(looks.shape[:2])))
    found = [pixels[np.abs(pixels - point).sum(axis=1).argmin()] for point in points]
    return np.concatenate([looks[tuple(pixel)] for pixel in found])


def reach(field):
    """From the variances of the two coordinates."""
    places = np.indices(field.shape).reshape(2, -1)
    return np.sqrt(np.trace(np.cov(places, aweights=field.ravel(), ddof=0)))


EXERCISES = {
    "8.1": Solved(
        exercises.check_resting_taps,
        resting_taps,
        checks.REST_MISTAKES,
        slips=(
            (lambda *a: resting_taps(*a)[:, ::-1], "swapped"),
            (lambda p, n, k, s, d: np.array(p) * s + np.indices(k).reshape(2, -1).T * d, "zeros before"),
        ),
        draws=True,
    ),
    "8.2": Solved(
        exercises.check_effective_dilation,
        effective_dilation,
        checks.DILATION_MISTAKES,
        slips=((lambda o, d: effective_dilation(o, (1, 1)), "the dilation is missing"),),
    ),
    "8.3": Solved(
        exercises.check_best_zoom,
        best_zoom,
        checks.ZOOM_MISTAKES,
        slips=((lambda o: best_zoom(o) - 1, "without any offset the zoom is 1"),),
    ),
    "8.4": Solved(
        exercises.check_next_points,
        next_points,
        checks.NEXT_MISTAKES,
        slips=(
            (lambda p, q: next_points(p - 0.5, q), "you round down"),
            (lambda p, q: next_points(p[:, ::-1], q), "swapped"),
        ),
        draws=True,
    ),
    "8.5": Solved(
        exercises.check_reach,
        reach,
        checks.REACH_MISTAKES,
        slips=((lambda field: reach(field) ** 2, "take the root"),),
    ),
}
