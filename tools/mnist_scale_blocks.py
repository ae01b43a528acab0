"""What the pages show of MNIST-scale: each function writes a block of Markdown from `book/results/`."""

import json

from deformconv.study import results
from run_tables import RESULTS, made_by, runs_table


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
