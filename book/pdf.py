"""Prints the book into one PDF: `python book/pdf.py SINGLE_PAGE.html BOOK.pdf`, with Chromium.

The page is what Sphinx's builder `singlehtml` makes. Formulas are set by the browser, links stay links, the outline is
that of the headings, and hints and solutions are unfolded. `_static/custom.css` says what else changes on paper.
"""

import runpy
import sys
from pathlib import Path

NUMBER = "<span class='pageNumber'></span>"
FOOTER = f"<div style='width: 100%; text-align: center; font: 8px sans-serif; color: #555'>{NUMBER}</div>"


def print_book(html, pdf):
    pdf.parent.mkdir(parents=True, exist_ok=True)
    browser = runpy.run_path(str(Path(__file__).with_name("explorables.py")))["browser"]
    part = pdf.with_suffix(".part")
    with browser() as chromium:
        page = chromium.new_page()
        page.goto(html.resolve().as_uri(), wait_until="load")
        page.evaluate("document.querySelectorAll('details').forEach((folded) => (folded.open = true))")
        page.pdf(
            path=part,
            format="A4",
            margin={"top": "18mm", "bottom": "18mm", "left": "17mm", "right": "17mm"},
            print_background=True,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOTER,
            outline=True,
            tagged=True,
        )
    part.replace(pdf)


if __name__ == "__main__":
    print_book(*map(Path, sys.argv[1:3]))
