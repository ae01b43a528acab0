"""Chapter 4's exercises: offsets along a row, a flow that shrinks, a flow per channel, the 2017 layout, a test."""

import matplotlib.pyplot as plt
import numpy as np

from deformconv import reference
from deformconv.course.exercises.checker import check
from deformconv.course.exercises.sample_between_pixels import VANISHES, WRAPS, _sample_points
from deformconv.course.figures import answer_and_target, flow_and_target


def check_read_row(function) -> bool:
    """Exercise 4.1: `function(row, offsets)`, `(n,)` both -> `(n,)`: the row at pixel plus offset, zero outside."""
    row = np.array([3.0, -1.0, 4.0, 1.5, 5.0])
    cases = [
        (row, np.array([0.75, 1.5, -0.25, -1.5, -2.1])),
        (row, np.array([1.0, 0.0, -2.0, 0.5, -1.0])),
        (row, np.array([-0.5, -2.25, 0.25, 0.5, -0.5])),
        (row, np.array([0.0, 9.0, 1.75, 1.0, 0.25])),
    ]
    return check("4.1", function, _true_row, cases, ROW_MISTAKES)


def _true_row(row, offsets):
    coords = np.stack([np.zeros(len(row)), np.arange(len(row)) + offsets], axis=-1)
    return reference.bilinear_sample(row[None, None, :, None], coords[None])[0, :, 0]


def _read_row(row, places, **options):
    coords = np.stack([np.zeros(len(row)), places], axis=-1)
    # Two equal rows, so that only the columns can go wrong.
    return _sample_points(np.stack([row, row])[..., None], coords, **options)[:, 0]


def _row_mistake(sign=1, **options):
    return lambda row, offsets: _read_row(row, np.arange(len(row)) + sign * offsets, **options)


def _send_row(row, offsets):
    """Puts each pixel where its offset points, instead of reading there."""
    sent = np.zeros(len(row))
    for pixel, place in enumerate(np.arange(len(row)) + offsets):
        for target in (int(np.floor(place)), int(np.floor(place)) + 1):
            if 0 <= target < len(row):
                sent[target] += (1 - abs(place - target)) * row[pixel]
    return sent


SUBTRACTED = "you subtract the offset: the value is read at the pixel's place *plus* its offset."
CLIPPED = "wrong border: yours goes on with the border pixel; here the outside is zero."

ROW_MISTAKES = (
    (_row_mistake(sign=-1), SUBTRACTED),
    (
        lambda row, offsets: _read_row(row, offsets),
        "you read at the offset itself: an offset counts from the pixel's own place.",
    ),
    (_send_row, "you send each value along its offset. A flow reads: the new value at p is the old one at p + offset."),
    (
        lambda row, offsets: _read_row(row, np.floor(np.arange(len(row)) + offsets + 0.5)),
        "you read the nearest pixel: between two pixels the value is a weighted mean.",
    ),
    (_row_mistake(high=np.ceil), VANISHES),
    (_row_mistake(border="wrap"), WRAPS),
    (_row_mistake(border="edge"), CLIPPED),
)


def check_shrink_flow(function) -> bool:
    """Exercise 4.2: `function(height, width, zoom, centre)` -> a flow `(height, width, 2)` that shrinks."""
    cases = [(5, 4, 2.0, (1.0, 2.5)), (3, 6, 0.5, (2.0, 1.0)), (4, 7, 1.5, (0.5, 3.0))]
    return check("4.2", function, _shrink, cases, SHRINK_MISTAKES, draw=_draw_flow)


def _draw_flow(got, want):
    flow_and_target(got, want)
    plt.show()


def _places(height, width):
    return np.moveaxis(np.indices((height, width)), 0, -1).astype("float64")


def _shrink(height, width, zoom, centre):
    return (zoom - 1) * (_places(height, width) - centre)


SHRINK_MISTAKES = (
    (lambda *a: _shrink(*a)[..., ::-1], "x comes before y: each pixel's offset is (y, x)."),
    (lambda h, w, z, c: _shrink(h, w, z, c[::-1]), "y and x of the centre are swapped: it is (y, x)."),
    (
        lambda h, w, z, c: _shrink(h, w, 2 - z, c),
        "the sign is wrong: to shrink the picture, each pixel looks further out.",
    ),
    (
        lambda h, w, z, c: _shrink(h, w, z, c) + _places(h, w),
        "these are the places where the pixels look. An offset is the place less the pixel itself.",
    ),
    (
        lambda h, w, z, c: _shrink(h, w, z + 1, c),
        "zoom times the distance is where a pixel looks, seen from the centre; its offset is how far it moves.",
    ),
    (
        lambda h, w, z, c: _shrink(h, w, z, (0.0, 0.0)),
        "the top left pixel stays where it is in yours: the pixel at `centre` should.",
    ),
    (
        lambda h, w, z, c: _shrink(h, w, z, ((h - 1) / 2, (w - 1) / 2)),
        "yours shrinks about the middle of the image: it should shrink about `centre`.",
    ),
    (
        lambda h, w, z, c: _shrink(h, w, z, c) / (np.array([h - 1, w - 1]) / 2),
        "your offsets are in units of half the image, as in some other libraries. Here they are in pixels.",
    ),
    (
        lambda h, w, z, c: _shrink(h, w, 1 / z, c),
        "yours enlarges: looking `zoom` times as far makes a picture smaller.",
    ),
)


