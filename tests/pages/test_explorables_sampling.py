"""The figures about reading between pixels tell what the reference says: one row, nine taps, two warps, a mask."""

import json
import re

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from test_explorables import numbers

from deformconv import reference
from deformconv.course import explorables


def constant(name, variable):
    """A list of numbers in a figure's script."""
    text = re.search(rf"const {variable} = (\[.*?\]);", explorables.source(name)[1], re.DOTALL)[1]
    return np.array(json.loads(re.sub(r",\s*\]", "]", text)))


def picture(name):
    """The picture in a figure's script, one digit for each pixel."""
    return (
        np.array([[int(digit) for digit in line] for line in re.findall(r'"(\d{9,})"', explorables.source(name)[1])])
        / 9
    )


def read(image, places):
    return reference.bilinear_sample(image[None, ..., None], np.asarray(places)[None])[0, ..., 0]


def told(figure):
    return numbers(figure.locator(".told").inner_text())


def set_to(figure, **values):
    for control, value in values.items():
        figure.locator(f".{control}").fill(str(value))


def test_floor_and_ceil_have_the_same_values_and_on_pixels_not_the_same_slopes(shown):
    figure = shown("floor_and_ceil")
    row = constant("floor_and_ceil", "row")[None]
    for x in (2, 3.25, 5, 6.9, 7):
        set_to(figure, x=x)
        _, *ceil, _, value, slope = told(figure)
        assert ceil[:2] == [x, value] and value == pytest.approx(read(row, [[0, x]])[0], abs=6e-4)
        to_the_right = (read(row, [[0, x + 0.01]]) - read(row, [[0, x]]))[0] / 0.01
        assert slope == pytest.approx(to_the_right, abs=6e-4) and slope != 0
        assert ceil[2] == (0 if x == round(x) else slope)


def test_floor_and_ceil_climb_only_from_beside_a_pixel(shown):
    figure = shown("floor_and_ceil")
    row = constant("floor_and_ceil", "row")
    for start in (2, 2.05, 6):
        set_to(figure, x=start)
        figure.get_by_role("button", name="step uphill").click()
        figure.get_by_role("button", name="ten steps").click()
        x = start
        for _ in range(11):
            x += np.append(row, 0)[int(x) + 1] - row[int(x)]
        _, with_ceil, _, _, plus_one, *_ = told(figure)
        assert plus_one == pytest.approx(x, abs=6e-3) and abs(x - start) > 0.5
        assert with_ceil == (start if start == int(start) else plus_one)
    figure.get_by_role("button", name="next pixel").click()
    assert told(figure)[0] == 7
    figure.get_by_role("button", name="pixel before").click()
    figure.get_by_role("button", name="pixel before").click()
    assert told(figure)[0] == 5


def test_nine_taps_respond_as_the_reference_does(shown, page):
    figure = shown("nine_taps")
    largest, centre = picture("nine_taps"), np.array([7, 6])
    taps = np.indices((3, 3)).reshape(2, 9).T - 1
    kernel = np.full((3, 3, 1, 1), 1 / 8)
    kernel[1, 1] = -1
    grid = np.moveaxis(np.indices(largest.shape), 0, -1)

    def response(size, offsets):
        image = read(largest, centre + (grid - centre) * 3 / size)
        everywhere = np.broadcast_to(offsets.ravel(), (1, 10, 12, 18))
        return reference.deform_conv2d(image[None, ..., None], everywhere, kernel)[0, *(centre - 1), 0]

    for size in (1, 2, 2.5, 3):
        for spread in (1, 1.45, size):
            set_to(figure, size=size, spread=spread)
            answer, still, dy, dx, _ = told(figure)[-5:]
            assert answer == pytest.approx(response(size, (spread - 1) * taps), abs=6e-4)
            assert still == pytest.approx(response(size, 0 * taps), abs=6e-4)
            assert (dy, dx) == pytest.approx((1 - spread, 1 - spread))
        if size != 2.5:
            assert answer == 1  # spread as far as the loop has grown, it is all back

    offsets = 2.0 * taps
    figure.locator(".handle").nth(5).focus()
    for key, step in (("ArrowRight", (0, 0.1)), ("Shift+ArrowDown", (1, 0)), ("ArrowUp", (-0.1, 0))):
        page.keyboard.press(key)
        offsets[5] += step
    assert told(figure)[-5:] == pytest.approx(
        [response(3, offsets), 0, 0.9, 2.1, read(largest, [centre + [0.9, 3.1]])[0]], abs=6e-4
    )
    figure.locator(".handle").nth(4).focus()
    for _ in range(3):  # the middle tap, onto the ring
        page.keyboard.press("Shift+ArrowRight")
    offsets[4] = [0, 3]
    assert told(figure)[-5] == pytest.approx(response(3, offsets), abs=6e-4)
    figure.get_by_role("button").click()
    assert told(figure)[-5] == 0


@pytest.fixture
def two_digits():
    """The picture of `warp_or_flow`, where its pixels look under an affine map and under a flow, and what is wanted."""
    image = picture("warp_or_flow")
    grid = np.moveaxis(np.indices(image.shape), 0, -1).astype("float64")
    middle = (np.array(image.shape) - 1) / 2

    def affine(zoom, shift):
        return zoom * (grid - middle) + middle + [0, shift]

    def flow(left, right):
        looks = grid.copy()
        looks[:, :16] = [7.5, 7.5] + left * (grid[:, :16] - [7.5, 7.5])
        looks[:, 22:] = [7.5, 29.5] + right * (grid[:, 22:] - [7.5, 29.5])
        return looks

    return image, affine, flow, read(image, flow(2, 1))


