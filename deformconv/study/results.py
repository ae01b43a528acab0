"""The results file: finished runs, whole at every moment, shared by processes; and the table it makes."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from deformconv.study.provenance import other_versions
from deformconv.training.files import write_atomically
from deformconv.types import StrPath

FORMAT = 1

Run = dict[str, Any]


class Results:
    """Runs of one group of settings in one file, which several processes may add to.

    Args:
        path: of the file.
        settings: a dataclass of all that decides the outcome of a run besides its variant and seed.
        descriptions: of each variant, in its order.
        data: the digest of what they are trained and tested on; "" to take any.

    Raises:
        ValueError: if the file there holds runs of other settings, other data or other versions, or is not a results
            file. Runs that do not tell their data or versions, as those of before did not, are taken to be of these; a
            warning counts them.
    """

    def __init__(self, path: StrPath, settings: Any, descriptions: dict[str, str], data: str = ""):
        self.path, self.settings, self.descriptions, self.data = Path(path), settings, descriptions, data
        self.runs: list[Run] = []
        self.read()
        silent = sum("data" not in run for run in self.runs) if data else 0
        if silent:
            warnings.warn(
                f"{self.path}: {silent} of {len(self.runs)} runs do not tell a digest of their data, as they were made "
                "before runs did; they are taken to be of this data set, by its name.",
                stacklevel=2,
            )

    def read(self) -> None:
        """Takes in what is in the file by now."""
        self.runs = read(self.path) if self.path.exists() else []
        difference = other_settings(self.runs, self.settings)
        if self.data:
            difference = difference or other_data(self.runs, self.data) or _other_versions(self.runs)
        if difference:
            raise ValueError(
                f"{self.path} holds runs with {difference}: a table of both would mislead. Choose another --out."
            )
        for run in self.runs:
            known = self.descriptions[run["variant"]]
            if run.get("description", known) != known:
                raise ValueError(
                    f"{self.path} holds a run of {run['variant']!r} from when it was another network "
                    f"({run['description']!r}). Choose another --out, or take that run out of the file."
                )

    def find(self, variant: str, seed: int) -> Run | None:
        """The finished run, or None."""
        return next((run for run in self.runs if (run["variant"], run["seed"]) == (variant, seed)), None)

    def add(self, run: Run) -> None:
        """Keeps a run, replacing one of the same variant and seed."""
        # The lock is the operating system's: it ends with the process that holds it, however that ends.
        with FileLock(self.path.with_suffix(".lock")):
            self.read()
            kept = [old for old in self.runs if (old["variant"], old["seed"]) != (run["variant"], run["seed"])]
            runs = sorted([*kept, run], key=lambda run: (list(self.descriptions).index(run["variant"]), run["seed"]))
            write_atomically(self.path, json.dumps({"format": FORMAT, "runs": runs}, indent=1).encode() + b"\n")
            self.runs = runs


def other_settings(runs: list[Run], settings: Any) -> str:
    """The first setting in which one of the runs is another, in words; empty if there is none."""
    for run in runs:
        for key, value in asdict(settings).items():
            if run.get(key) != value:
                return f"{key}={run.get(key)!r}, and this one has {key}={value!r}"
    return ""


def kept(path: StrPath) -> Any:
    """What a JSON file holds that lies beside the book's chapters, or in the folder that they are started in.

    Raises:
        FileNotFoundError: if it is not there; the message says where to start a chapter.
    """
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path} is not there, seen from {Path.cwd()}. A chapter of the book finds it from the folder book/ of a "
            "whole copy: start the notebook there, or %cd to it first."
        ) from error


def other_data(runs: list[Run], data: str) -> str:
    """The digest of one of the runs' data that is another than this, in words; empty if there is none."""
    other = next((run for run in runs if run.get("data", data) != data), None)
    return f"data={other['data']:.12}..., and this one has data={data:.12}..." if other else ""


def _other_versions(runs: list[Run]) -> str:
    return next(filter(None, (other_versions(run["versions"]) for run in runs if "versions" in run)), "")


def read(path: StrPath) -> list[Run]:
    """The runs of a results file."""
    try:
        content = kept(path)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}")
        for run in content["runs"]:
            run["variant"], run["seed"]  # every run says which it is
        return content["runs"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a results file that this version reads ({error}).") from error


def command(runs: list[Run]) -> str:
    """Of the commands that made these runs, in pieces perhaps, the one that makes them all."""
    # One that made the last seed asks for the earlier ones, too; the shortest leaves no variant out.
    last = max(run["seed"] for run in runs)
    return min((run["command"] for run in runs if run["seed"] == last), key=len)


def summarise(runs: list[Run], measures: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Per variant: number of seeds, and mean and sample standard deviation of each measure, in per cent."""
    summary = {}
    for variant in dict.fromkeys(run["variant"] for run in runs):
        own = [run for run in runs if run["variant"] == variant]
        summary[variant] = {"seeds": len(own), "trained_parameters": own[0]["trained_parameters"]}
        for key in (key for key in measures if key in own[0]):
            values = 100 * np.array([run[key] for run in own])
            spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
            summary[variant][key] = (float(values.mean()), spread)
    return summary


def table(runs: list[Run], measures: Sequence[str]) -> str:
    """The results as a Markdown table, which reads well in a terminal too."""

    def cell(mean: float, spread: float) -> str:
        return f"{mean:.2f}" + ("" if np.isnan(spread) else f" ± {spread:.2f}")

    header = ["variant", "trained weights", *(f"{name.replace('_', ', ')} %" for name in measures), "seeds"]
    rows = [
        [
            name,
            f"{entry['trained_parameters']:,}",
            *(cell(*entry[measure]) for measure in measures),
            str(entry["seeds"]),
        ]
        for name, entry in summarise(runs, measures).items()
    ]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: list[str]) -> str:
        numbers = zip(cells[1:], widths[1:], strict=True)
        return f"| {' | '.join([cells[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in numbers)])} |"

    rule = f"|{'-' * (widths[0] + 2)}|{'|'.join('-' * (width + 1) + ':' for width in widths[1:])}|"
    return "\n".join([line(header), rule, *map(line, rows)])
