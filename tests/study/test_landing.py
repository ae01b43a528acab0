"""Where a run lands beside stated ones: the interval by Student's t, and one real run of the study."""

import math
from pathlib import Path

import pytest

from deformconv import cli
from deformconv.study import landing, results

MEASURES = ("regular", "scaled")
STATED = Path(__file__).parents[2] / "book/results/scaled_digits.json"


def test_the_range_is_students_prediction_interval(make_run):
    """Two stated runs: Student's t with one degree of freedom is Cauchy's, whose quantile is a tangent."""
    stated = [make_run("deformable", seed, regular=0.9, scaled=scaled) for seed, scaled in ((0, 0.496), (1, 0.504))]
    reach = math.tan(math.pi * 0.495) * 0.004 * math.sqrt(2) * math.sqrt(1.5)
    regular, scaled = landing.landings([make_run("deformable", 2, 0.9, 0.5)], stated, MEASURES)
    assert (regular.low, regular.high, regular.inside) == (0.9, 0.9, True)
    assert scaled.low == pytest.approx(0.5 - reach) and scaled.high == pytest.approx(0.5 + reach)


@pytest.mark.parametrize(("scaled", "inside"), [(0.47, False), (0.49, True), (0.51, True), (0.54, False)])
def test_a_run_beyond_the_range_is_outside(make_run, scaled, inside):
    stated = [make_run("deformable", seed, scaled=0.5 + 0.002 * seed) for seed in range(5)]
    found = landing.landings([make_run("deformable", 9, scaled=scaled)], stated, MEASURES)[1]
    assert found.inside is inside
    assert str(found).startswith(f"deformable, seed 9: scaled {scaled:.2%} is {'inside' if inside else 'OUTSIDE'} 48.")


def test_what_is_not_stated_twice_is_left_out(make_run):
    stated = [make_run("deformable", 0), make_run("regular", 0), make_run("regular", 1)]
    found = landing.landings(
        [make_run("deformable", 2), make_run("regular", 2), make_run("modulated", 2)], stated, MEASURES
    )
    assert [(one.variant, one.measure) for one in found] == [("regular", "regular"), ("regular", "scaled")]


def test_reproduce_lands_inside_the_stated_spread(capsys, monkeypatch, tmp_path):
    """A real training: the quick budget on the digits, as a reader would check the book's numbers."""
    monkeypatch.chdir(tmp_path)
    command = ["reproduce", "--budget", "quick", "--dataset", "digits", "--variant", "deformable", "--seeds", "1"]
    assert cli.main([*command, "--compare", str(STATED)]) == 0
    said = capsys.readouterr().out
    assert "deformable, seed 0: regular" in said and "deformable, seed 0: scaled" in said
    assert said.count(" is inside ") == 2
    # And the range is narrow enough to tell it from where it started and from the control.
    stated = results.read(STATED)
    others = [{**run, "variant": "deformable"} for run in stated if run["variant"] != "deformable"]
    own = [run for run in stated if run["variant"] == "deformable"]
    scaled = [found for found in landing.landings(others, own, MEASURES) if found.measure == "scaled"]
    assert len(scaled) == 10 and not any(found.inside for found in scaled)
