"""What the pages show of the study on digits: each function writes a block of Markdown from `book/results/`."""

import json

from deformconv.study import results
from deformconv.study.digits.experiment import ACCURACIES
from deformconv.study.digits.variants import VARIANTS
from run_tables import RESULTS, made_by, runs_table, versions

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
            f"Made by `{measured['command']}` on {measured['hardware']} ({versions(measured)}).",
        ]
    )


def every_run() -> str:
    """Each run on a line, as a Markdown table."""
    return runs_table(results.read(RESULTS / "scaled_mnist.json"))


def every_first_run() -> str:
    """The same of the first study."""
    return runs_table(results.read(RESULTS / "scaled_mnist_first.json"))
