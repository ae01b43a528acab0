"""Project 1's tasks: draw shapes, mean IoU, the deformable middle, an equal control, where taps look, along a bar."""

import keras
import matplotlib.pyplot as plt
import numpy as np

from deformconv import DeformableConv2D
from deformconv.course.exercises.checker import check
from deformconv.course.figures import answer_and_target, places_and_target

INSIDE = {
    "disc": lambda u, v: u**2 + v**2 <= 1,
    "ring": lambda u, v: (u**2 + v**2 <= 1) & (u**2 + v**2 >= 0.25),
    "cross": lambda u, v: (np.maximum(abs(u), abs(v)) <= 1) & (np.minimum(abs(u), abs(v)) <= 0.25),
    "bar": lambda u, v: (abs(u) <= 1) & (abs(v) <= 0.25),
}


def check_shape_mask(function) -> bool:
    """Task P1.1: `function(kind, middle, size, angle, image)` -> whether each pixel of `image` lies inside, `(h, w)`.

    `middle` is `(y, x)`, `size` `(length, breadth)`, `angle` in radians from x towards y, `image` `(h, w)`.
    """
    cases = [
        ("bar", (9.3, 17.2), (21.1, 13.4), 0.61, (20, 31)),
        ("cross", (13.7, 9.1), (15.3, 9.7), 2.2, (27, 19)),
        ("ring", (8.2, 13.6), (18.3, 11.2), 0.9, (18, 26)),
        ("disc", (11.4, 7.3), (9.9, 14.6), -0.4, (21, 17)),
    ]
    return check("P1.1", function, _shape_mask, cases, SHAPE_MISTAKES, draw=_draw)


def _draw(got, want):
    answer_and_target(got.astype(float), want.astype(float))
    plt.show()


def _shape_mask(kind, middle, size, angle, image, stretch_first=False, half=0.5):
    """The keywords make mistakes."""
    y, x = np.indices(image)
    y, x = y - middle[0], x - middle[1]
    length, breadth = half * np.array(size)
    if stretch_first:
        y, x = y / breadth, x / length
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    return INSIDE[kind](u, v) if stretch_first else INSIDE[kind](u / length, v / breadth)


SHAPE_MISTAKES = (
    (
        lambda kind, middle, size, angle, image: _shape_mask(kind, middle, size, 0, image),
        "your shape lies level: turn the coordinates by the angle.",
    ),
    (
        lambda kind, middle, size, angle, image: _shape_mask(kind, middle, size, -angle, image),
        "your shape is turned the wrong way: y points down, and the angle goes from x towards y.",
    ),
    (
        lambda kind, middle, size, angle, image: _shape_mask(kind, middle[::-1], size, angle, image),
        "y and x of the middle are swapped: it is (y, x).",
    ),
    (
        lambda kind, middle, size, angle, image: _shape_mask(kind, middle, size[::-1], angle, image),
        "length and breadth are swapped: u runs along the length.",
    ),
    (
        lambda *a: _shape_mask(*a, half=1),
        "your shape is twice too large: u and v are 1 at its ends, half a length from the middle.",
    ),
    (
        lambda *a: _shape_mask(*a, stretch_first=True),
        "you stretch along the picture's axes and then turn: turn first, the length lies along the shape.",
    ),
    (
        lambda kind, *rest: _shape_mask({"ring": "disc"}.get(kind, kind), *rest),
        "your ring has no hole: from its middle to half of its radius it is empty.",
    ),
    (
        lambda kind, *rest: _shape_mask({"cross": "bar"}.get(kind, kind), *rest),
        "your cross has one arm: the smaller of |u| and |v| decides, so that both arms count.",
    ),
)


def check_mean_iou(function) -> bool:
    """Task P1.2: `function(predicted, labels, classes)`, `(n, h, w)` both -> the mean over the classes, a number."""
    rng = np.random.default_rng(12)
    everywhere = rng.integers(4, size=(3, 5, 7))
    guess = np.where(rng.uniform(size=everywhere.shape) < 0.6, everywhere, rng.integers(4, size=everywhere.shape))
    guess[0] = everywhere[0]
    without = np.where(everywhere == 2, 1, everywhere), np.where(guess == 2, 0, guess)
    cases = [(guess, everywhere, 4), (without[1], without[0], 4)]
    return check("P1.2", function, _mean_iou, cases, IOU_MISTAKES)


def _iou(predicted, labels, classes, over="union"):
    """Of each class; not a number where neither has it. The keyword makes mistakes."""
    pairs = [(predicted == kind, labels == kind) for kind in range(classes)]
    both, one, other = np.array([((p & t).sum(), p.sum(), t.sum()) for p, t in pairs]).T.astype(float)
    below = {"union": one + other - both, "sum": one + other, "labels": other, "predicted": one}
    with np.errstate(invalid="ignore", divide="ignore"):
        return both / below[over]


