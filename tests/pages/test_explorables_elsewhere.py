"""The figures that react, where the page is not ours: under a finger, on paper, in Jupyter and in Colab."""

import pytest
from test_explorables import every_figure, everything

from deformconv.course import explorables

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
WIDE_AS_THE_PHONE = "<meta name='viewport' content='width=device-width'>"
LONG = "<div style='height: 1500px'></div>"
# As JupyterLab does it: what is put in as text holds scripts that do not run; each is put in again, at its place.
PUT_IN = """([selector, html]) => {
    const place = document.querySelector(selector);
    place.innerHTML = html;
    for (const old of place.querySelectorAll("script")) {
        const script = document.createElement("script");
        script.textContent = old.textContent;
        old.replaceWith(script);
    }
}"""


@pytest.fixture
def phone(chromium):
    context = chromium.new_context(**PHONE)
    yield context.new_page()
    context.close()


class Finger:
    def __init__(self, page):
        self.devtools = page.context.new_cdp_session(page)

    def __call__(self, what, *place):
        points = [dict(zip("xy", place, strict=True))] if place else []
        self.devtools.send("Input.dispatchTouchEvent", {"type": f"touch{what}", "touchPoints": points})

    def draw(self, x, y, right, down):
        self("Start", x, y)
        for part in (0.25, 0.5, 0.75, 1):
            self("Move", x + part * right, y + part * down)
        self("End")


def open_on(page, drawing, name):
    html = drawing["PAGE"].format(name=name, figure=explorables.html(name) + LONG)
    page.set_content(html.replace("<title>", f"{WIDE_AS_THE_PHONE}<title>"))
    return page.locator(f'[data-explorable="{name}"]')


@every_figure
def test_a_finger_drags_what_can_be_dragged_and_elsewhere_scrolls(phone, drawing, name):
    figure, finger = open_on(phone, drawing, name), Finger(phone)
    handles = figure.locator(".handle")
    for i in range(min(handles.count(), 2)):
        handles.nth(i).scroll_into_view_if_needed()
        before, scrolled = everything(figure), phone.evaluate("scrollY")
        box = handles.nth(i).bounding_box()
        finger.draw(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, 40, -35)
        assert everything(figure) != before
        assert phone.evaluate("scrollY") == scrolled
    # In the lower right corner of a drawing there is no handle.
    phone.evaluate("scrollTo(0, 0)")
    box = figure.locator("svg[class]").first.bounding_box()
    finger.draw(box["x"] + box["width"] - 4, box["y"] + box["height"] - 4, 0, -200)
    phone.wait_for_function("scrollY > 50", timeout=2000)


@every_figure
def test_on_paper_the_drawing_stands_without_its_controls(shown, page, name):
    figure = shown(name)
    page.emulate_media(media="print")
    assert figure.locator("svg[class]").first.is_visible() and figure.locator("figcaption").is_visible()
    controls = figure.locator(".controls, button, select, input[type=range]")
    assert not [i for i in range(controls.count()) if controls.nth(i).is_visible()]


@every_figure
def test_it_lives_where_a_notebook_puts_it_in_and_twice(page, name):
    """In the same page a cell may be run again, or the figure may stand in two cells."""
    page.set_content("<!doctype html><title>A notebook</title><main><div id=one></div><div id=two></div></main>")
    for selector in ("#one", "#two", "#one"):
        page.evaluate(PUT_IN, [selector, explorables.html(name)])
    figures = page.locator("figure.explorable[data-live]")
    assert figures.count() == 2 and everything(figures.first) == everything(figures.last)
    before = everything(figures.last)
    control = figures.first.locator("input[type=range], .handle").first
    control.focus()
    for key in ("ArrowRight", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    assert everything(figures.last) == before  # each is a figure of its own


@every_figure
def test_it_lives_in_a_frame_of_another_origin(page, drawing, name):
    """Colab shows each output in a frame that may run scripts and nothing else."""
    page.set_content("<!doctype html><title>Colab</title><iframe title=output sandbox=allow-scripts></iframe>")
    inside = drawing["PAGE"].format(name=name, figure=explorables.html(name))
    page.evaluate("html => (document.querySelector('iframe').srcdoc = html)", inside)
    figure = page.frame_locator("iframe").locator("figure.explorable[data-live]")
    figure.wait_for(state="attached")
    assert figure.locator("svg *").count() > 3


@every_figure
def test_whoever_hears_it_is_told_what_it_is_and_where_it_stands(shown, page, name):
    figure = shown(name)
    assert all(figure.locator("svg[class]").evaluate_all("all => all.map((one) => one.getAttribute('aria-label'))"))
    assert figure.locator("[aria-live]").count() >= 1
    handles = figure.locator(".handle")
    for i in range(handles.count()):
        handle = handles.nth(i)
        role, label, value = (handle.get_attribute(f"{each}") for each in ("role", "aria-label", "aria-valuenow"))
        assert label and (value or role == "application")
        assert handle.evaluate("one => one.tabIndex") == 0
