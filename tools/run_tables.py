"""Runs of a results file as the pages show them: a line a run, and where they come from."""

import string
from pathlib import Path

from deformconv.study import results

BOOK = Path(__file__).parents[1] / "book"
RESULTS = BOOK / "results"


def made_by(runs) -> str:
    """The command that makes all these runs, be it in pieces, and the machines that they were made on."""
    machines = " and ".join(dict.fromkeys(f"{run['hardware']} ({versions(run)})" for run in runs))
    return f"Made by `{results.command(runs)}` on {machines}."


def versions(run):
    return ", ".join(f"{name} {version}" for name, version in run["versions"].items())


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
