"""Writes the numbers of the explorables that show real data: `python tools/explorable_data.py [NAME ...]`.

`accuracy_curves` and `speed_and_size` hold what lies in `book/results/` and `benchmarks/results/`; `shrinking_digit`
and `stacked_layers` what the classifiers that come with the package make of a few test digits of MNIST. Run it again
when any of these was made anew.
"""

import base64
import itertools
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from deformconv.bench import cases as bench_cases
from deformconv.course import explorables, figures
from deformconv.course.figures.bench import NAMES
from deformconv.course.figures.run_the_frozen_fine_tune import LOOKS
from deformconv.diagnostics import offsets_of
from deformconv.study import results
from deformconv.study.digits import datasets, trained
from deformconv.training import scaling

BOOK = Path(__file__).parents[1] / "book"
MEASURED = BOOK.parent / "benchmarks" / "results"

ZOOMS = np.linspace(1, 2.75, 15)
LAST_SEEN = 2.5  # the largest zoom of fine-tuning
LOOKED_AT = 1000  # test digits


def packed(values, low=None, high=None) -> dict:
    """Numbers as bytes, each `step` above `from`, for `unpack` in `common.js`."""
    low = float(values.min()) if low is None else low
    step = ((float(values.max()) if high is None else high) - low) / 255
    steps = np.round((np.asarray(values, "float64") - low) / step).astype("uint8")
    return {"from": low, "step": step, "bytes": base64.b64encode(steps.tobytes()).decode()}


def shrinking_digit() -> dict:
    """Digits at each zoom: the points of one output pixel, what both networks answer; and how many they get right."""
    digits = datasets.load("mnist")
    images, labels = digits.x_test[:LOOKED_AT], digits.y_test[:LOOKED_AT]
    networks = {name: trained.load(name) for name in trained.NAMES}
    answers = {
        name: np.stack([network.predict(scaling.zoomed_copy(images, zoom), verbose=0) for zoom in ZOOMS])
        for name, network in networks.items()
    }
    right = {name: found.argmax(axis=-1) == labels for name, found in answers.items()}
    shown = []
    for index in chosen(labels, right["regular"], right["deformable"]):
        shrunk = np.concatenate([scaling.zoomed_copy(images[index : index + 1], zoom) for zoom in ZOOMS])
        points = figures.trace_points(networks["deformable"], shrunk)
        shown.append(
            {
                "index": int(index),
                "label": int(labels[index]),
                "image": packed(images[index], 0, 1),
                "points": packed(points),
                **{name: packed(found[:, index], 0, 1) for name, found in answers.items()},
            }
        )
    return {
        "zooms": ZOOMS.tolist(),
        "looked_at": LOOKED_AT,
        "right": {name: [int(count) for count in found.sum(axis=1)] for name, found in right.items()},
        "digits": shown,
    }


def chosen(labels, regular, deformable) -> list[int]:
    """Three test digits of three classes that the plain network loses and the deformable one keeps; one both lose.

    They are the first of their kinds. `regular` and `deformable` say which are right, `(zooms, digits)`. All four are
    right at zoom 1; what is lost is lost at the largest zoom of fine-tuning, what is kept is kept up to there.
    """
    last = int(np.argmin(np.abs(ZOOMS - LAST_SEEN)))
    both_start = regular[0] & deformable[0]
    tells = np.flatnonzero(both_start & ~regular[last] & deformable[: last + 1].all(axis=0))
    fails = np.flatnonzero(both_start & ~regular[last] & ~deformable[last])
    first = {int(labels[index]): int(index) for index in reversed(tells)}
    return [*sorted(first.values())[:3], int(fails[0])]


def stacked_layers() -> dict:
    """Two of these digits, large and small, and the offsets of the three deformable layers for each."""
    deformable = trained.load("deformable")
    shown = []
    for digit in json.loads((explorables.FOLDER / "shrinking_digit.json").read_text())["digits"][:2]:
        steps = np.frombuffer(base64.b64decode(digit["image"]["bytes"]), "uint8").reshape(1, 28, 28, 1)
        for zoom in (1.0, 2.0):
            # To the grey levels that are kept, so that the offsets are those of the picture shown.
            image = np.round(255 * scaling.zoomed_copy(steps / np.float32(255), zoom)) / np.float32(255)
            offsets = {
                name: {"size": list(own.shape[1:3]), **packed(own[0])}
                for name, own in offsets_of(deformable, image).items()
            }
            shown.append(
                {
                    "label": digit["label"],
                    "zoom": zoom,
                    "image": packed(image[0], 0, 1),
                    "offsets": list(offsets.values()),
                }
            )
    strides = [deformable.get_layer(name).strides[0] for name in offsets]
    return {"layers": list(offsets), "strides": strides, "pictures": shown}


def accuracy_curves() -> dict:
    """Of each variant in the results: accuracy at each zoom, its deviation over seeds, and how the book draws it."""
    runs = results.read(BOOK / "results" / "scaled_mnist.json")
    curves = []
    for variant, (group, colour, marker, dashes) in LOOKS.items():
        own = np.array([list(run["zoom"].values()) for run in runs if run["variant"] == variant])
        if len(own):
            curves.append(
                {
                    "variant": variant,
                    "group": group,
                    "colour": colour.lower(),
                    "marker": marker,
                    "dashes": dashes,
                    "seeds": len(own),
                    "mean": (100 * own.mean(axis=0)).round(2).tolist(),
                    "deviation": (100 * own.std(axis=0, ddof=1)).round(2).tolist() if len(own) > 1 else None,
                }
            )
    return {
        "dataset": runs[0]["dataset"],
        "zooms": [float(zoom) for zoom in runs[0]["zoom"]],
        "seen": [1, LAST_SEEN],
        "curves": curves,
    }


def speed_and_size() -> dict:
    """Milliseconds of each contender, case and direction; cases that differ in one size form a family."""
    reports = [json.loads((MEASURED / f"cpu-2-cores{name}.json").read_text()) for name in ("", "-sizes")]
    sizes = {one.name: one for one in itertools.chain(*bench_cases.SETS.values())}
    cases = {}
    for one in (one for report in reports for one in report["results"] if "median" in one):
        kind, _, value = one["case"].partition(" ")
        family = {"family": kind, "value": int(value)} if kind in ("batch", "size", "channels") else {}
        case = cases.setdefault(
            one["case"],
            {
                "name": one["case"],
                "of": _described(sizes[one["case"]]),
                **family,
                "forward": {},
                "backward": {},
            },
        )
        case[one["direction"]][NAMES.get(one["contender"], one["contender"])] = one["median"]
    return {"hardware": reports[0]["hardware"], "cases": list(cases.values())}


def _described(case) -> str:
    images = f"{case.batch} image{'s' if case.batch > 1 else ''} of {case.height} x {case.width}"
    return f"{images}, {case.channels} channels to {case.filters}"


MADE = (
    shrinking_digit,
    stacked_layers,
    accuracy_curves,
    speed_and_size,
)  # the second takes its digits from the first


if __name__ == "__main__":
    for make in MADE:
        if make.__name__ in sys.argv[1:] or not sys.argv[1:]:
            path = explorables.FOLDER / f"{make.__name__}.json"
            path.write_text(json.dumps(make(), separators=(",", ":")) + "\n")
            print(path.name, f"{path.stat().st_size:,} bytes")