def _mean_iou(*arguments, **options):
    return np.nanmean(_iou(*arguments, **options))


IOU_MISTAKES = (
    (lambda p, t, c: np.mean(p == t), "this is the share of pixels that are right. Count class by class."),
    (lambda *a: _mean_iou(*a, over="sum"), "the union counts the intersection once: subtract it from the sum."),
    (lambda *a: 2 * _mean_iou(*a, over="sum"), "this is the Dice score, twice the intersection over the sum."),
    (lambda *a: _mean_iou(*a, over="labels"), "you divide by the pixels of the labels alone: the union has both."),
    (lambda *a: _mean_iou(*a, over="predicted"), "you divide by the predicted pixels alone: the union has both."),
    (lambda *a: np.nanmean(_iou(*a)[1:]), "the background is a class, too: begin at 0."),
    (
        lambda p, t, c: np.mean([_mean_iou(*each, c) for each in zip(p, t, strict=True)]),
        "you take the mean over the pictures: count over all of them, then divide once.",
    ),
    (
        lambda *a: np.mean(np.nan_to_num(_iou(*a), nan=0.0)),
        "a class that neither has counts as 0 with you: leave it out of the mean.",
    ),
    (
        lambda *a: np.mean(np.nan_to_num(_iou(*a), nan=1.0)),
        "a class that neither has counts as 1 with you: leave it out of the mean.",
    ),
    (lambda *a: np.mean(_iou(*a)), "0 / 0 is not a number: leave out a class that neither has."),
)


def check_deformable_middle(function) -> bool:
    """Task P1.3: `function(width, name)` -> a layer: deformable, 3 x 3, same size out, ReLU."""
    cases = [(6, "middle_1"), (5, "middle_2")]
    mistakes = [(_described(wrong), message) for wrong, message in MIDDLE_MISTAKES]
    return check("P1.3", _described(function), _described(_middle), cases, mistakes)


def _middle(filters, name, kind=DeformableConv2D, size=3, **options):
    options = {"padding": "same", "activation": "relu", "data_format": "channels_last"} | options
    return kind(filters, size, name=name, **options)


def _described(function):
    """The layer as numbers: kind, size out, what it makes of a picture while its offsets are zero, name."""

    def described(width, name):
        layer = function(width, name)
        if layer is None:
            return None
        picture = np.random.default_rng(13).normal(size=(1, 7, 5, 2)).astype("float32")
        out = keras.ops.convert_to_numpy(layer(picture))
        facts = isinstance(layer, DeformableConv2D), *out.shape, out.min() < 0, getattr(layer, "modulated", False)
        return np.array([*facts, *layer.kernel_size, layer.name == name], "float64")

    return described


MIDDLE_MISTAKES = (
    (lambda *a: _middle(*a, kind=keras.layers.Conv2D), "this is a plain convolution: it has no offsets."),
    (lambda *a: _middle(*a, padding="valid"), 'the map has become smaller: `padding="same"` keeps its size.'),
    (lambda *a: _middle(*a, activation=None), "negative numbers come out: the ReLU is missing."),
    (lambda *a: _middle(*a, strides=2), "the map has become half as large: the middle has a stride of 1."),
    (lambda *a: _middle(*a, size=1), "the kernel is 1 x 1: the plain middle has 3 x 3, and so has the new one."),
    (lambda *a: _middle(*a, size=5), "the kernel is 5 x 5: the plain middle has 3 x 3, and so has the new one."),
    (
        lambda *a: _middle(*a, modulated=True),
        "a mask is one more change than we ask about: leave `modulated` as it is.",
    ),
    (lambda width, name: _middle(2 * width, name), "too many filters: one for each channel of `width`."),
    (lambda width, name: _middle(width, None), "the layer has another name: give it `name`."),
)


def check_control_width(function) -> bool:
    """Task P1.4: `function(inputs, width, depth)` -> (width of the control, its weights, the deformable weights).

    `depth` 3 x 3 convolutions in a row, the first with `inputs` channels in, all with `width` out.
    """
    return check("P1.4", function, _control, [(16, 24, 3), (5, 12, 2), (32, 20, 4)], CONTROL_MISTAKES)


def _chain(inputs, width, depth, deformed=False, biases=1, per_tap=2, offsets_of=None):
    """The weights of the chain; the keywords make mistakes."""
    total = 0
    for number in range(depth):
        channels = inputs if number == 0 else width
        total += 9 * channels * width + width
        if deformed and (offsets_of is None or number in offsets_of):
            total += (9 * channels + biases) * 9 * per_tap
    return total


def _control(inputs, width, depth, below=False, first=None, **options):
    want = _chain(inputs, width, depth, deformed=True, **options)
    wider = width
    while _chain(inputs, wider, depth) < want:
        wider += 1
    wider -= below and _chain(inputs, wider, depth) > want
    return np.array([wider, _chain(inputs, wider, depth), want])


