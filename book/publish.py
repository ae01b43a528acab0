"""Puts results and the index of exercises into the pages: `python book/publish.py [FOLDER OF A REPRODUCE RUN]`.

With a folder, its results and pictures are copied to `book/results/` first, and the weights of its first deformable
classifier into the package. Then the parts of README.md and of the
welcome page between `<!-- results -->` and `<!-- /results -->`, or `speed` likewise, are written anew from the files in
`book/results/` and `benchmarks/results/`.
"""

import json
import os
import re
import shutil
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from deformconv.bench import costs as bench_costs
from deformconv.study import results, trained
from deformconv.study.variants import VARIANTS

BOOK = Path(__file__).parent
RESULTS = BOOK / "results"
MEASURED = BOOK.parent / "benchmarks" / "results"
COPIED = {
    "results.json": "scaled_mnist.json",
    "accuracy_against_zoom.png": "accuracy_against_zoom.png",
    "sampling_points.gif": "sampling_points.gif",
}


def study() -> str:
    """The table of the committed results, and where its numbers come from, as Markdown."""
    runs = results.read(RESULTS / "scaled_mnist.json")
    run, seeds = runs[0], max(run["seed"] for run in runs) + 1
    return "\n".join(
        [
            results.table(runs),
            "",
            f"Test accuracy on {run['dataset'].upper()}, mean ± standard deviation over {seeds} seeds; "
            f"{run['regular_steps']} steps of {run['batch_size']} for the regular classifier, then "
            f"{run['finetune_steps']} for each fine-tune, {100 * run['unscaled_share']:.0f} % of each batch left "
            f"at its size. {made_by(runs)}",
        ]
    )


def made_by(runs) -> str:
    """The command that makes all these runs, be it in pieces, and the machines that they were made on."""
    machines = " and ".join(
        dict.fromkeys(f"{run['hardware']} ({_versions(run)})" for run in runs)
    )
    return f"Made by `{runs[0]['command']}` on {machines}."


def _versions(run):
    return ", ".join(f"{name} {version}" for name, version in run["versions"].items())


SPEEDS = {
    "forward": ("forward", "tensorflow"),
    "forward, TensorFlow's own operations": ("forward", "tensorflow, stock"),
    "forward, OpenVINO": ("forward", "openvino"),
    "forward, onnxruntime": ("forward", "onnxruntime"),
    "forward and backward": ("backward", "tensorflow"),
    "forward and backward, PaddlePaddle": ("backward", "paddlepaddle"),
}


def speed() -> str:
    """What the layer costs on a CPU, from the committed benchmarks, as Markdown."""
    main, training, memory = (
        json.loads((MEASURED / f"cpu-2-cores{name}.json").read_text())
        for name in ("", "-training", "-memory")
    )
    median = {
        (one["case"], one["contender"], one["direction"]): one["median"]
        for one in main["results"]
    }
    cases = list(dict.fromkeys(one["case"] for one in main["results"]))
    lines = ["| times Conv2D | " + " | ".join(cases) + " |", "|---|" + "---:|" * len(cases)]
    for label, (direction, contender) in SPEEDS.items():
        ratios = (
            median[case, contender, direction] / median[case, "conv2d", direction]
            for case in cases
        )
        lines.append(
            f"| {label} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |"
        )
    plain, deformable = (one["median"] for one in training["results"])
    return "\n".join(
        [
            *lines,
            "",
            f"Made by `{main['command']}` on {main['hardware']}; all contenders, quartiles and versions are in "
            "`benchmarks/results/`. A step of the fine-tune below, offsets alone, takes "
            f"{deformable / plain:.2f} times a training step of the plain CNN. A convolution whose column buffer would "
            f"be 8 GB runs forward and backward in {memory['peak_gb']['backward']} GB.",
        ]
    )


def variants() -> str:
    """What each variant is, as a Markdown list; and which of them the committed results hold."""
    done = {run["variant"] for run in results.read(RESULTS / "scaled_mnist.json")}
    lines = [f"- `{name}`: {kind.description}" for name, kind in VARIANTS.items()]
    waiting = [f"`{name}`" for name in VARIANTS if name not in done]
    return "\n".join(
        [
            *lines,
            *(["", f"Not in the first study: {', '.join(waiting)}."] if waiting else []),
        ]
    )


def accuracies() -> str:
    """All accuracies of the committed results, as Markdown: a table, and what each is measured on."""
    runs = results.read(RESULTS / "scaled_mnist.json")
    measured = [name for name in results.ACCURACIES if name in runs[0]]
    return f"{results.table(runs, tuple(measured))}\n\n{legend(measured)}"


def in_progress() -> str:
    """The runs of the larger study that are there so far, as Markdown."""
    runs = results.read(RESULTS / "scaled_mnist_in_progress.json")
    table = results.table(runs, tuple(results.ACCURACIES))
    return f"{table}\n\n{made_by(runs)} Not finished.\n\n{legend(results.ACCURACIES)}"


def longer() -> str:
    """The longer trainings of the variant that does best, as Markdown: a table, the runs, how they were made."""
    runs = results.read(RESULTS / "scaled_mnist_full.json")
    table, run = results.table(runs, tuple(results.ACCURACIES)), runs[0]
    return (
        f"{table}\n\n{run['regular_steps']} steps of {run['batch_size']} for the regular classifier, then "
        f"{run['finetune_steps']}. {made_by(runs)}\n\n{runs_table(runs)}"
    )


