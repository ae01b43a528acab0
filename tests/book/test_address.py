"""The repository's address: kept in one place, in every set-up cell, and in no other way of installing."""

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[2]
ADDRESS = runpy.run_path(str(ROOT / "tools/address.py"))
NOTEBOOKS = sorted((ROOT / "book").rglob("*.ipynb"))
URL = "https://github.com/somebody/a-book"


@pytest.fixture
def copy(tmp_path):
    """A copy of what the command touches."""
    shutil.copy(ROOT / "_config.yml", tmp_path)
    for path in (ROOT / "tools/address.py", NOTEBOOKS[0]):
        (tmp_path / path.parent.name).mkdir()
        shutil.copy(path, tmp_path / path.parent.name)
    return tmp_path


def run(copy, *arguments):
    return subprocess.run([sys.executable, copy / "tools/address.py", *arguments], capture_output=True, text=True)


def setup_cell(copy):
    notebook = nbformat.read(copy / "book" / NOTEBOOKS[0].name, as_version=4)
    (cell,) = (cell for cell in notebook.cells if cell.id == "set-up")
    return cell


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_has_the_setup_cell_of_the_kept_address(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    address = ADDRESS["kept"]((ROOT / "_config.yml").read_text())
    assert cells[0].source == ADDRESS["SETUP"].format(address=address), "run `make address`"
    assert cells[0].metadata.tags == ["remove-cell"] and not cells[0].outputs
    assert not [cell for cell in cells[1:] if "git+" in cell.source]


def test_setting_and_unsetting_leaves_the_files_as_they_were(copy):
    files = [copy / "_config.yml", copy / "book" / NOTEBOOKS[0].name]
    before = [path.read_text() for path in files]
    assert run(copy, URL).returncode == 0
    assert all(URL in path.read_text() for path in files)
    set_once = [path.read_text() for path in files]
    assert run(copy).returncode == 0
    assert [path.read_text() for path in files] == set_once
    assert run(copy, "none").returncode == 0
    assert [path.read_text() for path in files] == before


def test_buttons_are_there_with_an_address_and_only_then(copy):
    assert "launch_buttons" not in yaml.safe_load((copy / "_config.yml").read_text())
    run(copy, f"{URL}/")
    config = yaml.safe_load((copy / "_config.yml").read_text())
    assert config["repository"]["url"] == URL
    assert {"colab_url", "binderhub_url"} <= config["launch_buttons"].keys()


def test_a_rendered_chapter_has_them_and_other_pages_do_not(copy):
    """With the theme's options as they are: they have pushed the buttons out once."""
    for name in ("_ext", "_static", "references.bib", "glossary.md"):
        source, target = ROOT / "book" / name, copy / "book" / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    chapter = f"book/{NOTEBOOKS[0].stem}"
    toc = {"format": "jb-book", "root": "book/glossary", "chapters": [{"file": chapter}]}
    (copy / "_toc.yml").write_text(yaml.safe_dump(toc))
    run(copy, URL)
    build = [Path(sys.executable).with_name("jupyter-book"), "build", "--quiet", copy]
    subprocess.run(build, check=True, capture_output=True)
    owned = f"somebody/a-book/blob/main/{chapter}.ipynb", f"somebody/a-book/main?urlpath=lab/tree/{chapter}.ipynb"
    expected = [f"https://colab.research.google.com/github/{owned[0]}", f"https://mybinder.org/v2/gh/{owned[1]}"]
    for page, links in ((chapter, expected), ("book/glossary", [])):
        html = (copy / f"_build/html/{page}.html").read_text()
        found = re.findall(r'href="(https://(?:colab|mybinder)[^"]*)"', html)
        assert sorted(found) == sorted(links)


@pytest.mark.parametrize("address", ["github.com/somebody/a-book", "https://example.org/a/b", "https://github.com/one"])
def test_what_colab_cannot_open_is_refused_and_nothing_changes(copy, address):
    before = (copy / "_config.yml").read_text()
    said = run(copy, address)
    assert said.returncode == 1 and "must be https://github.com/OWNER/NAME" in said.stderr
    assert (copy / "_config.yml").read_text() == before


def test_the_cell_does_nothing_elsewhere(copy, capsys, monkeypatch):
    run(copy, URL)
    monkeypatch.setattr(subprocess, "run", None)
    exec(setup_cell(copy).source, {})
    assert capsys.readouterr().out == ""


@pytest.fixture
def colab(copy, monkeypatch):
    """A folder like Colab's, where `git clone` works; the commands that the cell gives."""
    commands = []

    def run(command, check):
        commands.append(command)
        if command[0] == "git":
            Path("copy/book/results").mkdir(parents=True)

    (copy / "content").mkdir()
    monkeypatch.chdir(copy / "content")
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    monkeypatch.setattr(subprocess, "run", run)
    return commands


@pytest.mark.parametrize("gpu", [None, "/usr/bin/nvidia-smi"])
def test_on_colab_it_brings_the_book_and_installs_the_package_and_nothing_else(copy, request, capsys, monkeypatch, gpu):
    run(copy, URL)
    commands = request.getfixturevalue("colab")
    monkeypatch.setattr(shutil, "which", lambda name: gpu)
    source = setup_cell(copy).source
    exec(source, {})
    assert commands == [
        ["git", "clone", "--quiet", "--depth=1", URL, "copy"],
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "./copy"],
    ]
    assert ("no GPU" in capsys.readouterr().out) == (gpu is None)
    # Where chapters read `results/...` from; also when the cell runs again, or the session starts again.
    assert Path.cwd() == copy / "content/copy/book"
    exec(source, {})
    assert Path.cwd() == copy / "content/copy/book"
    monkeypatch.chdir(copy / "content")
    exec(source, {})
    assert Path.cwd() == copy / "content/copy/book" and len(commands) == 2


def test_on_colab_without_an_address_it_says_what_to_do(copy, request, capsys):
    run(copy, "none")
    commands = request.getfixturevalue("colab")
    exec(setup_cell(copy).source, {})
    assert "pip install --no-deps" in capsys.readouterr().out and not commands


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_files_that_a_notebook_reads_lie_where_the_cell_goes(path):
    code = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    for name in re.findall(r'"((?:\.\./benchmarks/)?results/[\w.-]+\.json)"', code):
        assert (path.parent / name).is_file()
