"""The numbers that README and the welcome page show are those of the committed results."""

import runpy
from pathlib import Path

import pytest

from deformconv.study import experiment

ROOT = Path(__file__).parents[2]
RUNS = experiment.read_results(ROOT / "book/results/scaled_mnist.json")


@pytest.mark.parametrize("page", ["README.md", "book/index.md"])
def test_pages_show_the_committed_results(page):
    publish = runpy.run_path(str(ROOT / "book/publish.py"))
    text = (ROOT / page).read_text()
    assert publish["with_block"](text) == text, "run `make publish`"


def test_committed_results_hold_every_variant_with_three_seeds():
    seeds = {variant: {run["seed"] for run in RUNS if run["variant"] == variant} for variant in experiment.VARIANTS}
    assert all(len(own) >= 3 for own in seeds.values()), seeds


def test_committed_results_reach_the_stated_goal():
    mean = {
        key: value[0] for key, value in experiment.summarise(RUNS)["deformable"].items() if isinstance(value, tuple)
    }
    assert mean["scaled"] >= 97.3
    assert mean["regular"] >= 98.0


def test_every_committed_run_says_how_it_was_made():
    for run in RUNS:
        for key in ("command", "hardware", "engine", "versions", "steps", "seconds", "unscaled_share", "dataset"):
            assert run[key] not in (None, "", {}), (run["variant"], run["seed"], key)
