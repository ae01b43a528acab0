"""Puts results and the index of exercises into the pages: `python tools/publish.py [FOLDER OF A REPRODUCE RUN]`.

With a folder, its results and the picture of its curves are copied to `book/results/` first. Then the parts of
README.md and of the book's pages between `<!-- results -->` and `<!-- /results -->`, or `speed` likewise, are written
anew from the files in `book/results/` and `benchmarks/results/`.

`--classifier` copies also what the book shows of one trained network: the weights of the folder's first deformable
classifier, into the package, and the animation that was drawn from them.
"""

import argparse
import json
import os
import re
import shutil
import string
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from contents import numbers

from deformconv.bench import costs as bench_costs
from deformconv.study import results
from deformconv.study.digits import trained
from deformconv.study.digits.experiment import ACCURACIES
from deformconv.study.digits.variants import VARIANTS

BOOK = Path(__file__).parents[1] / "book"
RESULTS = BOOK / "results"
MEASURED = BOOK.parent / "benchmarks" / "results"
MEASURES = ("regular", "scaled")


def study() -> str:
    """The table of the committed results, and where its numbers come from, as Markdown."""
    runs = results.read(RESULTS / "scaled_mnist.json")
    run = runs[0]
    return "\n".join(
        [
            results.table(runs, MEASURES),
            "",
            f"Test accuracy on {run['dataset'].upper()}, mean ± standard deviation over the seeds; "
            f"{run['regular_steps']} steps of {run['batch_size']} for the regular classifier, then "
            f"{run['finetune_steps']} for each fine-tune, {100 * run['unscaled_share']:.0f} % of each batch left "
            f"at its size. {made_by(runs)}",
        ]
    )


def made_by(runs) -> str:
    """The command that makes all these runs, be it in pieces, and the machines that they were made on."""
    machines = " and ".join(dict.fromkeys(f"{run['hardware']} ({_versions(run)})" for run in runs))
    return f"Made by `{results.command(runs)}` on {machines}."


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
        json.loads((MEASURED / f"cpu-2-cores{name}.json").read_text()) for name in ("", "-training", "-memory")
    )
    median = {(one["case"], one["contender"], one["direction"]): one["median"] for one in main["results"]}
    cases = list(dict.fromkeys(one["case"] for one in main["results"]))
    lines = ["| times Conv2D | " + " | ".join(cases) + " |", "|---|" + "---:|" * len(cases)]
    for label, (direction, contender) in SPEEDS.items():
        ratios = (median[case, contender, direction] / median[case, "conv2d", direction] for case in cases)
        lines.append(f"| {label} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")
    plain, deformable = (one["median"] for one in training["results"])
    return "\n".join(
        [
            *lines,
            "",
            f"Made by `{main['command']}` on {main['hardware']}; all contenders, quartiles and versions are in "
            "`benchmarks/results/`. A step of `deformable`, offsets alone, takes "
            f"{deformable / plain:.2f} times a training step of the plain CNN. A convolution whose column buffer would "
            f"be 8 GB runs forward and backward in {memory['peak_gb']['backward']} GB.",
        ]
    )


def variants() -> str:
    """What each variant is, as a Markdown list."""
    return "\n".join(f"- `{name}`: {kind.description}" for name, kind in VARIANTS.items())


def accuracies() -> str:
    """All accuracies of the committed results, as Markdown: a table, and what each is measured on."""
    runs = results.read(RESULTS / "scaled_mnist.json")
    table = results.table(runs, ACCURACIES)
    said = [f"- {name.replace('_', ', ')}: {what}" for name, what in ACCURACIES.items()]
    return f"{table}\n\n" + "\n".join(said) + f"\n\n{made_by(runs)}"


def first() -> str:
    """The first study: four variants, and the classifier that the book shows."""
    runs = results.read(RESULTS / "scaled_mnist_first.json")
    return f"{results.table(runs, MEASURES)}\n\n{made_by(runs)}"


def longer() -> str:
    """The longer trainings of the variant that does best, as Markdown: a table, the runs, how they were made."""
    runs = results.read(RESULTS / "scaled_mnist_full.json")
    table, run = results.table(runs, ACCURACIES), runs[0]
    return (
        f"{table}\n\n{run['regular_steps']} steps of {run['batch_size']} for the regular classifier, then "
        f"{run['finetune_steps']}. {made_by(runs)}\n\n{runs_table(runs)}"
    )


