"""The numbers that README and the welcome page show are those of the committed results."""

import runpy
from pathlib import Path

import pytest

from deformconv.study import results
from deformconv.study.variants import VARIANTS

ROOT = Path(__file__).parents[2]
RUNS = results.read(ROOT / "book/results/scaled_mnist.json")


PUBLISH = runpy.run_path(str(ROOT / "book/publish.py"))


@pytest.mark.parametrize("page", PUBLISH["PAGES"], ids=lambda page: page.name)
def test_pages_show_the_committed_results(page):
    text = page.read_text()
    assert PUBLISH["with_blocks"](text, PUBLISH["PAGES"][page]) == text, "run `make publish`"


def test_a_page_without_the_place_for_a_block_is_refused():
    with pytest.raises(ValueError, match="a page must hold <!-- speed -->"):
        PUBLISH["with_blocks"]("<!-- results -->\n<!-- /results -->", {"speed": str})
    assert (
        PUBLISH["with_blocks"]("a <!-- b -->\nold\n<!-- /b --> c", {"b": lambda: "1"})
        == "a <!-- b -->\n1\n<!-- /b --> c"
    )


def test_committed_results_hold_the_headline_and_its_controls_with_three_seeds_each():
    seeds = {}
    for run in RUNS:
        seeds.setdefault(run["variant"], set()).add(run["seed"])
    assert {"regular", "batchnorm-only", "conv-offset-2017", "deformable"} <= seeds.keys() <= VARIANTS.keys()
    assert all(len(own) >= 3 for own in seeds.values()), seeds


def test_committed_results_reach_the_stated_goal():
    mean = {key: value[0] for key, value in results.summarise(RUNS)["deformable"].items() if isinstance(value, tuple)}
    assert mean["scaled"] >= 97.3
    assert mean["regular"] >= 98.0


def test_offsets_alone_reach_the_higher_goal():
    runs = results.read(ROOT / "book/results/scaled_mnist_full.json")
    reached = [run for run in runs if run["variant"] == "deformable-groups"]
    assert len({run["seed"] for run in reached}) == len(reached) >= 5
    assert sum(run["scaled"] for run in reached) / len(reached) >= 0.985
    assert sum(run["regular"] for run in reached) / len(reached) >= 0.988


def test_every_committed_run_says_how_it_was_made():
    for run in RUNS + results.read(ROOT / "book/results/scaled_mnist_full.json"):
        for key in ("command", "hardware", "engine", "versions", "steps", "seconds", "unscaled_share", "dataset"):
            assert run[key] not in (None, "", {}), (run["variant"], run["seed"], key)
