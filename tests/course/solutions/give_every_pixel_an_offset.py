"""Chapter 4's exercises, solved."""

import numpy as np
from scipy.ndimage import map_coordinates

from deformconv.course import exercises
from deformconv.course.exercises import give_every_pixel_an_offset as checks
from solutions.solved import Solved


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


def changed(offsets, order, flip=False):
    """Offsets whose axes height, width, channel and (y, x) are read in another order, by a reader who is wrong."""
    apart = offsets.reshape(*offsets.shape[:2], *(2, -1) if order[3] == 2 else (-1, 2)).transpose(order)
    return (apart[..., ::-1] if flip else apart).reshape(offsets.shape)


EXERCISES = {
    "4.1": Solved(
        exercises.check_read_row,
        read_row,
        checks.ROW_MISTAKES,
        slips=(
            (lambda row, offsets: read_row(row, -offsets), "subtract"),
            (
                lambda row, offsets: np.interp(np.arange(len(row)) + offsets, np.arange(len(row)), row),
                "goes on with the border pixel",
            ),
        ),
    ),
    "4.2": Solved(
        exercises.check_shrink_flow,
        shrink_flow,
        checks.SHRINK_MISTAKES,
        slips=((lambda h, w, z, c: shrink_flow(h, w, z, c)[..., ::-1], "x comes before y"),),
        draws=True,
    ),
    "4.3": Solved(
        exercises.check_warp_channels,
        warp_channels,
        checks.CHANNELS_MISTAKES,
        slips=(
            (lambda image, o: warp_channels(image, changed(o, (0, 1, 2, 3), flip=True)), "swap"),
            (lambda image, o: warp_channels(image, changed(o, (0, 1, 3, 2))), "all y first"),
        ),
        draws=True,
    ),
    "4.4": Solved(exercises.check_unscramble, unscramble, checks.UNSCRAMBLE_MISTAKES, draws=True),
    "4.5": Solved(
        exercises.check_layout_test,
        is_faulty,
        checks.LAYOUT_TEST_MISTAKES,
        slips=(
            (lambda pair: False, "no fault at all"),
            (compares(change=np.ones_like), "no fault at all"),
            (lambda pair: not is_faulty(pair), "wrong way round"),
            (lambda pair: True, "call right pairings faulty"),
            (compares(change=lambda made: made[:1, :1, :1] + np.zeros_like(made)), "same at every pixel"),
            (compares(change=only_one((0, 0, 0, 0))), "the very first number"),
            (compares(size=(2, 3, 4, 2)), "single channel"),
            (compares(size=(1, 3, 4, 6)), "one picture in the batch"),
            (compares(change=lambda made: np.repeat(made[..., ::2], 2, axis=-1)), "y and x exchanged"),
            (
                compares(size=(1, 3, 4, 6), change=lambda made: np.repeat(made[..., ::2], 2, -1)),
                "lets a faulty pairing through",
            ),
        ),
    ),
}
