"""The explorables that show real data: what they hold is what was measured, what they tell is what they hold."""

import base64
import itertools
import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from deformconv.course import explorables, figures
from deformconv.course.figures.run_the_frozen_fine_tune import LOOKS
from deformconv.study import results
from deformconv.study.digits import trained
from deformconv.training import scaling

ROOT = Path(__file__).parents[2]
MAKE = runpy.run_path(str(ROOT / "tools/explorable_data.py"))


def held(name):
    return json.loads((explorables.FOLDER / f"{name}.json").read_text())


def unpacked(values, *shape):
    steps = np.frombuffer(base64.b64decode(values["bytes"]), "uint8")
    return (values["from"] + values["step"] * steps).reshape(shape)


@pytest.fixture(scope="module")
def deformable():
    return trained.load("deformable")


@pytest.fixture
def shown(page, drawing):
    """`shown(name)`: the figure in a page of its own, with its own data or with other."""

    def show(name, data=None):
        html = explorables.html(name)
        if data:
            own = json.dumps(held(name), separators=(",", ":"))
            assert own in html
            html = html.replace(own, json.dumps(data))
        page.set_content(drawing["PAGE"].format(name=name, figure=html))
        return page.locator(f'[data-explorable="{name}"]')

    return show


def told(figure):
    return figure.locator(".told").inner_text()


def numbers(text):
    return [float(word) for word in re.findall(r"\d+(?:\.\d+)?", text)]


@pytest.mark.parametrize("name", ["accuracy_curves", "speed_and_size"])
def test_the_numbers_are_those_of_the_committed_results(name):
    assert MAKE[name]() == held(name), "run `python tools/explorable_data.py`"


def test_what_is_packed_can_be_unpacked():
    values = np.random.default_rng(0).normal(size=(5, 4))
    packed = MAKE["packed"](values)
    np.testing.assert_allclose(unpacked(packed, 5, 4), values, atol=0.51 * packed["step"])
    assert MAKE["packed"](np.array([0.2, 0.4]), 0, 1)["bytes"] == base64.b64encode(bytes([51, 102])).decode()


def test_the_digits_are_the_first_of_their_kinds():
    zooms, labels = len(MAKE["ZOOMS"]), np.array([5, 3, 3, 8, 1, 6, 9])
    last = int(np.argmin(np.abs(MAKE["ZOOMS"] - 2.5)))
    regular, deformable = np.ones((2, zooms, len(labels)), bool)
    regular[last:, :] = False
    regular[last, 0] = True  # the plain network keeps the first
    deformable[5, 1] = False  # the other loses the second on the way, and the fourth at the end
    deformable[last, 3] = False
    assert MAKE["chosen"](labels, regular, deformable) == [2, 4, 5, 3]


def test_shrinking_digit_holds_what_the_networks_make_of_its_digits(deformable):
    data = held("shrinking_digit")
    networks = {"regular": trained.load("regular"), "deformable": deformable}
    last = data["zooms"].index(MAKE["LAST_SEEN"])
    answers = []
    for digit in data["digits"]:
        image = unpacked(digit["image"], 1, 28, 28, 1).astype("float32")
        shrunk = np.concatenate([scaling.zoomed_copy(image, zoom) for zoom in data["zooms"]])
        for name, network in networks.items():
            chances = unpacked(digit[name], -1, 10)
            np.testing.assert_allclose(chances, network.predict(shrunk, verbose=0), atol=3e-3)
            answers.append([row.argmax() == digit["label"] for row in chances[: last + 1]])
        points = unpacked(digit["points"], -1, 729, 2)
        np.testing.assert_allclose(points, figures.trace_points(deformable, shrunk), atol=0.6 * digit["points"]["step"])
    # Two rows for each digit, the plain network's first: three are lost by it alone, one by both.
    assert all(row[0] for row in answers)
    assert [row[-1] for row in answers] == [False, True] * 3 + [False, False]


