"""The numbers that README and the welcome page show are those of the committed results."""

import json
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


def test_the_speeds_in_the_readme_are_those_of_the_results_file():
    results = json.loads((ROOT / "benchmarks" / "results" / "cpu-2-cores.json").read_text())["results"]
    median = {(r["case"], r["contender"], r["direction"]): r["median"] for r in results}
    readme = (ROOT / "README.md").read_text()
    header, _, *rows = readme.split("<!-- speed -->")[1].split("<!-- /speed -->")[0].strip().splitlines()
    cases = [cell.strip() for cell in header.strip("|").split("|")][1:]
    contenders = {"TensorFlow's own operations": "tensorflow, stock", "OpenVINO": "openvino"}
    contenders |= {"onnxruntime": "onnxruntime", "PaddlePaddle": "paddlepaddle"}
    assert len(rows) == 6
    for row in rows:
        label, *cells = (cell.strip() for cell in row.strip("|").split("|"))
        direction = "backward" if label.startswith("forward and backward") else "forward"
        contender = contenders[label.split(", ")[1]] if ", " in label else "tensorflow"
        for case, cell in zip(cases, cells, strict=True):
            assert cell == f"{median[case, contender, direction] / median[case, 'conv2d', direction]:.2f}"
    training = json.loads((ROOT / "benchmarks" / "results" / "cpu-2-cores-training.json").read_text())["results"]
    assert f"takes {training[1]['median'] / training[0]['median']:.2f} times a training step" in " ".join(
        readme.split()
    )
    memory = json.loads((ROOT / "benchmarks" / "results" / "cpu-2-cores-memory.json").read_text())
    assert f"in {memory['peak_gb']['backward']} GB" in readme
