"""The book on paper."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = "<title>A book</title><h1>One</h1><details><summary>Hint</summary><p>Look twice.</p></details><h2>Two</h2>"


def test_a_page_is_printed_whole_with_an_outline_and_nothing_is_left_beside(chromium, tmp_path):
    (tmp_path / "page.html").write_text(PAGE)
    with pytest.MonkeyPatch.context() as patch:
        # One browser at a time: this one takes the part of the one that the command opens.
        tool = runpy.run_path(str(ROOT / "book/pdf.py"))
        opened = type("Opened", (), {"__enter__": lambda _: chromium, "__exit__": lambda *_: None})
        patch.setattr(runpy, "run_path", lambda path: {"browser": opened})
        tool["print_book"](tmp_path / "page.html", tmp_path / "made" / "book.pdf")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["book.pdf"]
    content = (tmp_path / "made" / "book.pdf").read_bytes()
    assert content.startswith(b"%PDF") and content.rstrip().endswith(b"%%EOF")
    assert b"/Outlines" in content and b"/StructTreeRoot" in content
