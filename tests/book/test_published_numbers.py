"""The numbers that README and the welcome page show are those of the committed results."""

import json
from pathlib import Path

import pytest

import publish
import run_tables
from deformconv.study import results
from deformconv.study.digits.experiment import ACCURACIES
from deformconv.study.digits.variants import VARIANTS
from deformconv.study.mnist_scale import experiment, protocol

ROOT = Path(__file__).parents[2]
RUNS = results.read(ROOT / "book/results/scaled_mnist.json")


@pytest.mark.parametrize("page", publish.PAGES, ids=lambda page: page.name)
def test_pages_show_the_committed_results(page):
    text = page.read_text()
    assert publish.with_blocks(text, publish.PAGES[page]) == text, "run `make publish`"


def test_a_page_without_the_place_for_a_block_is_refused():
    with pytest.raises(ValueError, match="a page must hold <!-- speed -->"):
        publish.with_blocks("<!-- results -->\n<!-- /results -->", {"speed": str})
    assert (
        publish.with_blocks("a <!-- b -->\nold\n<!-- /b --> c", {"b": lambda: "1"}) == "a <!-- b -->\n1\n<!-- /b --> c"
    )


@pytest.mark.parametrize("name, seeds", [("scaled_mnist", 5), ("scaled_mnist_first", 3)])
def test_the_command_shown_makes_every_variant_and_seed_of_its_table(name, seeds):
    said = run_tables.made_by(results.read(ROOT / f"book/results/{name}.json"))
    assert f"--seeds {seeds}" in said and "--variant" not in said


def test_committed_results_hold_every_variant_with_five_seeds_each():
    seeds = {}
    for run in RUNS:
        seeds.setdefault(run["variant"], set()).add(run["seed"])
    assert seeds.keys() == VARIANTS.keys()
    assert all(len(own) >= 5 for own in seeds.values()), seeds


def test_the_first_study_reached_its_goal():
    runs = results.read(ROOT / "book/results/scaled_mnist_first.json")
    assert results.summarise(runs, ACCURACIES)["deformable"]["scaled"][0] >= 97.3
    assert results.summarise(runs, ACCURACIES)["deformable"]["regular"][0] >= 98.0


@pytest.mark.parametrize("variant", ["deformable", "deformable-all-layers", "deformable-groups", "conv-offset"])
def test_offsets_alone_pass_the_claim_of_2017_with_every_seed(variant):
    """On its own kind of test set, too, where each pixel is the nearest."""
    for run in (run for run in RUNS if run["variant"] == variant):
        assert run["scaled_nearest"] > 0.9255 + 0.02 and run["scaled"] > 0.9255 + 0.04 and run["regular"] > 0.9727


def test_on_the_data_of_2017_offsets_alone_pass_its_claim_and_batchnorm_does_not():
    """In the mean and with every seed; none of these networks learned from an unscaled digit."""
    runs = results.read(ROOT / "book/results/scaled_mnist_2017_data.json")
    assert {(run["unscaled_share"], run["interpolation"]) for run in runs} == {(0, "nearest")}
    by = {(run["variant"], run["seed"]): run for run in runs}
    names, seeds = {name for name, _ in by}, {seed for _, seed in by}
    assert names == {"regular", "batchnorm-only", "deformable", "deformable-groups", "equal-parameters"}
    assert len(by) == len(runs) == len(names) * len(seeds) and len(seeds) >= 5
    assert (names - {"regular"}) <= set(results.command(runs).split())  # the command shown leaves no variant out
    for seed in seeds:
        assert by["batchnorm-only", seed]["scaled_nearest"] < 0.9255
        for name in ("deformable", "deformable-groups"):
            assert by[name, seed]["scaled_nearest"] > 0.9255 + 0.03
        assert by["equal-parameters", seed]["regular"] < by["deformable", seed]["regular"]


