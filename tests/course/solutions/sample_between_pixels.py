"""Chapter 2's exercises, solved."""

import numpy as np

from deformconv.course import exercises
from deformconv.course.exercises import sample_between_pixels as checks
from solutions.solved import Solved


def edge_row(row, xs):
    xs = np.clip(xs, 0, len(row) - 1)
    left = np.minimum(np.floor(xs).astype(int), len(row) - 2)
    return row[left] + (xs - left) * (row[left + 1] - row[left])


def sample_points(image, coords):
    pixels = np.stack(np.meshgrid(*map(np.arange, image.shape[:2]), indexing="ij"), axis=-1)
    weights = np.maximum(0, 1 - np.abs(coords[:, None, None] - pixels)).prod(axis=-1)
    return np.einsum("nhw,hwc->nc", weights, image)


def slopes(image, coords):
    """Forward differences: exact within a cell, for the value is linear in each coordinate."""
    step = 1e-6 * np.eye(2)
    sample = [sample_points(image[..., None], coords + move)[:, 0] for move in (0 * step[0], *step)]
    return np.stack([sample[1] - sample[0], sample[2] - sample[0]], axis=-1) / 1e-6


def scatter(upstream, coords, shape):
    pixels = np.stack(np.meshgrid(*map(np.arange, shape[:2]), indexing="ij"), axis=-1)
    weights = np.maximum(0, 1 - np.abs(coords[:, None, None] - pixels)).prod(axis=-1)
    return np.einsum("nhw,nc->hwc", weights, upstream)


EXERCISES = {
    "2.1": Solved(exercises.check_edge_row, edge_row, checks.EDGE_ROW_MISTAKES),
    "2.2": Solved(exercises.check_sample_points, sample_points, checks.SAMPLE_POINTS_MISTAKES),
    "2.3": Solved(exercises.check_slopes, slopes, checks.SLOPES_MISTAKES),
    "2.4": Solved(exercises.check_scatter, scatter, checks.SCATTER_MISTAKES, draws=True),
}
