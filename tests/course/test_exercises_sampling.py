"""The checks of chapter 2's exercises: right answers pass, and each common mistake is called by its name."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from deformconv.course import exercises
from deformconv.course.exercises import sampling


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


EXERCISES = [
    ("2.1", exercises.check_edge_row, edge_row, sampling.EDGE_ROW_MISTAKES),
    ("2.2", exercises.check_sample_points, sample_points, sampling.SAMPLE_POINTS_MISTAKES),
    ("2.3", exercises.check_slopes, slopes, sampling.SLOPES_MISTAKES),
    ("2.4", exercises.check_scatter, scatter, sampling.SCATTER_MISTAKES),
]
MISTAKES = [(name, check, wrong, message) for name, check, _, found in EXERCISES for wrong, message in found]


@pytest.fixture(autouse=True)
def no_windows(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))


@pytest.mark.parametrize("name, check, solution, _", EXERCISES, ids=[case[0] for case in EXERCISES])
def test_the_solution_passes(name, check, solution, _, capsys):
    assert check(solution)
    assert capsys.readouterr().out.startswith(f"Exercise {name}: correct, on ")


@pytest.mark.parametrize(
    "name, check, wrong, message", MISTAKES, ids=[f"{case[0]} {case[3][:30]}" for case in MISTAKES]
)
def test_a_mistake_gets_its_own_message(name, check, wrong, message, capsys):
    assert not check(wrong)
    assert capsys.readouterr().out == f"Exercise {name}: {message}\n"


@pytest.mark.parametrize("name, check, solution, _", EXERCISES, ids=[case[0] for case in EXERCISES])
def test_a_stub_prints_the_fixed_line(name, check, solution, _, capsys):
    def stub(*arguments):
        raise NotImplementedError

    assert not check(stub)
    line = f"Exercise {name}: not solved yet. Replace the line that raises, and run the cell again.\n"
    assert capsys.readouterr().out == line


def test_a_wrong_scatter_is_drawn_beside_the_target(monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf()))
    exercises.check_scatter(lambda upstream, coords, shape: np.zeros(shape))
    assert [ax.get_title() for ax in shown[0].axes] == ["yours", "the target"]
    plt.close("all")
