"""How far the networks of a study see: `python tools/receptive_fields.py results/mnist-standard`.

Of each seed whose networks all lie in the folder, the reach of the effective receptive field of conv22's middle pixel,
at two sizes of the same test digits, is kept in `book/results/receptive_fields.json`. Nothing is trained.
"""

import argparse
import json
import os
import shlex
import sys
from dataclasses import fields
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from tqdm.auto import tqdm

from deformconv import diagnostics
from deformconv.study import results
from deformconv.study.digits import datasets, experiment
from deformconv.study.provenance import hardware, versions
from deformconv.training.files import write_atomically
from deformconv.training.scaling import zoomed_copy

FILE = Path(__file__).parents[1] / "book" / "results" / "receptive_fields.json"
ZOOMS = (1.0, 2.0)


def main():
    options = parse()
    runs = results.read(options.folder / "results.json")
    first = runs[0]
    data = datasets.load(first["dataset"])
    names = [field.name for field in fields(experiment.Settings)]
    settings = experiment.Settings(**{name: first[name] for name in names})
    study = experiment.Study(data, settings, options.folder)
    gone = {run["seed"] for run in runs if not study.weights_path(run["variant"], run["seed"]).exists()}
    whole = [run for run in runs if run["seed"] not in gone]
    seen = {zoom: zoomed_copy(data.x_test[: options.digits], zoom) for zoom in ZOOMS}
    found = []
    for run in tqdm(whole, unit="network"):
        model = study.model(run["variant"], run["seed"])
        reach = {
            str(zoom): float(np.mean([reach_of(model, digit) for digit in digits])) for zoom, digits in seen.items()
        }
        found.append({"variant": run["variant"], "seed": run["seed"], "reach": reach})
    made = {
        "digits": options.digits,
        "hardware": hardware(),
        "versions": versions(),
        "command": shlex.join(["python", "tools/receptive_fields.py", *sys.argv[1:]]),
        "networks": found,
    }
    write_atomically(options.out, json.dumps(made, indent=1).encode() + b"\n")


def reach_of(model, digit):
    return diagnostics.reach(diagnostics.effective_receptive_field(model, digit))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="of a reproduce run, with its weights")
    parser.add_argument("--digits", type=int, default=10, help="test digits looked at")
    parser.add_argument("--out", type=Path, default=FILE)
    return parser.parse_args()


if __name__ == "__main__":
    main()
