"""A browser for the tests of what is shown in one."""

import os
import runpy
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deformconv.course import explorables

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def drawing():
    """`tools/explorables.py`, as a namespace."""
    pytest.importorskip("playwright")
    return runpy.run_path(str(ROOT / "tools/explorables.py"))


@pytest.fixture(scope="session")
def chromium(drawing):
    """Headless Chromium, where the machine has one."""
    if not (os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("needs Chromium: none was found, and $CHROMIUM is not set")
    with drawing["browser"]() as browser:
        yield browser


@pytest.fixture
def page(chromium):
    """A new page without a network; at the end it must not have had an error, nor asked another host."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, offline=True)
    page = context.new_page()
    errors, hosts = [], set()
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    yield page
    context.close()
    assert not errors
    assert hosts <= {None, ""}  # files and data have no host


@pytest.fixture
def shown(page, drawing):
    """`shown(name)`: the figure in a page of its own."""

    def show(name):
        page.set_content(drawing["PAGE"].format(name=name, figure=explorables.html(name)))
        return page.locator(f'[data-explorable="{name}"]')

    return show