def best() -> str:
    """The same in a sentence, and two on 2017: its data, and the control that it lacked."""
    longest, same_data, as_long = (
        results.summarise(results.read(RESULTS / f"scaled_mnist_{name}.json"), ACCURACIES)[variant]
        for name, variant in (
            ("full", "deformable-groups"),
            ("2017_data", "deformable-groups"),
            ("2017", "batchnorm-only"),
        )
    )
    regular, scaled, regular_2017, scaled_2017, regular_control, scaled_control = (
        "{:.2f} ± {:.2f} %".format(*entry[name])
        for entry, test_set in (
            (longest, "scaled"),
            (same_data, "scaled_nearest"),
            (as_long, "scaled_nearest"),
        )
        for name in ("regular", test_set)
    )
    return (
        "With offsets in all four convolutions, sixteen groups of channels that each look elsewhere, and twice the "
        f"images, offsets alone reach **{regular}** of regular and **{scaled}** of scaled digits "
        f"({longest['seeds']} seeds). Fine-tuned and tested on the data of 2017 instead, where each pixel is the "
        f"nearest and no digit of a batch keeps its size, sixteen groups reach {regular_2017} and {scaled_2017} "
        f"({same_data['seeds']} seeds); the table of 2017 says 97.27 and 92.55 %. That table needs no deformation: on "
        "the same data, and for as many steps as it took, BatchNorm alone reaches "
        f"{regular_control} and {scaled_control} ({as_long['seeds']} seeds)."
    )


def data_of_2017() -> str:
    """Trained on the data of 2017, as Markdown: a table, how it was made, the runs."""
    return _of_2017("scaled_mnist_2017_data.json")


def as_2017() -> str:
    """The same for as many steps as 2017 took."""
    return _of_2017("scaled_mnist_2017.json")


def _of_2017(file):
    runs, measures = results.read(RESULTS / file), ("regular", "scaled_nearest")
    return f"{results.table(runs, measures)}\n\n{made_by(runs)}\n\n{runs_table(runs, measures)}"


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


def protocol() -> str:
    """Test errors on MNIST-scale, ours and others', as Markdown: a table, our runs, how they were made."""
    runs = results.read(RESULTS / "mnist_scale.json")
    run = runs[0]
    lines = ["| network | trained weights | test error, % | from |", "|---|---:|---:|---|"]
    for variant, entry in results.summarise(runs, ("error",)).items():
        mean, spread = entry["error"]
        lines.append(
            f"| `{variant}` | {entry['trained_parameters']:,} | {mean:.2f} ± {spread:.2f} "
            f"| {entry['seeds']} realisations, here |"
        )
    for one in json.loads((RESULTS / "mnist_scale_others.json").read_text()):
        spread = f" ± {one['spread']:.2f}" if one["spread"] else ""
        lines.append(f"| {one['network']} | | {one['error']:.2f}{spread} | {one['source']} |")
    return "\n".join(
        [
            *lines,
            "",
            f"Mean ± standard deviation over the realisations; {run['steps']} steps of {run['batch_size']}, offsets at "
            f"{run['offset_lr_multiplier']:g} times the rate of the rest. {made_by(runs)}",
            "",
            runs_table(runs, ("error", "validation_error")),
        ]
    )


def protocol_result() -> str:
    """The same in a sentence."""
    reached = results.summarise(results.read(RESULTS / "mnist_scale.json"), ("error",))
    plain, deformable, modulated = (
        "{:.2f} ± {:.2f} %".format(*reached[name]["error"]) for name in ("regular", "deformable", "modulated")
    )
    return (
        "On MNIST-scale, a protocol that others have published on, networks train from scratch: the plain one has "
        f"{plain} errors, the same with offsets **{deformable}**, with masks as well **{modulated}** "
        f"({reached['regular']['seeds']} realisations). The results page has others' numbers beside these."
    )


