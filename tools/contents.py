"""The chapters and projects in the order of `_toc.yml`, which is where their numbers come from."""

from pathlib import Path

import yaml

TOC = Path(__file__).parents[1] / "_toc.yml"


def numbers() -> dict[str, str]:
    """The number of each notebook by its name: `{"break_a_good_classifier": "1", ..., "project_...": "P1", ...}`."""
    parts = {part["caption"]: part["chapters"] for part in yaml.safe_load(TOC.read_text())["parts"]}
    return {
        Path(entry["file"]).name: f"{letter}{number + 1}"
        for caption, letter in (("Chapters", ""), ("Projects", "P"))
        for number, entry in enumerate(parts[caption])
    }