def check_warp_channels(function) -> bool:
    """Exercise 4.3: `function(image, flow)`, `(h, w, c)`, `(h, w, 2c)` -> `(h, w, c)`, a flow for each channel."""
    rng = np.random.default_rng(43)
    cases = [
        # All samples inside; whole offsets; across the border.
        (rng.normal(size=(5, 4, 3)), _inside(rng, 5, 4, 3)),
        (rng.normal(size=(4, 6, 2)), np.round(2 * _inside(rng, 4, 6, 2)) / 2),
        (rng.normal(size=(3, 5, 2)), rng.uniform(-2.5, 2.5, size=(3, 5, 4))),
    ]
    return check("4.3", function, _warp_channels, cases, CHANNELS_MISTAKES, draw=_draw_first_channel)


def _inside(rng, height, width, channels):
    """Offsets `(h, w, 2c)` each of which leads to a place inside the image."""
    ends = rng.uniform([0, 0], [height - 1, width - 1], size=(channels, height, width, 2)) * 0.98
    return np.moveaxis(ends - _places(height, width), 0, 2).reshape(height, width, 2 * channels)


def _draw_first_channel(got, want):
    answer_and_target(got[..., 0], want[..., 0])
    plt.show()


def _paired(flow):
    """`(h, w, 2c)` -> `(c, h, w, 2)`, as the chapter does it."""
    return np.moveaxis(flow.reshape(*flow.shape[:2], -1, 2), 2, 0)


def _scrambled(flow):
    return np.moveaxis(flow, -1, 0).reshape(-1, *flow.shape[:2], 2)


def _blocked(flow):
    return np.moveaxis(flow.reshape(*flow.shape[:2], 2, -1), (3, 2), (0, 3))


