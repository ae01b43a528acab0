"""Prints the book into one PDF: `python tools/pdf.py SINGLE_PAGE.html BOOK.pdf`, with Chromium.

The page is what Sphinx's builder `singlehtml` makes. It gets a cover with the book's title and first picture. Formulas
are set by the browser, links stay links, the outline is that of the headings. `_static/custom.css` says what else
changes on paper: hints and solutions are unfolded, for instance.
"""

import runpy
import sys
from pathlib import Path

import yaml

CONFIG = Path(__file__).parents[1] / "_config.yml"
COVER = """([title, ...lines]) => {
    const cover = document.createElement("header"), picture = document.querySelector("article img");
    const add = (tag, text) => (cover.appendChild(document.createElement(tag)).textContent = text);
    cover.className = "cover";
    add("h1", title);
    if (picture) cover.append(picture.cloneNode());
    lines.forEach((line) => add("p", line));
    (document.querySelector(".bd-article-container") ?? document.body).prepend(cover);
}"""
# Sphinx lets citations lead to the page of the references. That is here this page, on which ids have come twice.
CITATIONS = """() => {
    for (const link of document.querySelectorAll(".bibtex-citation a")) {
        const id = decodeURIComponent(link.hash.slice(1)), own = `citation-${id}`;
        const cited = document.querySelector(`.citation[id="${id}"]`);
        if (cited) cited.id = own;
        link.setAttribute("href", `#${own}`);
    }
}"""
# On a page a wide figure leads to itself; and some links lead to this page by the name that Sphinx had for it.
OWN = """() => {
    for (const link of document.querySelectorAll("a.wide")) link.replaceWith(...link.childNodes);
    for (const link of document.querySelectorAll('a[href^="book/index.html#"]'))
        link.setAttribute("href", link.hash);
}"""
LEFT = """() => {
    const leads = ({ pathname, hash }) =>
        pathname === location.pathname && (!hash || document.getElementById(decodeURIComponent(hash.slice(1))));
    const links = [...document.querySelectorAll("a[href]")].filter((link) => link.protocol === "file:");
    return links.filter((link) => !leads(link)).map((link) => link.getAttribute("href"));
}"""
NUMBER = "<span class='pageNumber'></span>"
FOOTER = f"<div style='width: 100%; text-align: center; font: 8px sans-serif; color: #555'>{NUMBER}</div>"


def print_book(html, pdf):
    """Raises `ValueError` if a link leads to a file or a place that the reader of the PDF does not have."""
    config = yaml.safe_load(CONFIG.read_text())
    rights = config["sphinx"]["config"]["html_theme_options"]["extra_footer"]
    pdf.parent.mkdir(parents=True, exist_ok=True)
    browser = runpy.run_path(str(Path(__file__).with_name("explorables.py")))["browser"]
    part = pdf.with_suffix(".part")
    with browser() as chromium:
        page = chromium.new_page()
        page.goto(html.resolve().as_uri(), wait_until="load")
        page.evaluate(COVER, [config["title"], config["author"], rights])
        page.evaluate(CITATIONS)
        page.evaluate(OWN)
        if left := page.evaluate(LEFT):
            raise ValueError(f"these links lead out of the book: {', '.join(left)}")
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
