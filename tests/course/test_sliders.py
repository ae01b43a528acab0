"""`figures.explore`: sliders in a live notebook, one plain figure where a program runs it."""

import pytest

from deformconv.course import figures
from deformconv.course.figures import sliders as explore_module


@pytest.fixture
def drawn():
    calls = []
    return lambda **values: calls.append(values), calls


def test_without_a_frontend_the_first_values_are_drawn_once(drawn):
    draw, calls = drawn
    figures.explore(draw, y=(0.0, 4.0, 1.5), taps=(1, 9, 3))
    assert calls == [{"y": 1.5, "taps": 3}]


def test_the_environment_variable_makes_a_kernel_static(monkeypatch):
    monkeypatch.setattr("IPython.get_ipython", lambda: type("Shell", (), {"kernel": None})())
    monkeypatch.delenv(explore_module.STATIC, raising=False)
    assert explore_module.is_live()
    monkeypatch.setenv(explore_module.STATIC, "1")
    assert not explore_module.is_live()


def test_a_live_notebook_gets_one_slider_for_each_value(drawn, monkeypatch):
    ipywidgets = pytest.importorskip("ipywidgets")
    draw, calls = drawn
    monkeypatch.setattr(explore_module, "is_live", lambda: True)
    shown = []
    monkeypatch.setattr(ipywidgets, "interact", lambda show, **sliders: shown.append((show, sliders)))
    figures.explore(draw, y=(0.0, 4.0, 1.5), taps=(1, 9, 3))
    show, sliders = shown[0]
    assert {name: type(slider) for name, slider in sliders.items()} == {
        "y": ipywidgets.FloatSlider,
        "taps": ipywidgets.IntSlider,
    }
    assert (sliders["y"].min, sliders["y"].max, sliders["y"].value) == (0.0, 4.0, 1.5)
    show(y=2.0, taps=5)
    assert calls == [{"y": 2.0, "taps": 5}]
