"""Every page of the rendered book, in a browser without a network: `make test-book` builds it first.

The pages are those of the zip that `make zip` makes, unpacked in a folder where nothing else is, opened as files.
"""

import re
import zipfile
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe

HTML = Path(__file__).parents[2] / "_build" / "html"
# The first page only leads on to the welcome page.
FILES = sorted(path.relative_to(HTML) for path in HTML.rglob("*.html") if "_static" not in path.parts)
PAGES = [path for path in FILES if path != Path("index.html")]
MOST_BYTES = 2_000_000
# A chapter has thousands of coloured words of code, and to measure their contrast takes most of the time. One of each
# kind is enough: of each colour, in each kind of box, folded away or not.
ONE_OF_EACH = """() => {
    const seen = new Set();
    const more = [...document.querySelectorAll(".highlight pre span[class]")].filter((word) => {
        const box = word.closest(".highlight").parentElement.className;
        const kind = [word.className, box, word.offsetParent !== null].join();
        return seen.has(kind) || !seen.add(kind);
    });
    more.forEach((word) => word.replaceWith(...word.childNodes));
    document.querySelectorAll("pre").forEach((box) => box.normalize());
}"""

every_page = pytest.mark.parametrize("path", PAGES, ids=str)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The rendered book as a reader gets it, in a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("some books")
    zipfile.main(["-c", str(folder / "book.zip"), str(HTML)])
    zipfile.main(["-e", str(folder / "book.zip"), str(folder)])
    return folder / "html"


def test_the_book_was_built():
    assert len(PAGES) > 15, "run `make book` first"


@every_page
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(page, unpacked, path, scheme):
    """And, as on every page here, no console error and no request to another host. The dark changes colours alone."""
    page.emulate_media(color_scheme=scheme)
    page.goto((unpacked / path).as_uri())
    page.evaluate(ONE_OF_EACH)
    rules = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
    # To list what is right, with a selector for each of thousands of elements, takes the most time.
    found = Axe().run(page, options={"preload": False, "resultTypes": ["violations"], **rules}).response["violations"]
    serious = [fault for fault in found if fault["impact"] in ("serious", "critical")]
    assert not serious, [(fault["id"], [node["target"] for node in fault["nodes"]][:5]) for fault in serious]


@every_page
def test_it_is_no_wider_than_the_screen_and_its_pictures_keep_their_shape(page, unpacked, path):
    page.goto((unpacked / path).as_uri())
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        too_wide = page.evaluate(
            """width => [...document.querySelectorAll("article *")].filter((one) =>
                one.getBoundingClientRect().right > width + 1 && getComputedStyle(one).visibility !== "hidden"
                && !one.closest("pre, table, .math, .table-wrapper, .highlight, details:not([open]), a.wide > img")
            ).map((one) => one.outerHTML.slice(0, 80))""",
            width,
        )
        assert not too_wide, width
        distorted = page.evaluate(
            """() => [...document.images].filter((one) => one.naturalWidth && one.clientHeight > 20
                && Math.abs(one.clientWidth / one.clientHeight / (one.naturalWidth / one.naturalHeight) - 1) > 0.03
            ).map((one) => [one.alt.slice(0, 40), one.clientWidth, one.clientHeight])"""
        )
        assert not distorted, width


@every_page
def test_it_is_whole_and_weighs_less_than_two_megabytes(page, unpacked, path):
    """All that it loads, pictures and scripts, once; the figures that react do so."""
    seen = {}

    def weigh(request):
        if request.url.startswith("file:"):
            file = Path(unquote(urlsplit(request.url).path))
            seen[file] = file.stat().st_size if file.exists() else 0

    page.on("request", weigh)
    page.goto((unpacked / path).as_uri(), wait_until="networkidle")
    assert sum(seen.values()) < MOST_BYTES, sorted(seen.items(), key=lambda one: -one[1])[:4]
    assert page.evaluate("[...document.images].filter((one) => !one.naturalWidth).map((one) => one.src)") == []
    figures = page.locator("figure.explorable")
    assert figures.count() == page.locator("figure.explorable[data-live]").count()


def test_every_link_within_the_book_leads_somewhere(unpacked):
    """To a file that is there, and to a place that is on its page."""
    pages = {unpacked / path: (unpacked / path).read_text() for path in FILES}
    places = {path: set(map(unescape, re.findall(r'\bid="([^"]+)"', text))) for path, text in pages.items()}
    count = 0
    for path, text in pages.items():
        for link in re.findall(r'\s(?:href|src)="([^"]*)"', text):
            parts = urlsplit(unescape(link))
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), (path, link)
            assert not parts.fragment or target.suffix != ".html" or unquote(parts.fragment) in places[target], link
            count += 1
    assert count > 1000


@pytest.mark.parametrize("term", ["bilinear", "BatchNorm", "DeformableConv2D"])
def test_search_finds_a_term(page, unpacked, term):
    page.goto((unpacked / "search.html").as_uri() + f"?q={term}")
    page.wait_for_selector("#search-results li")
    assert page.locator("#search-results li").count() >= 3


def test_a_reader_may_choose_the_dark_and_keeps_it(page, unpacked):
    page.emulate_media(color_scheme="light")
    page.goto((unpacked / PAGES[0]).as_uri())
    for _ in range(3):  # auto, light, dark
        page.locator("button.theme-switch-button:visible").first.click()
        if page.locator("html[data-theme=dark]").count():
            break
    page.locator("html[data-theme=dark]").wait_for(state="attached")
    page.goto((unpacked / PAGES[1]).as_uri())
    page.locator("html[data-theme=dark]").wait_for(state="attached")  # a slow machine sets it a moment later


def test_on_paper_nothing_is_folded_and_nothing_is_left_to_click(page, unpacked):
    """Hints and solutions are there; the code that draws figures, which the page folds away, is not."""
    (chapter,) = (path for path in PAGES if path.name == "sample_between_pixels.html")
    page.goto((unpacked / chapter).as_uri())
    page.emulate_media(media="print")
    assert page.locator("details").count() > 5
    seen = page.locator("article").evaluate("one => one.innerText")
    assert "Hint" in seen and "# Solution" in seen and not re.search("Show code|Hide code", seen)
    assert not page.locator(".tag_hide-input .cell_input pre").first.is_visible()
    assert not page.locator(".bd-sidebar-primary, .bd-header-article").first.is_visible()