def test_shrinking_digit_tells_answers_spreads_and_shares(shown):
    data, figure = held("shrinking_digit"), shown("shrinking_digit")
    for i, k in ((0, 0), (1, 8), (3, 12)):
        digit = data["digits"][i]
        figure.locator(".choices input").nth(i).check()
        figure.locator("input.zoom").fill(str(data["zooms"][k]))
        spread = figures.spread(unpacked(digit["points"], -1, 729, 2)[k])
        seen = []
        for name, own in (("regular", 6**0.5), ("deformable", spread)):
            chances = unpacked(digit[name], -1, 10)[k]
            seen += [chances.argmax(), round(100 * chances.max()), own]
        shares = [100 * data["right"][name][k] / data["looked_at"] for name in ("regular", "deformable")]
        expected = [digit["label"], data["zooms"][k], *seen, data["looked_at"], *shares]
        np.testing.assert_allclose(numbers(told(figure)), expected, atol=0.06)


def test_shrinking_digit_shows_the_zoomed_picture(shown):
    data, figure = held("shrinking_digit"), shown("shrinking_digit")
    figure.locator("input.zoom").fill(str(data["zooms"][6]))
    levels = np.zeros((28, 28))
    paths = figure.locator(".deformable path[shape-rendering]")
    for level, d in enumerate(paths.evaluate_all("all => all.map((one) => one.getAttribute('d'))"), 1):
        for x, y in re.findall(r"M(\S+) (\d+)h1", d):
            levels[int(y), int(float(x) + 0.5)] = level
    image = unpacked(data["digits"][0]["image"], 1, 28, 28, 1)
    expected = scaling.zoomed_copy(image.astype("float32"), data["zooms"][6])[0, ..., 0]
    np.testing.assert_allclose(levels / 15, expected, atol=0.51 / 15)
    assert levels.max() > 8


def test_shrinking_digit_plays_and_rests(shown, page):
    figure = shown("shrinking_digit")
    play, output = figure.locator(".play"), figure.locator("output")
    start = output.inner_text()
    page.wait_for_timeout(100)
    assert output.inner_text() == start  # nothing moves by itself
    play.click()
    page.wait_for_function("start => document.querySelector('.explorable output').textContent !== start", arg=start)
    play.click()
    rest = output.inner_text()
    assert any(abs(float(rest) - zoom) < 1e-3 for zoom in held("shrinking_digit")["zooms"])
    assert f"zoom {rest}" in told(figure)
    page.wait_for_timeout(100)
    assert output.inner_text() == rest


def test_stacked_layers_traces_as_the_chapter_does(shown, deformable):
    data, figure = held("stacked_layers"), shown("stacked_layers")
    assert data["layers"] == ["conv12", "conv21", "conv22"]
    cases = itertools.product(range(len(data["pictures"])), (1, 2, 3), ((3, 3), (0, 5), (6, 1)))
    for k, depth, (y, x) in cases:
        figure.locator(".picture").select_option(index=k)
        figure.locator(".depths input").nth(depth - 1).check()
        figure.locator("input.y").fill(str(y))
        figure.locator("input.x").fill(str(x))
        image = unpacked(data["pictures"][k]["image"], 1, 28, 28, 1).astype("float32")
        (points,) = figures.trace_points(deformable, image, (y, x), depth)
        *place, layers, count, rigid, learned = numbers(told(figure))
        assert (place, layers, count) == ([y, x], depth, 9**depth)
        grid = [[a, b] for a in (-1, 0, 1) for b in (-1, 0, 1)]
        # A tap of conv22, of conv21, of conv12, in pixels of the image.
        steps = (2, 2, 1)[:depth]
        assert rigid == pytest.approx(sum(step**2 for step in steps) ** 0.5 * np.std(grid), abs=6e-3)
        assert learned == pytest.approx(figures.spread(points), abs=0.05)
        # Drawn as (x, y), in the order of the trace, to a tenth of a pixel.
        paths = figure.locator(".learned g[stroke-linecap]").last.locator("path")
        drawn = re.findall(r"M(\S+) (\S+)h0", "".join(paths.evaluate_all("all => all.map((p) => p.getAttribute('d'))")))
        away = np.abs(np.array(drawn, "float64")[:, ::-1] - points)
        assert away.max() < 0.5 and away.mean() < 0.06


