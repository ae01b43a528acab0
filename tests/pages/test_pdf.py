"""The book on paper."""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIGURE = "<a class=wide href=figure.webp>a figure</a> <a href='book/index.html#id1'>Dai</a>"
CITED = "<p><span class=bibtex-citation id=id1>[<a href='book/page.html#id1'>Dai</a>]</span> <a href=#two>two</a>"
PAGE = f"<title>A book</title><h1>One</h1>{FIGURE}{CITED}<h2 id=two>Two</h2><div class=citation id=id1>Dai, 2017</div>"


@pytest.fixture
def print_book(chromium, monkeypatch):
    tool = runpy.run_path(str(ROOT / "tools/pdf.py"))
    # One browser at a time: this one takes the part of the one that the command opens.
    opened = type("Opened", (), {"__enter__": lambda _: chromium, "__exit__": lambda *_: None})
    monkeypatch.setattr(runpy, "run_path", lambda path: {"browser": opened})
    return tool["print_book"]


def test_a_page_is_printed_whole_with_an_outline_and_nothing_is_left_beside(print_book, tmp_path):
    (tmp_path / "page.html").write_text(PAGE)
    print_book(tmp_path / "page.html", tmp_path / "made" / "book.pdf")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["book.pdf"]
    content = (tmp_path / "made" / "book.pdf").read_bytes()
    assert content.startswith(b"%PDF") and content.rstrip().endswith(b"%%EOF")
    assert b"/Outlines" in content and b"/StructTreeRoot" in content
    assert b"/URI" not in content  # all links lead to places in the book


@pytest.mark.parametrize("href", ["other.html", "#three"])
def test_a_link_that_leads_out_of_the_book_is_refused(print_book, tmp_path, href):
    (tmp_path / "page.html").write_text(PAGE.replace("#two", href))
    with pytest.raises(ValueError, match=f"lead out of the book: {href}"):
        print_book(tmp_path / "page.html", tmp_path / "book.pdf")
    assert not (tmp_path / "book.pdf").exists()


def test_the_whole_book_is_printed(print_book, tmp_path):
    """As `make pdf` does it."""
    build = [Path(sys.executable).with_name("jupyter-book"), "build", "--quiet", "--builder", "singlehtml", "."]
    subprocess.run(build, cwd=ROOT, check=True)
    pages = ROOT / "_build/singlehtml"
    print_book(shutil.copy(pages / "book/index.html", pages / "print.html"), tmp_path / "book.pdf")
    assert 1_000_000 < (tmp_path / "book.pdf").stat().st_size < 60_000_000