def test_for_as_long_as_2017_batchnorm_alone_makes_its_table():
    """The pages say so: with every seed past its scaled digits, and within half a point of its regular ones."""
    runs = results.read(ROOT / "book/results/scaled_mnist_2017.json")
    assert {(run["budget"], run["unscaled_share"], run["interpolation"]) for run in runs} == {("2017", 0, "nearest")}
    control, deformable = (
        {run["seed"]: run for run in runs if run["variant"] == name} for name in ("batchnorm-only", "deformable")
    )
    assert len(control) >= 5 and deformable
    assert {"batchnorm-only", "deformable"} <= set(results.command(runs).split())
    for run in control.values():
        assert run["steps"] == 37500 and run["scaled_nearest"] > 0.9255 and abs(run["regular"] - 0.9727) < 0.005
    for seed, run in deformable.items():
        assert run["scaled_nearest"] > control[seed]["scaled_nearest"] + 0.02
        assert run["regular"] > control[seed]["regular"]


def test_slow_offsets_pay_where_everything_trains_from_scratch():
    """On every seed and test set; and the pages say that at the full rate they did not."""
    by = {(run["variant"], run["seed"]): run for run in RUNS}
    fast = results.read(ROOT / "book/results/from_scratch_full_rate.json")
    for seed in {seed for _, seed in by}:
        slow, plain = by["from-scratch-deformable", seed], by["from-scratch", seed]
        assert all(slow[name] > plain[name] for name in ACCURACIES), seed
        assert all(run["regular"] < plain["regular"] and run["scaled"] < plain["scaled"] for run in fast)


def test_offsets_alone_reach_the_higher_goal():
    runs = results.read(ROOT / "book/results/scaled_mnist_full.json")
    reached = [run for run in runs if run["variant"] == "deformable-groups"]
    assert len({run["seed"] for run in reached}) == len(reached) >= 5
    assert sum(run["scaled"] for run in reached) / len(reached) >= 0.985
    assert sum(run["regular"] for run in reached) / len(reached) >= 0.988


def test_deformation_pays_on_mnist_scale_in_every_realisation():
    runs = results.read(ROOT / "book/results/mnist_scale.json")
    errors = {(run["variant"], run["seed"]): run["error"] for run in runs}
    names = experiment.MnistScale.descriptions
    assert errors.keys() == {(name, seed) for name in names for seed in range(protocol.REALISATIONS)}
    for seed in range(protocol.REALISATIONS):
        assert max(errors["deformable", seed], errors["modulated", seed]) < errors["regular", seed]


MADE = ("command", "hardware", "engine", "versions", "steps", "seconds", "dataset")
RESULT_FILES = {
    "scaled_mnist": (*MADE, "unscaled_share"),
    "scaled_mnist_full": (*MADE, "unscaled_share"),
    "scaled_mnist_2017_data": (*MADE, "unscaled_share"),
    "scaled_mnist_2017": (*MADE, "unscaled_share"),
    "scaled_mnist_first": (*MADE, "unscaled_share"),
    "from_scratch_full_rate": (*MADE, "unscaled_share"),
    "mnist_scale": (*MADE, "offset_lr_multiplier"),
    "mnist_scale_explorations": (*MADE, "offset_lr_multiplier"),
}


@pytest.mark.parametrize("name", RESULT_FILES)
def test_every_committed_run_says_how_it_was_made(name):
    for run in results.read(ROOT / f"book/results/{name}.json"):
        for key in RESULT_FILES[name]:
            assert run[key] not in (None, "", {}), (run["variant"], run["seed"], key)


def test_the_reach_of_every_variant_is_known_and_offsets_make_it_follow_the_digit():
    """Without offsets no reach can pass that of 13 x 13 pixels, and a smaller digit does not draw it together."""
    measured = json.loads((ROOT / "book/results/receptive_fields.json").read_text())
    reach = {(one["variant"], one["seed"]): one["reach"] for one in measured["networks"]}
    seeds = {seed for _, seed in reach}
    assert len(seeds) >= 2 and reach.keys() == {(variant, seed) for variant in VARIANTS for seed in seeds}
    for seed in seeds:
        assert reach["regular", seed]["1.0"] < 6 * 2**0.5
        assert reach["deformable", seed]["1.0"] > reach["regular", seed]["1.0"]
        assert reach["deformable", seed]["2.0"] < reach["deformable", seed]["1.0"]
        assert reach["regular", seed]["2.0"] > reach["regular", seed]["1.0"]
