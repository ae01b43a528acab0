"""How the house is kept: files that hold one idea."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "deformconv").rglob("*.py"), *(ROOT / "tools").glob("*.py")])
MOST_LINES = 300
# Longer ones that were looked at, and why they stay whole.
LOOKED_AT = {
    "deformconv/arguments.py": "the checks of all operators, and what their messages say",
    "deformconv/course/exercises/give_every_pixel_an_offset.py": "five checks of one chapter, tables of mistakes",
    "deformconv/course/exercises/project_port_your_cnn.py": "five checks of one project, each on networks of its own",
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_long_file_has_been_looked_at(path):
    name = str(path.relative_to(ROOT))
    lines = len(path.read_text().splitlines())
    assert (lines > MOST_LINES) == (name in LOOKED_AT), f"{name} has {lines} lines: does it hold two ideas?"