def protocol_explorations() -> str:
    """What was tried on the protocol's validation images, as a Markdown table."""
    lines = [
        "| network | rate of the offsets | steps | validation error, % |",
        "|---|---:|---:|---:|",
    ]
    for run in results.read(RESULTS / "mnist_scale_explorations.json"):
        rate = "" if run["variant"] == "regular" else f"{run['offset_lr_multiplier']:g}"
        lines.append(f"| {run['variant']} | {rate} | {run['steps']} | {100 * run['validation_error']:.2f} |")
    return "\n".join(lines)


def full_rate() -> str:
    """What became of `from-scratch-deformable` while its offsets learned as fast as the rest, in a sentence."""
    runs = results.read(RESULTS / "from_scratch_full_rate.json")
    ((_, reached),) = results.summarise(runs, MEASURES).items()
    regular, scaled = ("{:.2f} ± {:.2f} %".format(*reached[name]) for name in ("regular", "scaled"))
    apart = sum(run["dilation"]["1.0"]["conv21"]["digit"] for run in runs) / len(runs)
    now = [run for run in results.read(RESULTS / "scaled_mnist.json") if run["variant"] == "from-scratch-deformable"]
    before, since = (100 * sum(run["validation_scaled"] for run in each) / len(each) for each in (runs, now))
    return (
        "Before, `from-scratch-deformable` had its offsets learn as fast as everything else, and reached "
        f"{regular} of regular and {scaled} of scaled digits ({reached['seeds']} seeds). Neighbouring sampling points "
        f"of conv21, which reads 14 x 14 pixels, then lay {apart:.0f} pixels apart: its offsets had run away, it "
        "seems, before there were features that could hold them. On this study's own validation images, scaled, the "
        f"full rate has {before:.2f} % and the tenth {since:.2f} %."
    )


def costs() -> str:
    """What each variant costs, from the committed benchmark, as Markdown."""
    measured = json.loads((MEASURED / "cpu-2-cores-variants.json").read_text())
    return (
        f"{bench_costs.table(measured['results'])}\n\nA batch of {bench_costs.BATCH} images, float32. "
        f"Made by `{measured['command']}` on {measured['hardware']}."
    )


