"""The chapters and projects in the order of `_toc.yml`, which is where their numbers come from; their exercises."""

import json
import re
from pathlib import Path

import yaml

TOC = Path(__file__).parents[1] / "_toc.yml"
BOOK = TOC.parent / "book"
EXERCISE = re.compile(r"\*\*(P?\d+\.\d+) ([^*]+)\*\* \(([^,)]+), (easy|medium|hard)(; no check)?\)\.")


def numbers() -> dict[str, str]:
    """The number of each notebook by its name: `{"break_a_good_classifier": "1", ..., "project_...": "P1", ...}`."""
    parts = {part["caption"]: part["chapters"] for part in yaml.safe_load(TOC.read_text())["parts"]}
    return {
        Path(entry["file"]).name: f"{letter}{number + 1}"
        for caption, letter in (("Chapters", ""), ("Projects", "P"))
        for number, entry in enumerate(parts[caption])
    }


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
