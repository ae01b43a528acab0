"""`figures.explore`: sliders in a live notebook, one plain figure where a program runs it."""

import importlib

import numpy as np
import pytest

from deformconv.course import figures

explore_module = importlib.import_module("deformconv.course.figures.sliders")  # the package's name is the function


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


@pytest.mark.parametrize("y, x", [(0.0, 0.0), (0.3, 2.65), (3.0, 4.0)])
def test_four_pixels_says_the_value_of_the_point(y, x):
    image = np.arange(20.0).reshape(4, 5) / 20
    figure = figures.four_pixels(image, y, x)
    value = (5 * y + x) / 20
    assert figure.axes[1].get_title().endswith(f"= {value:.2f}")