def offsets() -> str:
    """How long offsets are and how far a kernel's points lie apart, at two sizes of the digit, as a Markdown table."""
    runs = results.read(RESULTS / "scaled_mnist.json")
    lines = [
        "| variant | layer | length, full size | half size | dilation, full size | half size |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for variant in VARIANTS:
        own = [run for run in runs if run["variant"] == variant and "offsets" in run]
        for layer in own[0]["offsets"]["1.0"] if own else ():
            values = [
                [run[kind][zoom][layer][name] for run in own]
                for kind, name in (("offsets", "mean_length"), ("dilation", "digit"))
                for zoom in ("1.0", "2.0")
            ]
            cells = " | ".join(f"{sum(each) / len(each):.2f}" for each in values)
            lines.append(f"| {variant} | {layer} | {cells} |")
    return "\n".join(lines)


def receptive_fields() -> str:
    """How far one output pixel sees, at two sizes of the digit, as a Markdown table."""
    measured = json.loads((RESULTS / "receptive_fields.json").read_text())
    lines = ["| variant | full size | half size |", "|---|---:|---:|"]
    for variant in VARIANTS:
        own = [one for one in measured["networks"] if one["variant"] == variant]
        values = [[one["reach"][zoom] for one in own] for zoom in ("1.0", "2.0")]
        cells = " | ".join(f"{sum(each) / len(each):.2f}" for each in values)
        lines.append(f"| {variant} | {cells} |")
    seeds = sorted({one["seed"] for one in measured["networks"]})
    return "\n".join(
        [
            *lines,
            "",
            f"The mean of {measured['digits']} test digits and of seeds {', '.join(map(str, seeds))}. "
            f"Made by `{measured['command']}` on {measured['hardware']} ({_versions(measured)}).",
        ]
    )


def every_run() -> str:
    """Each run on a line, as a Markdown table."""
    return runs_table(results.read(RESULTS / "scaled_mnist.json"))


def every_first_run() -> str:
    """The same of the first study."""
    return runs_table(results.read(RESULTS / "scaled_mnist_first.json"))


def runs_table(runs, measures=("regular", "scaled")) -> str:
    """Each run on a line, as a Markdown table; the machines have letters, so that a line fits a phone."""
    machines = [f"{run['engine']} {run['versions'][run['engine']]} on {run['hardware']}" for run in runs]
    letters = dict(zip(dict.fromkeys(machines), string.ascii_uppercase, strict=False))
    names = " | ".join(f"{measure.replace('_', ' ')} %" for measure in measures)
    lines = [
        f"| variant | seed | {names} | steps | seconds | machine |",
        f"|---|---:|{'---:|' * len(measures)}---:|---:|:---:|",
    ]
    for run, machine in zip(runs, machines, strict=True):
        values = " | ".join(f"{100 * run[measure]:.2f}" for measure in measures)
        lines.append(
            f"| {run['variant']} | {run['seed']} | {values} | "
            f"{run['steps']} | {run['seconds']:.0f} | {letters[machine]} |"
        )
    said = "; ".join(f"{letter}: {machine}" for machine, letter in letters.items())
    return "\n".join(lines) + f"\n\n{said}."


EXERCISE = re.compile(r"\*\*(P?\d+\.\d+) ([^*]+)\*\* \(([^,)]+), (easy|medium|hard)(; no check)?\)\.")


def exercises() -> str:
    """A Markdown table for each chapter and project; a star marks exercises without a check."""
    parts = []
    for notebook in numbers():
        cells = json.loads((BOOK / f"{notebook}.ipynb").read_text())["cells"]
        texts = [_text(cell) for cell in cells if cell["cell_type"] == "markdown"]
        lines = ["| | exercise | difficulty | time |", "|---|---|---|---|"]
        for number, name, time, difficulty, unchecked in EXERCISE.findall("\n".join(texts)):
            lines.append(f"| {number}{'*' * bool(unchecked)} | {name} | {difficulty} | {time} |")
        parts.append(f"**{{doc}}`{notebook}`**\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _text(cell):
    return "".join(cell["source"])


PAGES = {
    BOOK.parent / "README.md": {
        "results": study,
        "best": best,
        "protocol_result": protocol_result,
        "speed": speed,
    },
    BOOK / "index.md": {"results": study, "best": best, "protocol_result": protocol_result},
    BOOK / "results.md": {
        "variants": variants,
        "accuracies": accuracies,
        "first": first,
        "longer": longer,
        "data_of_2017": data_of_2017,
        "as_2017": as_2017,
        "protocol": protocol,
        "explorations": explorations,
        "protocol_explorations": protocol_explorations,
        "full_rate": full_rate,
        "offsets": offsets,
        "receptive_fields": receptive_fields,
        "costs": costs,
        "runs": every_run,
        "first_runs": every_first_run,
    },
    BOOK / "exercises.md": {"exercises": exercises},
}


def with_blocks(text, blocks) -> str:
    """A page with its measured parts written anew."""
    for name, block in blocks.items():
        parts = re.split(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", text, flags=re.DOTALL)
        if len(parts) != 2:
            raise ValueError(f"a page must hold <!-- {name} --> ... <!-- /{name} --> exactly once")
        text = f"{block()}\n".join(parts)
    return text


def take_results(folder):
    """Copies the results of a reproduce run, and the picture of its curves, to where the book keeps them."""
    shutil.copyfile(folder / "results.json", RESULTS / "scaled_mnist.json")
    shutil.copyfile(folder / "accuracy_against_zoom.png", RESULTS / "accuracy_against_zoom.png")


def take_classifier(folder):
    """Copies what the book shows of one trained network: its weights, and the animation that was drawn from them."""
    runs = results.read(folder / "results.json")
    (run,) = (r for r in runs if (r["variant"], r["seed"]) == ("deformable", 0))
    model = VARIANTS["deformable"].network()
    model.load_weights(folder / "weights" / "deformable-0.weights.h5")
    trained.save(model, run)
    shutil.copyfile(folder / "sampling_points.gif", RESULTS / "sampling_points.gif")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="of a reproduce run")
    parser.add_argument("--classifier", action="store_true", help="its first classifier, too")
    options = parser.parse_args()
    if options.classifier and not options.folder:
        parser.error("--classifier needs the folder")
    return options


if __name__ == "__main__":
    options = parse()
    if options.folder:
        take_results(options.folder)
    if options.classifier:
        take_classifier(options.folder)
    for page, blocks in PAGES.items():
        page.write_text(with_blocks(page.read_text(), blocks))
