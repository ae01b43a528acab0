"""Chapter 10's exercises, solved."""

import numpy as np
from keras import ops

from deformconv import deform_roi_pool2d
from deformconv.course import exercises
from deformconv.course.exercises import pool_deformable_regions as checks
from solutions.solved import Solved


def moved_points(start, end, offsets, samples, offset_scale):
    """Bin by bin, each as an interval of its own."""
    step = (end - start) / len(offsets)
    points = np.zeros((len(offsets), samples))
    for number, offset in enumerate(offsets):
        first = start + number * step + offset_scale * offset * (end - start)
        edges = np.linspace(first, first + step, samples + 1)
        points[number] = (edges[:-1] + edges[1:]) / 2 - 0.5
    return points


def overlap(boxes, others):
    """Pair by pair, in words of areas."""
    shares = np.zeros((len(boxes), len(others)))
    for i, (y1, x1, y2, x2) in enumerate(boxes):
        for j, (top, left, bottom, right) in enumerate(others):
            tall, wide = min(y2, bottom) - max(y1, top), min(x2, right) - max(x1, left)
            both = tall * wide if tall > 0 and wide > 0 else 0
            shares[i, j] = both / ((y2 - y1) * (x2 - x1) + (bottom - top) * (right - left) - both)
    return shares


def in_pixels(offsets, boxes, offset_scale, spatial_scale):
    moves = np.array(offsets)
    for move, (y1, x1, y2, x2) in zip(moves, boxes * spatial_scale, strict=True):
        move[..., 0] *= offset_scale * (y2 - y1)
        move[..., 1] *= offset_scale * (x2 - x1)
    return moves


def align(image, box, bins, samples):
    """The package's own."""
    pooled = deform_roi_pool2d(image[None, ..., None], box[None, None], output_size=bins, sampling_ratio=samples)
    return ops.convert_to_numpy(pooled)[0, 0, ..., 0]


def own_channels(pooled):
    oh, ow, _ = pooled.shape
    apart = pooled.reshape(oh * ow, -1, oh * ow)
    return np.stack([apart[n, :, n] for n in range(oh * ow)]).reshape(oh, ow, -1)


EXERCISES = {
    "10.1": Solved(
        exercises.check_moved_points,
        moved_points,
        checks.POINTS_MISTAKES,
        slips=(
            (lambda *a: moved_points(*a) + 0.5, "half a pixel is missing"),
            (lambda start, end, o, n, g: moved_points(start, end, -o, n, g), "wrong way"),
        ),
    ),
    "10.2": Solved(
        exercises.check_box_overlap,
        overlap,
        checks.OVERLAP_MISTAKES,
        slips=((lambda boxes, others: overlap(boxes + [0, 0, 1, 1], others + [0, 0, 1, 1]), "not 4"),),
    ),
    "10.3": Solved(
        exercises.check_offsets_in_pixels,
        in_pixels,
        checks.MOVES_MISTAKES,
        slips=(
            (lambda o, b, g, s: in_pixels(o, b[:, [1, 0, 3, 2]], g, s), "scaled by the width"),
            (lambda o, b, g, s: in_pixels(o, b / s, g, s), "another scale"),
        ),
    ),
    "10.4": Solved(
        exercises.check_align,
        align,
        checks.ALIGN_MISTAKES,
        slips=(
            (lambda image, box, *rest: align(image, box + 0.5, *rest), "half a pixel is missing"),
            (lambda image, box, bins, samples: align(image, box, bins, samples) * samples**2, "take their mean"),
        ),
        draws=True,
    ),
    "10.5": Solved(
        exercises.check_own_channels,
        own_channels,
        checks.OWN_MISTAKES,
        slips=((lambda pooled: pooled[..., : own_channels(pooled).shape[-1]], "same first channels"),),
    ),
}
