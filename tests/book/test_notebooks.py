"""What every chapter must have, read off the committed notebooks without running them."""

import runpy
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[2]
EXERCISE = runpy.run_path(str(ROOT / "book/publish.py"))["EXERCISE"]
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def markdown(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_every_notebook_is_in_the_table_of_contents():
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]
    listed = {entry["file"] for part in parts for entry in part["chapters"]}
    assert {f"book/{path.stem}" for path in NOTEBOOKS} <= listed


def test_a_chapter_opens_and_closes_as_chapters_do(notebook):
    assert notebook.cells[0].source.startswith("# ")
    opening = notebook.cells[0].source
    assert all(phrase in opening for phrase in ("What you will learn", "What you need", "How long it takes"))
    text = markdown(notebook)
    assert all(heading in text for heading in ("## Summary", "## Exercises", "## Further reading"))


def test_cells_were_run_once_from_top_to_bottom(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_no_output_is_an_error_or_a_widget(notebook):
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [mime for output in outputs for mime in output.get("data", {}) if "widget" in mime]
    assert "widgets" not in notebook.metadata


def test_every_figure_has_alt_text_that_describes_it(notebook):
    for cell in code_cells(notebook):
        if any("image/png" in output.get("data", {}) for output in cell.outputs):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt) > 40, cell.source


def test_no_directive_and_no_path_of_a_machine(notebook):
    text = markdown(notebook)
    assert "```{" not in text and "{cite}" not in text and "{doc}" not in text
    everything = nbformat.writes(notebook)
    assert not [
        folder for folder in ("/home/", "/Users/", f"{Path.home()}/", f"{ROOT.parent}/") if folder in everything
    ]


def test_solutions_are_folded(notebook):
    for cell in code_cells(notebook):
        if "exercises.check_" in cell.source and "raise NotImplementedError" not in cell.source:
            assert "hide-cell" in cell.metadata.get("tags", []), cell.source


def test_every_exercise_is_headed_alike_and_has_what_its_heading_says(notebook, request):
    """Number, title, time, difficulty; all but the open questions have a hint, a stub, and a solution that was run."""
    chapter = request.node.callspec.id[:2].lstrip("0")
    headed = {}
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            for number, _, _, _, unchecked in EXERCISE.findall(cell.source):
                headed[number] = (place, cell.source, unchecked)
    assert list(headed) == [f"{chapter}.{i + 1}" for i in range(len(headed))] and 3 <= len(headed) <= 6
    for number, (place, text, unchecked) in headed.items():
        if unchecked:
            continue
        assert "<details><summary>Hint</summary>" in text, number
        stub, solution = notebook.cells[place + 1 : place + 3]
        assert "raise NotImplementedError" in stub.source and "exercises.check_" in stub.source, number
        assert solution.outputs[0].text.startswith(f"Exercise {number}: correct"), number
