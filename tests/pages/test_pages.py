"""Every page of the rendered book, in a browser, opened as a file: `make test-book` builds it first."""

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

HTML = Path(__file__).parents[2] / "_build" / "html"
# The first page only leads on to the welcome page.
PAGES = sorted(path for path in HTML.rglob("*.html") if "_static" not in path.parts and path != HTML / "index.html")
MOST_BYTES = 2_000_000

every_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(HTML)))


def test_the_book_was_built():
    assert len(PAGES) > 15, "run `make book` first"


@every_page
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(page, path, scheme):
    """And, as on every page here, no console error and no request to another host."""
    page.emulate_media(color_scheme=scheme)
    page.goto(path.as_uri())
    found = Axe().run(page, options={"preload": False}).response["violations"]
    serious = [fault for fault in found if fault["impact"] in ("serious", "critical")]
    assert not serious, [(fault["id"], [node["target"] for node in fault["nodes"]][:5]) for fault in serious]


@every_page
@pytest.mark.parametrize("width", [390, 1440])
def test_it_is_no_wider_than_the_screen(page, path, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    too_wide = page.evaluate(
        """width => [...document.querySelectorAll("article *")].filter((one) =>
            one.getBoundingClientRect().right > width + 1 && getComputedStyle(one).visibility !== "hidden"
            && !one.closest("pre, table, .math, .table-wrapper, .highlight, details:not([open])")
        ).map((one) => one.outerHTML.slice(0, 80))""",
        width,
    )
    assert not too_wide


@every_page
def test_it_weighs_less_than_two_megabytes(page, path):
    """All that it loads, pictures and scripts, once."""
    seen = {}

    def weigh(request):
        if request.url.startswith("file:"):
            file = Path(re.sub("^file://|[?#].*", "", request.url))
            seen[file] = file.stat().st_size if file.exists() else 0

    page.on("request", weigh)
    page.goto(path.as_uri(), wait_until="networkidle")
    assert sum(seen.values()) < MOST_BYTES, sorted(seen.items(), key=lambda one: -one[1])[:4]


@pytest.mark.parametrize("term", ["bilinear", "BatchNorm", "DeformableConv2D"])
def test_search_finds_a_term(page, term):
    page.goto((HTML / "search.html").as_uri() + f"?q={term}")
    page.wait_for_selector("#search-results li")
    assert page.locator("#search-results li").count() >= 3