def _of_the_first(flow):
    return np.repeat(_paired(flow)[:1], flow.shape[-1] // 2, axis=0)


def _warp_channels(image, flow, pair=_paired, sign=1, normalised=False, **options):
    height, width, channels = image.shape
    unit = np.array([height - 1, width - 1]) / 2 if normalised else 1
    warped = [
        _sample_points(image[..., c : c + 1], (_places(height, width) + sign * own * unit).reshape(-1, 2), **options)
        for c, own in zip(range(channels), pair(flow), strict=True)
    ]
    return np.concatenate(warped, axis=-1).reshape(image.shape)


def _channels_mistake(**options):
    return lambda image, flow: _warp_channels(image, flow, **options)


CHANNELS_MISTAKES = (
    (
        _channels_mistake(pair=lambda flow: _paired(flow)[..., ::-1]),
        "y and x are swapped: channel 2c of the flow is the y of channel c, channel 2c + 1 its x.",
    ),
    (_channels_mistake(sign=-1), SUBTRACTED),
    (
        _channels_mistake(pair=_scrambled),
        "this is the 2017 layout: channels to the front, then one reshape to pairs. It pairs neighbours on a row.",
    ),
    (
        _channels_mistake(pair=_blocked),
        "you take all y first, then all x. Here the two of a channel are neighbours: y, x, y, x, ...",
    ),
    (_channels_mistake(pair=_of_the_first), "every channel moves by the first channel's flow: each has its own."),
    (
        _channels_mistake(normalised=True),
        "you stretch the offsets by half the image, as if they ran from -1 to 1. They are in pixels already.",
    ),
    (_channels_mistake(high=np.ceil), VANISHES),
    (_channels_mistake(border="wrap"), WRAPS),
    (_channels_mistake(border="edge"), CLIPPED),
)


def check_unscramble(function) -> bool:
    """Exercise 4.4: `function(received)`, `(h, w, 2)` of the 2017 layout -> `(h, w, 2)`, what was sent."""
    rng = np.random.default_rng(44)
    cases = [(rng.normal(size=(*size, 2)),) for size in ((4, 6), (5, 4), (2, 3))]
    return check("4.4", function, _unscramble, cases, UNSCRAMBLE_MISTAKES, draw=_draw_first_channel)


def _unscramble(received):
    height, width, _ = received.shape
    return np.moveaxis(received.reshape(2, height, width), 0, -1)


UNSCRAMBLE_MISTAKES = (
    (lambda received: received, "nothing has changed: the numbers are still where they were received."),
    (
        lambda received: np.moveaxis(received, -1, 0).reshape(received.shape),
        "you have scrambled a second time: go the other way, reshape first and move the axis after.",
    ),
    (lambda received: _unscramble(received)[..., ::-1], "the places are right, but x comes before y."),
    (
        lambda received: received.reshape(2, *received.shape[1::-1]).T,
        "height and width are swapped: each of the two planes is (height, width).",
    ),
    (
        lambda received: received.reshape(received.shape[0], 2, received.shape[1]).swapaxes(1, 2),
        "you pair within each row; the two planes lie behind each other, all of y and then all of x.",
    ),
    (
        lambda received: np.moveaxis(received.reshape(2, *received.shape[:2], order="F"), 0, -1),
        "you take the numbers column by column: they lie row by row, NumPy's own order.",
    ),
)


def check_layout_test(function) -> bool:
    """Exercise 4.5: `function(pair)` -> whether `pair`, `(b, h, w, 2c)` -> `(b, h, w, c, 2)`, is faulty."""

    def knows(candidates):
        return np.array([pair not in RIGHT_PAIRS for pair in candidates], "float64")

    # Matches whatever the reader's test says, where no listed mistake does.
    anything_else = (
        function,
        "your test lets a faulty pairing through, or blames a right one. Take two or more of everything, "
        "no two alike, and look at every number.",
    )
    cases = [(RIGHT_PAIRS + FAULTY_PAIRS,), (FAULTY_PAIRS + RIGHT_PAIRS,)]
    mistakes = [(_verdicts(test), message) for test, message in (*LAYOUT_TEST_MISTAKES, anything_else)]
    return check("4.5", _verdicts(function), knows, cases, mistakes)


def _verdicts(test):
    """The test's verdict on each candidate, as numbers, which `check` compares; None where one is None."""

    def verdicts(candidates):
        said = [test(pair) for pair in candidates]
        return None if any(verdict is None for verdict in said) else np.array([bool(v) for v in said], "float64")

    return verdicts


def _by_reshape(made):
    return made.reshape(*made.shape[:3], -1, 2)


def _by_slices(made):
    return np.stack([made[..., ::2], made[..., 1::2]], axis=-1)


def _as_in_2017(made):
    batch, height, width, channels = made.shape
    folded = made.transpose(0, 3, 1, 2).reshape(batch, channels // 2, height, width, 2)
    return np.moveaxis(folded, 1, 3)


def _all_y_first(made):
    return np.swapaxes(made.reshape(*made.shape[:3], 2, -1), 3, 4)


def _x_first(made):
    return _by_reshape(made)[..., ::-1]


def _batch_mixed(made):
    """Channels and batch are folded together and taken apart in the other order."""
    batch, height, width, channels = made.shape
    folded = np.moveaxis(_by_reshape(made), 3, 0).reshape(batch, channels // 2, height, width, 2)
    return np.moveaxis(folded, 1, 3)


def _column_by_column(made):
    """The pixels are folded row by row and taken apart column by column."""
    batch, height, width, _ = made.shape
    return np.swapaxes(_by_reshape(made).reshape(batch, width, height, -1, 2), 1, 2)


def _channels_last_first(made):
    """The channels in reverse, each with its own y and x."""
    return _by_reshape(made)[..., ::-1, :]


RIGHT_PAIRS = (_by_reshape, _by_slices)
FAULTY_PAIRS = (_as_in_2017, _all_y_first, _x_first, _batch_mixed, _column_by_column, _channels_last_first)


def _finds(size=(2, 3, 4, 6), values=None):
    """A test that compares with the right pairing on one array of `size`."""

    def test(pair):
        made = np.arange(np.prod(size), dtype="float64").reshape(size)
        made = made if values is None else values(made)
        return not np.array_equal(pair(made), _by_reshape(made))

    return test


def _one_corner(made):
    corner = np.zeros_like(made)
    corner[0, 0, 0, 0] = 1
    return corner


LAYOUT_TEST_MISTAKES = (
    (
        _finds(values=np.zeros_like),
        "your test finds no fault at all. Zeros and equal offsets look right in any order: make each number different.",
    ),
    (
        lambda pair: not _finds()(pair),
        "your verdicts are the wrong way round: True means that the pairing is faulty.",
    ),
    (
        lambda pair: True,
        "you call right pairings faulty, too. The result is (b, h, w, c, 2): y and x of channel c are 2c and 2c + 1.",
    ),
    (
        _finds(values=lambda made: np.broadcast_to(np.arange(made.shape[-1]), made.shape).copy()),
        "your offsets are the same at every pixel, so you cannot see one that went to another pixel or picture.",
    ),
    (
        _finds(values=_one_corner),
        "you follow one offset only, the very first number, which many orders leave in place. Follow them all.",
    ),
    (
        _finds(size=(2, 3, 4, 2)),
        "with a single channel you cannot see channels that are exchanged: give the test two or more.",
    ),
    (
        _finds(size=(1, 3, 4, 6)),
        "with one picture in the batch you cannot see pictures that are mixed: give the test two or more.",
    ),
    (
        _finds(values=lambda made: made // 2),
        "you do not see y and x exchanged: give the two different values.",
    ),
)
