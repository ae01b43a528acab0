"""Keeps in each explorable the drawing that it starts with, for pages without scripts: `python tools/explorables.py`.

Opens every figure of `deformconv/course/explorables` in Chromium (`$CHROMIUM`, or the one on the path), and keeps what
its script has drawn and told in the folder `drawn` there. Then the chapters that show it get it as it is now.
"""

import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

import nbformat
from playwright.sync_api import sync_playwright

from deformconv.course import explorables

PAGE = "<!doctype html><html lang='en'><meta charset='utf-8'><title>{name}</title><main>{figure}</main>"
DRAWN = re.compile(r'(<(svg|p|tbody)\b[^>]*\bclass="[^"]*"[^>]*>).*?(</\2>)', re.DOTALL)


@contextmanager
def browser():
    """Chromium, headless, as the machine has it."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not path:
        raise FileNotFoundError("no Chromium was found; say where it is in $CHROMIUM")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def drawn(page, name) -> str:
    """The figure's own markup with what its script draws at first."""
    page.set_content(PAGE.format(name=name, figure=explorables.html(name)))
    elements = page.locator("figure :is(svg, p, tbody)[class]")
    inside = iter(elements.evaluate_all("elements => elements.map((element) => element.innerHTML)"))
    return DRAWN.sub(lambda match: match[1] + next(inside) + match[3], explorables.source(name)[0])


def shown(notebook):
    """The cells of a notebook that show a figure, each with the figure's name."""
    for cell in notebook.cells:
        called = re.search(r'explorables\.show\("(\w+)"\)', cell.source) if cell.cell_type == "code" else None
        if called:
            yield cell, called[1]


def renew(path):
    """Puts the figures as they are now into the outputs of a notebook."""
    notebook = nbformat.read(path, as_version=4)
    cells = list(shown(notebook))
    for cell, name in cells:
        cell.outputs[0].data["text/html"] = explorables.html(name)
    if cells:
        nbformat.write(notebook, path)


if __name__ == "__main__":
    with browser() as chromium:
        page = chromium.new_page()
        for name in explorables.NAMES:
            (explorables.FOLDER / "drawn" / f"{name}.html").write_text(drawn(page, name))
            print(name)
    for path in sorted((Path(__file__).parents[1] / "book").rglob("*.ipynb")):
        renew(path)
