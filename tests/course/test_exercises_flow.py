"""Chapter 4's checks: the solution passes, each mistake is named, a stub is met with the fixed line."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from deformconv.course import exercises
from deformconv.course.exercises import flow


@pytest.fixture(autouse=True)
def no_window():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


def read_row(row, offsets):
    return map_coordinates(row, (np.arange(len(row)) + offsets)[None], order=1, mode="grid-constant")


def shrink_flow(height, width, zoom, centre):
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    return np.stack([(zoom - 1) * (rows - centre[0]), (zoom - 1) * (columns - centre[1])], axis=-1)


def warp_channels(image, offsets):
    """SciPy, channel by channel: a second way to the same numbers."""
    rows, columns = np.indices(image.shape[:2])
    warped = [
        map_coordinates(
            image[..., c],
            (rows + offsets[..., 2 * c], columns + offsets[..., 2 * c + 1]),
            order=1,
            mode="grid-constant",
        )
        for c in range(image.shape[2])
    ]
    return np.stack(warped, axis=-1)


def unscramble(received):
    """Number by number."""
    height, width, _ = received.shape
    sent = np.zeros_like(received)
    for place, number in enumerate(received.ravel()):
        axis, pixel = divmod(place, height * width)
        sent[pixel // width, pixel % width, axis] = number
    return sent


def is_faulty(pair):
    made = np.random.default_rng(4).normal(size=(3, 2, 5, 4))
    paired = pair(made)
    return any(
        paired[b, i, j, c, axis] != made[b, i, j, 2 * c + axis] for b, i, j, c, axis in np.ndindex(3, 2, 5, 2, 2)
    )


# number: (check, solution, the listed mistakes as functions of the reader's kind)
EXERCISES = {
    "4.1": (exercises.check_read_row, read_row, flow.ROW_MISTAKES),
    "4.2": (exercises.check_shrink_flow, shrink_flow, flow.SHRINK_MISTAKES),
    "4.3": (exercises.check_warp_channels, warp_channels, flow.CHANNELS_MISTAKES),
    "4.4": (exercises.check_unscramble, unscramble, flow.UNSCRAMBLE_MISTAKES),
    "4.5": (exercises.check_layout_test, is_faulty, ()),
}
MISTAKES = [(number, *mistake) for number, (*_, mistakes) in EXERCISES.items() for mistake in mistakes]


@pytest.mark.parametrize("number", EXERCISES)
def test_the_solution_passes(number, capsys):
    check, solution, _ = EXERCISES[number]
    assert check(solution)
    assert capsys.readouterr().out.startswith(f"Exercise {number}: correct, on ")


@pytest.mark.parametrize("number, wrong, message", MISTAKES)
def test_each_mistake_gets_its_own_message(number, wrong, message, capsys):
    assert not EXERCISES[number][0](wrong)
    assert capsys.readouterr().out == f"Exercise {number}: {message}\n"


def test_no_two_mistakes_share_a_message():
    said = [(number, message) for number, _, message in MISTAKES]
    said += [("4.5", message) for _, message in flow.LAYOUT_TEST_MISTAKES]
    assert len(set(said)) == len(said)
    assert all(sum(number == each for each, _ in said) >= 5 for number in EXERCISES)


def compares(size=(2, 3, 4, 6), change=lambda made: made):
    """A reader's test that compares with the right pairing, on too little."""

    def faulty(pair):
        made = change(np.random.default_rng(5).normal(size=size))
        return not np.array_equal(pair(made), np.stack([made[..., 0::2], made[..., 1::2]], axis=-1))

    return faulty


def only_one(index):
    def change(made):
        single = np.zeros_like(made)
        single[index] = 1
        return single

    return change


@pytest.mark.parametrize(
    "wrong, words",
    [
        (lambda pair: False, "no fault at all"),
        (compares(change=np.ones_like), "no fault at all"),
        (lambda pair: not is_faulty(pair), "wrong way round"),
        (lambda pair: True, "call right pairings faulty"),
        (compares(change=lambda made: made[:1, :1, :1] + np.zeros_like(made)), "same at every pixel"),
        (compares(change=only_one((0, 0, 0, 0))), "the very first number"),
        (compares(size=(2, 3, 4, 2)), "single channel"),
        (compares(size=(1, 3, 4, 6)), "one picture in the batch"),
        (compares(change=lambda made: np.repeat(made[..., ::2], 2, axis=-1)), "y and x exchanged"),
    ],
)
def test_a_test_that_sees_too_little_is_told_what_it_misses(wrong, words, capsys):
    assert not exercises.check_layout_test(wrong)
    out = capsys.readouterr().out
    assert out.startswith("Exercise 4.5: ") and words in out
    assert sum(message in out for _, message in flow.LAYOUT_TEST_MISTAKES) == 1


def test_a_test_that_misses_two_things_is_told_what_to_do(capsys):
    assert not exercises.check_layout_test(
        compares(size=(1, 3, 4, 6), change=lambda made: np.repeat(made[..., ::2], 2, -1))
    )
    assert "lets a faulty pairing through" in capsys.readouterr().out


def changed(offsets, order, flip=False):
    """Offsets whose axes height, width, channel and (y, x) are read in another order, by a reader who is wrong."""
    apart = offsets.reshape(*offsets.shape[:2], *(2, -1) if order[3] == 2 else (-1, 2)).transpose(order)
    return (apart[..., ::-1] if flip else apart).reshape(offsets.shape)


@pytest.mark.parametrize(
    "number, wrong, words",
    [
        ("4.1", lambda row, offsets: read_row(row, -offsets), "subtract"),
        (
            "4.1",
            lambda row, offsets: np.interp(np.arange(len(row)) + offsets, np.arange(len(row)), row),
            "goes on with the border pixel",
        ),
        ("4.2", lambda h, w, z, c: shrink_flow(h, w, z, c)[..., ::-1], "x comes before y"),
        ("4.3", lambda image, o: warp_channels(image, changed(o, (0, 1, 2, 3), flip=True)), "swap"),
        ("4.3", lambda image, o: warp_channels(image, changed(o, (0, 1, 3, 2))), "all y first"),
    ],
)
def test_a_slip_of_the_readers_own_making_is_named(number, wrong, words, capsys):
    assert not EXERCISES[number][0](wrong)
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("number", ["4.2", "4.3", "4.4"])
def test_a_wrong_array_is_drawn_beside_the_target(number):
    EXERCISES[number][0](EXERCISES[number][2][0][0])
    assert [ax.get_title() for ax in plt.gcf().axes] == ["yours", "the target"]


@pytest.mark.parametrize("number", EXERCISES)
def test_a_stub_is_met_with_one_fixed_line(number, capsys):
    def stub(*arguments):
        raise NotImplementedError

    assert not EXERCISES[number][0](stub)
    assert capsys.readouterr().out == (
        f"Exercise {number}: not solved yet. Replace the line that raises, and run the cell again.\n"
    )
