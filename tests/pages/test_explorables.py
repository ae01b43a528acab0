"""The figures that react without a kernel, in a browser: they draw, answer to mouse and keys, and all can read them."""

import re
from pathlib import Path

import nbformat
import numpy as np
import pytest

from deformconv import reference
from deformconv.course import explorables

ROOT = Path(__file__).parents[2]
every_figure = pytest.mark.parametrize("name", explorables.NAMES)


def everything(figure):
    """All that can be seen of a figure: its drawings, and what it tells."""
    return figure.locator("svg, .told, output").evaluate_all("all => all.map((one) => one.innerHTML).join()")


def test_an_unknown_one_is_refused():
    with pytest.raises(ValueError, match="`name` must be one of .*four_pixels.*; received 'five_pixels'"):
        explorables.show("five_pixels")


@every_figure
def test_what_is_kept_for_pages_without_scripts_is_what_is_drawn_at_first(page, drawing, name):
    kept = (explorables.FOLDER / "drawn" / f"{name}.html").read_text()
    assert drawing["drawn"](page, name) == kept, "run `python tools/explorables.py`"


def test_chapters_show_every_figure_as_it_is_now(drawing):
    named = set()
    for path in sorted((ROOT / "book").rglob("*.ipynb")):
        for cell, name in drawing["shown"](nbformat.read(path, as_version=4)):
            assert cell.outputs[0].data["text/html"] == explorables.html(name), "run `python tools/explorables.py`"
            named.add(name)
    assert named == set(explorables.NAMES)


@every_figure
def test_without_scripts_the_drawing_stands_there(chromium, drawing, name):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_content(drawing["PAGE"].format(name=name, figure=explorables.html(name)))
    assert page.locator("svg").count() and page.locator("svg *").count() > 3
    assert not page.locator(".controls").first.is_visible()
    context.close()


@every_figure
def test_every_control_answers_to_keys(shown, page, name):
    figure = shown(name)
    controls = figure.locator("input, select, button, .handle")
    assert controls.count()
    for i in range(controls.count()):
        control = controls.nth(i)
        before = everything(figure)
        control.focus()
        kind = control.evaluate("one => one.type || one.tagName")
        keys = {"checkbox": ["Space"], "radio": ["ArrowRight"], "button": ["Enter"], "submit": ["Enter"]}
        # Both ways: one of them may be at its end already.
        for key in keys.get(kind, ["ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowDown"]):
            page.keyboard.press(key)
            if everything(figure) != before:
                break
        else:
            pytest.fail(f"control {i} of {name} does nothing")


@every_figure
def test_what_can_be_dragged_follows_the_mouse_and_the_finger(shown, page, name):
    figure = shown(name)
    handles = figure.locator(".handle")
    for i in range(min(handles.count(), 3)):
        before = everything(figure)
        box = handles.nth(i).bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 40, y + 35, steps=4)  # further than from one grid place to the next
        page.mouse.up()
        after = everything(figure)
        assert after != before
        page.mouse.move(x + 90, y + 90)
        assert everything(figure) == after  # it was let go


@every_figure
@pytest.mark.parametrize("width", [390, 1440])
def test_it_fits_its_page(shown, page, name, width):
    page.set_viewport_size({"width": width, "height": 900})
    figure = shown(name)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Text is readable: SVGs scale it with their width.
    sizes = figure.locator("svg text").evaluate_all(
        "all => all.map((one) => parseFloat(getComputedStyle(one).fontSize) * one.getScreenCTM().a)"
    )
    assert all(size >= 9 for size in sizes), min(sizes)


@every_figure
def test_axe_finds_no_serious_fault(shown, page, name):
    from axe_playwright_python.sync_playwright import Axe

    shown(name)
    found = Axe().run(page).response["violations"]
    assert not [fault for fault in found if fault["impact"] in ("serious", "critical")], found


@every_figure
def test_it_is_small(name):
    assert len(explorables.html(name).encode()) < 200_000


def numbers(text):
    return [float(word) for word in re.findall(r"-?\d+\.\d+", text.replace("−", "-"))]


def test_four_pixels_tells_the_value_and_slopes_of_the_reference(shown):
    figure = shown("four_pixels")
    image = np.array(
        [
            [0.1, 0.25, 0.6, 0.3, 0.1],
            [0.2, 0.9, 1.0, 0.55, 0.15],
            [0.15, 0.7, 0.35, 0.8, 0.3],
            [0.05, 0.3, 0.5, 0.65, 0.2],
        ]
    )

    def value(y, x):
        return reference.bilinear_sample(image[None, ..., None], np.array([[[y, x]]]))[0, 0, 0]

    for y, x in ((1.3, 1.65), (0.0, 2.0), (2.25, 3.5)):
        figure.locator("input.y").fill(str(y))
        figure.locator("input.x").fill(str(x))
        told = numbers(figure.locator(".told").inner_text())
        assert told[0] == pytest.approx(value(y, x), abs=6e-4)
        assert told[-2] == pytest.approx((value(y + 1e-6, x) - value(y, x)) / 1e-6, abs=6e-3)
        assert told[-1] == pytest.approx((value(y, x + 1e-6) - value(y, x)) / 1e-6, abs=6e-3)
