"""Looks for good settings of the offsets, on validation data alone: `python tools/explore.py --groups 4 --steps 2000`.

One fine-tune of the regular classifier of a seed, everything but the offsets frozen. What it reached is added to
`book/results/explorations.json`; nothing here ever sees the test set. Several may run at once.
"""

import argparse
import json
import os
import shlex
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from filelock import FileLock

from deformconv import training
from deformconv.study.digits import datasets, experiment, models
from deformconv.study.provenance import hardware, versions
from deformconv.training.files import write_atomically
from deformconv.training.scaling import Scaling, scaled_copy

FILE = Path(__file__).parents[1] / "book" / "results" / "explorations.json"


def main():
    options = parse()
    data = datasets.load("mnist")
    (x, y), (x_val, y_val) = data.split()
    settings = experiment.Settings.of("mnist", "standard")
    study = experiment.Study(data, settings, options.folder)
    keras.utils.set_random_seed(options.seed)
    model = models.digit_classifier(
        lambda *layer: models.deformable(
            *layer,
            deformed=options.layers,
            offset_groups=options.groups,
            modulated=options.modulated,
        )
    )
    training.train_only_offsets(training.transplant(study.model("regular", options.seed), model))
    told = training.fit(
        model,
        x,
        y,
        steps=options.steps,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        seed=[options.seed, 1],
        scaling=Scaling(unscaled=options.unscaled),
        description=shlex.join(sys.argv[1:]) or "defaults",
    )
    found = {
        **{name: value for name, value in vars(options).items() if name != "folder"},
        "trained_parameters": training.count_trained(model),
        "validation_regular": training.accuracy(model, x_val, y_val),
        "validation_scaled": training.accuracy(model, scaled_copy(x_val, experiment.VALIDATION_SEED), y_val),
        "seconds": round(told["seconds"]),
        "hardware": hardware(),
        "versions": versions(),
        "command": shlex.join(["python", "tools/explore.py", *sys.argv[1:]]),
    }
    print(json.dumps(found, indent=1))
    with FileLock(options.folder / "explorations.lock"):
        runs = json.loads(FILE.read_text()) if FILE.exists() else []
        write_atomically(FILE, json.dumps([*runs, found], indent=1).encode() + b"\n")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--layers",
        nargs="+",
        default=list(models.DEFORMED),
        choices=list(models.CONVOLUTIONS),
    )
    parser.add_argument("--groups", type=int, default=1, help="offset groups")
    parser.add_argument("--modulated", action="store_true", help="a mask too")
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--unscaled", type=float, default=0.15, help="share of each batch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("results/mnist-standard"),
        help="of the study, for its regular classifier",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