def best() -> str:
    """The same in a sentence."""
    runs = results.read(RESULTS / "scaled_mnist_full.json")
    reached = results.summarise(runs)["deformable-groups"]
    regular, scaled = (
        "{:.2f} ± {:.2f} %".format(*reached[name]) for name in ("regular", "scaled")
    )
    return (
        "With offsets in all four convolutions, sixteen groups of channels that each look elsewhere, and twice the "
        f"images, offsets alone reach **{regular}** of regular and **{scaled}** of scaled digits "
        f"({reached['seeds']} seeds)."
    )


def legend(names) -> str:
    """What each of these accuracies is measured on, as a Markdown list."""
    said = results.ACCURACIES
    return "\n".join(f"- {name.replace('_', ', ')}: {said[name]}" for name in names)


def explorations() -> str:
    """What was tried on validation data before settings were chosen, as a Markdown table."""
    lines = [
        "| deforms | offset groups | steps x batch | rate | unscaled | trained weights | regular % | scaled % |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for one in json.loads((RESULTS / "explorations.json").read_text()):
        lines.append(
            f"| {', '.join(one['layers'])}{', with a mask' * one['modulated']} | {one['groups']} "
            f"| {one['steps']} x {one.get('batch_size', 128)} | {one['learning_rate']:g} | {one['unscaled']:.0%} "
            f"| {one['trained_parameters']:,} "
            f"| {100 * one['validation_regular']:.2f} | {100 * one['validation_scaled']:.2f} |"
        )
    return "\n".join(lines)


def costs() -> str:
    """What each variant costs, from the committed benchmark, as Markdown."""
    measured = json.loads((MEASURED / "cpu-2-cores-variants.json").read_text())
    return (
        f"{bench_costs.table(measured['results'])}\n\nA batch of {bench_costs.BATCH} images, float32. "
        f"Made by `{measured['command']}` on {measured['hardware']}."
    )


def every_run() -> str:
    """Each run on a line, as a Markdown table."""
    return runs_table(results.read(RESULTS / "scaled_mnist.json"))


def every_run_in_progress() -> str:
    """The same of the larger study."""
    return runs_table(results.read(RESULTS / "scaled_mnist_in_progress.json"))


def runs_table(runs) -> str:
    lines = [
        "| variant | seed | regular % | scaled % | steps | seconds | engine | hardware |",
        "|---|---:|---:|---:|---:|---:|---|---|",
    ]
    for run in runs:
        lines.append(
            f"| {run['variant']} | {run['seed']} | {100 * run['regular']:.2f} | {100 * run['scaled']:.2f} | "
            f"{run['steps']} | {run['seconds']:.0f} | {run['engine']} {run['versions'][run['engine']]} | "
            f"{run['hardware']} |"
        )
    return "\n".join(lines)


EXERCISE = re.compile(
    r"\*\*(P?\d+\.\d+) ([^*]+)\*\* \(([^,)]+), (easy|medium|hard)(; no check)?\)\."
)


def exercises() -> str:
    """A Markdown table for each chapter and project; a star marks exercises without a check."""
    parts = []
    for path in [*sorted(BOOK.glob("[0-9]*.ipynb")), *sorted(BOOK.glob("project_*.ipynb"))]:
        cells = json.loads(path.read_text())["cells"]
        texts = [_text(cell) for cell in cells if cell["cell_type"] == "markdown"]
        lines = ["| | exercise | difficulty | time |", "|---|---|---|---|"]
        for number, name, time, difficulty, unchecked in EXERCISE.findall("\n".join(texts)):
            lines.append(
                f"| {number}{'*' * bool(unchecked)} | {name} | {difficulty} | {time} |"
            )
        parts.append(f"**{{doc}}`{path.stem}`**\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _text(cell):
    return "".join(cell["source"])


PAGES = {
    BOOK.parent / "README.md": {"results": study, "best": best, "speed": speed},
    BOOK / "index.md": {"results": study, "best": best},
    BOOK / "results.md": {
        "variants": variants,
        "accuracies": accuracies,
        "in_progress": in_progress,
        "longer": longer,
        "runs_in_progress": every_run_in_progress,
        "explorations": explorations,
        "costs": costs,
        "runs": every_run,
    },
    BOOK / "exercises.md": {"exercises": exercises},
}


def with_blocks(text, blocks) -> str:
    """A page with its measured parts written anew."""
    for name, block in blocks.items():
        parts = re.split(
            rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", text, flags=re.DOTALL
        )
        if len(parts) != 2:
            raise ValueError(
                f"a page must hold <!-- {name} --> ... <!-- /{name} --> exactly once"
            )
        text = f"{block()}\n".join(parts)
    return text


def take_from(folder):
    """Copies what a reproduce run has made to where the book and the package keep it."""
    for source, target in COPIED.items():
        shutil.copyfile(folder / source, RESULTS / target)
    (run,) = (
        r
        for r in results.read(folder / "results.json")
        if (r["variant"], r["seed"]) == ("deformable", 0)
    )
    model = VARIANTS["deformable"].network()
    model.load_weights(folder / "weights" / "deformable-0.weights.h5")
    trained.save(model, run)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        take_from(Path(sys.argv[1]))
    for page, blocks in PAGES.items():
        page.write_text(with_blocks(page.read_text(), blocks))