def test_accuracy_curves_tells_what_was_measured(shown, page):
    figure, data = shown("accuracy_curves"), held("accuracy_curves")
    runs = results.read(ROOT / "book/results/scaled_mnist.json")
    for k in (0, 4, len(data["zooms"]) - 1):
        figure.locator("input.zoom").fill(str(k))
        means = {}
        for row in figure.locator("tbody tr").all():
            variant = row.locator("label").inner_text()
            found = [100 * list(run["zoom"].values())[k] for run in runs if run["variant"] == variant]
            mean, deviation = numbers(row.locator("td").nth(1).inner_text())
            assert mean == pytest.approx(np.mean(found), abs=0.06)
            assert deviation == pytest.approx(np.std(found, ddof=1), abs=0.06)
            means[variant] = np.mean(found)
        assert {"regular", "deformable"} < means.keys()
        zoom, size, best, worst, between = numbers(re.sub(r"\S+(?=, \d)", "", told(figure)))
        assert (zoom, size) == pytest.approx((data["zooms"][k], 1 / data["zooms"][k]), abs=6e-3)
        expected = (max(means.values()), min(means.values()), max(means.values()) - min(means.values()))
        assert (best, worst, between) == pytest.approx(expected, abs=0.12)


def test_accuracy_curves_can_be_switched_off_and_read_by_pointing(shown, page):
    figure = shown("accuracy_curves")
    best = re.search(r"Highest: (\S+),", told(figure))[1]
    row = [label.inner_text() for label in figure.locator("tbody label").all()].index(best)
    curve = figure.locator(".chart > g").first.locator("> g").nth(row)
    figure.locator("tbody input").nth(row).uncheck()
    assert not curve.is_visible() and f"{best}," not in told(figure)
    figure.locator("tbody input").nth(row).check()
    assert curve.is_visible() and f"{best}," in told(figure)
    box = figure.locator(".chart").bounding_box()
    page.mouse.move(box["x"] + 0.97 * box["width"], box["y"] + 0.4 * box["height"])
    assert "zoom 3.00" in told(figure)
    page.mouse.down()
    page.mouse.up()
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.4 * box["height"])
    assert "zoom 3.00" in told(figure)  # held
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] - 5)
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.4 * box["height"])
    assert "zoom 0.50" in told(figure)


def test_accuracy_curves_has_a_choice_of_groups_once_there_are_several(shown):
    data = held("accuracy_curves")
    some = data["curves"][0]
    data["curves"] = [
        {**some, "variant": name, "group": group, "colour": colour, "marker": marker, "dashes": dashes}
        for name, (group, colour, marker, dashes) in LOOKS.items()
    ]
    figure = shown("accuracy_curves", data)
    groups = list(dict.fromkeys(look[0] for look in LOOKS.values() if look[0]))
    assert [label.inner_text() for label in figure.locator(".groups label").all()] == groups and len(groups) == 3
    for i, group in enumerate(groups):
        figure.locator(".groups input").nth(i).check()
        expected = [name for name, look in LOOKS.items() if look[0] in (None, group)]
        assert [label.inner_text() for label in figure.locator("tbody label").all()] == expected


def test_speed_and_size_tells_times_of_the_convolution(shown, page):
    figure = shown("speed_and_size")
    measured = {}
    for name in ("cpu-2-cores", "cpu-2-cores-sizes"):
        for one in json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())["results"]:
            measured.setdefault((one["case"], one["direction"]), {})[one["contender"]] = one["median"]
    for case, direction in (("reference", "forward"), ("28 x 28, batch 32", "backward"), ("channels 256", "forward")):
        figure.locator(".case").select_option(case)
        figure.locator(".choices input").nth(("forward", "backward").index(direction)).check()
        own = measured[case, direction]
        for contender, median in own.items():
            if contender != "conv2d":
                name = re.escape(MAKE["NAMES"].get(contender, contender))
                ratio = re.search(rf"[:,] {name} (\d+(?:\.\d+)?)", told(figure))[1]
                assert float(ratio) == pytest.approx(median / own["conv2d"], rel=0.02, abs=6e-3)
        assert f"Conv2D {own['conv2d']:.1f} ms" in told(figure)
        assert figure.locator(".race .ratio").count() == len(own) - 1
    figure.locator(".handle").focus()
    page.keyboard.press("ArrowLeft")
    assert told(figure).startswith("channels 64 (4 images of 28 x 28, 64 channels to 64), forward:")
