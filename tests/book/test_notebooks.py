"""What every chapter and every project must have, read off the committed notebooks without running them."""

import base64
import re
import struct
from pathlib import Path

import nbformat
import pytest

import contents

ROOT = Path(__file__).parents[2]
NUMBERS = contents.numbers()
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))
CAPTION = re.compile(r"\*Figure (\d+|P\d)\.(\d+)\. [^*]{10,}[.?)]\*")  # a paragraph: *Figure 3.2. What it shows.*


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def markdown(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_every_notebook_is_in_the_table_of_contents():
    assert {path.stem for path in NOTEBOOKS} == NUMBERS.keys()


@pytest.mark.parametrize("name", NUMBERS)
def test_what_belongs_to_a_notebook_is_found_by_its_name(name):
    for place in ("deformconv/course/figures/", "deformconv/course/exercises/", "tests/course/solutions/"):
        assert (ROOT / f"{place}{name}.py").exists(), place
    assert (ROOT / f"tests/course/test_figures_{name}.py").exists()


def is_project(request):
    return own_number(request).startswith("P")


def own_number(request):
    """What its exercises and figures begin with: 7, or P2 for a project."""
    return NUMBERS[request.node.callspec.id]


def test_a_notebook_opens_and_closes_as_its_kind_does(notebook, request):
    number = own_number(request).replace("P", "Project ")
    assert notebook.cells[0].source.startswith(f"# {number}. ")
    opening = notebook.cells[0].source
    assert all(phrase in opening for phrase in ("What you will learn", "What you need", "How long it takes"))
    text = markdown(notebook)
    own = "## The open part" if is_project(request) else "## Exercises"
    assert all(f"\n{heading}\n" in text for heading in ("## Summary", own, "## Further reading"))


def test_cells_were_run_once_from_top_to_bottom(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_a_reader_waits_no_longer_than_a_minute_and_a_half(notebook):
    """As measured when its outputs were made: a clock here would measure how busy this machine is."""
    assert notebook.metadata["run"]["hardware"].endswith("2 cores")
    assert notebook.metadata["run"]["seconds"] <= 90


def test_figures_have_two_dots_a_pixel(notebook):
    """As `make notebooks` draws them, for the screens that show so many."""
    for output in (output for cell in code_cells(notebook) for output in cell.outputs):
        if "image/png" in output.get("data", {}):
            width, height = struct.unpack(">II", base64.b64decode(output.data["image/png"])[16:24])
            shown = output.metadata["image/png"]
            assert (width // 2, height // 2) == (shown["width"], shown["height"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_no_burden_for_the_repository(path):
    assert path.stat().st_size < 2_500_000


def test_code_is_as_wide_as_a_page(notebook):
    """What is longer must be scrolled for. Cells that are folded away are left out."""
    for cell in code_cells(notebook):
        if not {"hide-input", "remove-input"} & set(cell.metadata.get("tags", [])):
            assert max(map(len, cell.source.split("\n"))) <= 92, cell.source


def test_no_output_is_an_error_or_a_widget(notebook):
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert not [mime for output in outputs for mime in output.get("data", {}) if "widget" in mime]
    assert "widgets" not in notebook.metadata


def test_every_figure_has_alt_text_that_describes_it(notebook):
    for cell in code_cells(notebook):
        if any("image/png" in output.get("data", {}) for output in cell.outputs):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt) > 40, cell.source


def paragraphs(cell):
    return cell.source.strip().split("\n\n") if cell.cell_type == "markdown" else [cell]


def is_figure(part):
    """A picture in the text, or a cell that shows one or lets the page itself draw it."""
    if isinstance(part, str):
        return part.startswith("![")
    return "explorables.show(" in part.source or any("image/png" in output.get("data", {}) for output in part.outputs)


def test_every_figure_has_a_numbered_caption(notebook, request):
    parts = [part for cell in notebook.cells for part in paragraphs(cell)]
    captions = []
    for part, after in zip(parts, [*parts[1:], ""], strict=True):
        if is_figure(part):
            assert isinstance(after, str) and CAPTION.fullmatch(after), part if isinstance(part, str) else part.source
            captions.append(after)
    assert captions == [part for part in parts if isinstance(part, str) and part.startswith("*Figure")]
    numbers = [CAPTION.match(caption).groups() for caption in captions]
    assert [int(number) for _, number in numbers] == list(range(1, len(numbers) + 1))
    named = own_number(request)
    assert {chapter for chapter, _ in numbers} <= {named}
    mentioned = re.findall(r"\b[Ff]igures? ((?:\d+|P\d)\.\d+)", markdown(notebook))
    own = {".".join(number) for number in numbers}
    assert {mention for mention in mentioned if mention.split(".")[0] == named} <= own


def test_a_number_stands_beside_every_picture(notebook):
    """Printed by the cell that draws it, or by a neighbour; a figure that moves tells its own."""
    cells = code_cells(notebook)
    for place, cell in enumerate(cells):
        if is_figure(cell) and "explorables" not in cell.source:
            near = [output for other in cells[max(0, place - 1) : place + 2] for output in other.outputs]
            assert any(re.search(r"\d", output.text) for output in near if output.output_type == "stream"), cell.source


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
    chapter = own_number(request)
    headed = {}
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            for number, _, _, _, unchecked in contents.EXERCISE.findall(cell.source):
                headed[number] = (place, cell.source, unchecked)
    assert list(headed) == [f"{chapter}.{i + 1}" for i in range(len(headed))]
    assert 4 <= len(headed) <= 8 if is_project(request) else 3 <= len(headed) <= 6
    # A project ends in an open question, with a goal to beat.
    assert bool(headed[f"{chapter}.{len(headed)}"][2]) or not is_project(request)
    for number, (place, text, unchecked) in headed.items():
        if unchecked:
            continue
        assert "<details><summary>Hint</summary>" in text, number
        stub, solution = notebook.cells[place + 1 : place + 3]
        assert "raise NotImplementedError" in stub.source and "exercises.check_" in stub.source, number
        assert solution.outputs[0].text.startswith(f"Exercise {number}: correct"), number