def test_warp_and_flow_err_as_the_reference_does(shown, two_digits):
    image, affine, flow, wanted = two_digits
    figure = shown("warp_or_flow")
    assert told(figure)[3:6] == [0, 2, 1]
    for (zoom, shift), (left, right) in (((1, 0), (1.5, 1)), ((2.05, -3.5), (2, 2.6))):
        set_to(figure, zoom=zoom, shift=shift, left=left, right=right)
        by_affine, by_flow, without = (
            np.mean((read(image, looks) - wanted) ** 2)
            for looks in (affine(zoom, shift), flow(left, right), flow(1, 1))
        )
        assert told(figure) == pytest.approx([by_affine, zoom, shift, by_flow, left, right, without], abs=6e-5)


def test_no_setting_of_the_affine_warp_is_better_than_the_one_called_best(shown, two_digits):
    image, affine, _, wanted = two_digits
    errors = {}
    for zoom in np.arange(0.5, 3.01, 0.05):
        for shift in np.arange(-15, 15.1, 0.5):
            values = map_coordinates(image, np.moveaxis(affine(zoom, shift), -1, 0), order=1, mode="grid-constant")
            errors[round(zoom, 2), round(shift, 1)] = np.mean((values - wanted) ** 2)
    best = min(errors, key=errors.get)
    figure = shown("warp_or_flow")
    figure.get_by_role("button", name="no warp").click()
    assert told(figure)[1:3] == [1, 0]
    figure.get_by_role("button", name="the best of these").first.click()
    assert told(figure)[:3] == pytest.approx([errors[best], *best], abs=6e-5)
    assert errors[best] > 0.01


def test_undoing_a_warp_errs_as_the_reference_does(shown, page):
    figure = shown("undo_a_warp")
    digit = picture("undo_a_warp")
    grid, middle = np.moveaxis(np.indices(digit.shape), 0, -1), (np.array(digit.shape) - 1) / 2

    def warp(image, matrix, shift):
        return read(image, middle + (grid - middle) @ matrix.T + shift)

    def six(zoom, turn, shear=0.0):
        cos, sin = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
        return zoom * np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, 0], [shear, 1]])

    small = warp(digit, six(1.8, -30), [-3, -5.4])
    exact = np.linalg.inv(six(1.8, -30)), np.linalg.inv(six(1.8, -30)) @ [3, 5.4]

    def check(matrix, shift):
        a, b, y, c, d, x, *corner, error, least, untouched = told(figure)
        assert [a, b, c, d, y, x] == pytest.approx([*matrix.ravel(), *shift], abs=6e-3)
        assert corner == pytest.approx(middle - matrix @ middle + shift, abs=6e-3)
        errors = [np.mean((image - digit) ** 2) for image in (warp(small, matrix, shift), warp(small, *exact), small)]
        assert [error, least, untouched] == pytest.approx(errors, abs=6e-5)

    figure.get_by_role("button", name="the exact inverse").click()
    check(*exact)
    assert 0.005 < told(figure)[-2] < told(figure)[-1] / 5  # most of it is undone, and not all
    figure.get_by_role("button", name="no warp").click()
    check(np.eye(2), np.zeros(2))
    set_to(figure, zoom=1.25, turn=-70, shear=0.4)
    check(six(1.25, -70, 0.4), np.zeros(2))

    figure.locator(".handle").nth(1).focus()  # the middle shifts
    for key in ("Shift+ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    shift = np.array([-0.1, 1.0])
    check(six(1.25, -70, 0.4), shift)
    figure.locator(".handle").nth(0).focus()  # the corner zooms and turns, so that it comes to lie where it is put
    corner = middle - six(1.25, -70, 0.4) @ middle + shift
    page.keyboard.press("Shift+ArrowDown")
    assert told(figure)[6:8] == pytest.approx(corner + [1, 0], abs=6e-3)
    a, b, _, c, d, *_ = told(figure)
    assert np.linalg.det([[a, b], [c, d]]) > 0 and figure.locator("input.shear").input_value() == "0.4"


def test_mask_and_offsets_weigh_as_the_reference_does(shown, page):
    figure = shown("mask_and_offsets")
    scene, looks, logits = (constant("mask_and_offsets", name) for name in ("scene", "looks", "logits"))
    kernel = np.array([-1, 1, 1, 1, 1, -1, 1, -1, -1]) / 2
    rest = np.indices((3, 3)).reshape(2, 9).T + 2

    def check(way, tap):
        sigmoid = 1 / (1 + np.exp(-logits))
        shares = np.exp(logits) / np.exp(logits).sum()
        ones = np.ones(9)
        weights, mask = {
            "none": (kernel, ones),
            "sigmoid": (kernel, sigmoid),
            "twice": (kernel, 2 * sigmoid),
            "softmax": (ones, shares),
            "free": (ones, logits),
        }[way]
        offsets, masks = (np.broadcast_to(each.ravel(), (1, 5, 5, each.size)) for each in (looks - rest, mask))
        output = reference.deform_conv2d(scene[None, ..., None], offsets, weights.reshape(3, 3, 1, 1), mask=masks)
        counts, sees = weights[tap] * mask[tap], read(scene, looks[[tap]])[0]
        expected = [output[0, 2, 2, 0], logits[tap], counts, sees, counts * sees]
        assert told(figure) == pytest.approx(expected, abs=6e-4), way

    ways = ("none", "sigmoid", "twice", "softmax", "free")
    for way in ways:
        figure.locator(".how").select_option(way)
        check(way, 8)
    figure.locator(".handle").nth(7).focus()
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("ArrowUp")
    looks[7] -= [0.05, 0.5]
    set_to(figure, logit=1.7)
    logits[7] = 1.7
    for way in ways:
        figure.locator(".how").select_option(way)
        check(way, 7)
    set_to(figure, tap=2)
    check("free", 2)