CONTROL_MISTAKES = (
    (lambda *a: _control(*a, biases=0), "the offset convolution has a bias, too: one for each number that it makes."),
    (lambda *a: _control(*a, per_tap=1), "each tap needs two numbers, y and x."),
    (lambda *a: _control(*a, per_tap=3), "three numbers a tap would be with a mask: here it is y and x."),
    (lambda *a: _control(*a, offsets_of=(0,)), "each of the layers has an offset convolution, not only the first."),
    (
        lambda *a: _control(*a, below=True),
        "your control has fewer weights than what it is to control: it needs as many or more.",
    ),
    (
        lambda inputs, width, depth: _control(width, width, depth),
        "the first layer reads `inputs` channels, the others `width`.",
    ),
    (
        lambda *a: np.array([a[1], _chain(*a), _chain(*a, deformed=True)]),
        "your control is as wide as the deformable chain: then it has fewer weights.",
    ),
    (lambda *a: _control(*a)[[0, 2, 1]], "the width, then the control's weights, then those that it must reach."),
)


def check_tap_places(function) -> bool:
    """Task P1.5: `function(offsets, pixel, scale)`, `(18,)`, `(y, x)` of the map -> `(9, 2)` in the picture."""
    rng = np.random.default_rng(15)
    cases = [(rng.normal(size=18), (4, 7), 2), (rng.uniform(-3, 3, size=18), (0, 2), 4)]
    return check("P1.5", function, _tap_places, cases, TAP_MISTAKES, draw=_draw_places)


def _draw_places(got, want):
    places_and_target(got, want)
    plt.show()


def _tap_places(offsets, pixel, scale, half=0.5, taps=None, **_):
    """The keywords make mistakes."""
    taps = np.indices((3, 3)).reshape(2, 9).T - 1 if taps is None else taps
    return scale * (np.array(pixel) + taps + offsets.reshape(9, 2)) + half * (scale - 1)


TAP_MISTAKES = (
    (
        lambda *a: _tap_places(*a, half=0),
        "half a pixel is missing: the middle of map pixel 0 lies between the picture's first pixels.",
    ),
    (lambda o, p, s: _tap_places(o / s, p, s), "the offsets are in pixels of the map: scale them, too."),
    (
        lambda o, p, s: _tap_places(o.reshape(9, 2)[:, ::-1], p, s),
        "y and x of the offsets are swapped: each tap has y, then x.",
    ),
    (
        lambda o, p, s: _tap_places(o.reshape(2, 9).T, p, s),
        "you take the offsets as all y and then all x: each tap has its own two side by side.",
    ),
    (lambda o, p, s: _tap_places(0 * o, p, s), "these are the taps at rest: the offsets are missing."),
    (lambda *a: _tap_places(*a, taps=0), "an offset counts from its tap's place in the grid, not from the middle."),
    (
        lambda *a: _tap_places(*a, taps=np.indices((3, 3)).reshape(2, 9).T),
        "your taps lie to the right and below: the middle one of the nine belongs on the pixel.",
    ),
    (
        lambda *a: _tap_places(*a, taps=np.indices((3, 3)).reshape(2, 9).T[:, ::-1] - 1),
        "the taps go row by row; you count them column by column.",
    ),
    (lambda o, p, s: _tap_places(o, p, 1), "these are places on the map: the picture is `scale` times as large."),
)


def check_along_and_across(function) -> bool:
    """Task P1.6: `function(places, angle)`, `(n, 2)`, from x towards y -> standard deviations along and across, two."""
    rng = np.random.default_rng(16)
    cases = [(rng.normal(size=(9, 2)) * (1, 3) + 20, 0.5), (rng.normal(size=(7, 2)) * (2, 1) - 5, 2.1)]
    return check("P1.6", function, _spreads, cases, SPREADS_MISTAKES)


def _spreads(places, angle, spread=lambda values: values.std()):
    y, x = np.asarray(places).T
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    return np.array([spread(along), spread(across)])


SPREADS_MISTAKES = (
    (lambda *a: _spreads(*a)[::-1], "along first, then across."),
    (lambda p, a: _spreads(p, -a), "the angle has the wrong sign: it goes from x towards y, and y points down."),
    (lambda p, a: _spreads(p, 0), "you spread along x and y of the picture: turn them by the angle."),
    (lambda p, a: _spreads(p[:, ::-1], a), "y and x are swapped: places are (y, x)."),
    (lambda *a: _spreads(*a, np.var), "this is the variance: its root has the unit of the places."),
    (
        lambda *a: _spreads(*a, lambda values: np.sqrt(np.mean(values**2))),
        "you measure from the picture's corner: a spread is about the mean of the places.",
    ),
    (lambda *a: _spreads(*a, lambda values: values.std(ddof=1)), "divide by the number of places, as `np.std` does."),
    (lambda *a: _spreads(*a, np.ptp), "this is from the first to the last; we want the standard deviation."),
)
