"""The words and the links of everything that is to be read."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "book").rglob("*.md")), *NOTEBOOKS]
# They answer over http alone.
HTTP_ONLY = {"yann.lecun.com"}


def words(path):
    """The text of a page; of a notebook, its Markdown and code, without outputs."""
    if path.suffix == ".md":
        return path.read_text()
    return "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)


def links(path):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", words(path), flags=re.DOTALL)
    inline = re.findall(r"\]\(([^)\s]+)\)", text)
    return inline + re.findall(r"<(https?://[^>\s]+)>", text)


def test_words_are_spelled_as_in_the_dictionary_of_common_mistakes(tmp_path):
    for path in NOTEBOOKS:
        (tmp_path / f"{path.stem}.md").write_text(words(path))
    texts = [ROOT / "README.md", ROOT / "book/api", *(ROOT / "book").glob("*.md"), ROOT / "deformconv", ROOT / "tests"]
    command = [
        sys.executable,
        "-m",
        "codespell_lib",
        "--skip",
        "*.npz,*.json,*.pyc,*.so",
        str(tmp_path),
        *map(str, texts),
    ]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    """Links into the repository lead to what is there; those to the web are whole, and secure where they can be."""
    for link in links(path):
        parts = urlsplit(link)
        if parts.scheme:
            secure = parts.scheme == "https" or parts.hostname in HTTP_ONLY
            assert secure and parts.hostname and "." in parts.hostname, link
        elif parts.path:
            assert (path.parent / parts.path).exists(), link


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_pages_that_a_notebook_shows_are_linked_as_notebooks(path):
    """A link to a built page would be dead in Jupyter and in Colab."""
    assert not [link for link in links(path) if link.endswith(".html") and not urlsplit(link).scheme]
