"""Chapter 9's exercises: the mask and its slope, one modulated pixel, softmax over taps, weights, channel orders."""

import matplotlib.pyplot as plt
import numpy as np

from deformconv import reference
from deformconv.course.exercises.checker import check
from deformconv.course.figures import answer_and_target


def check_mask_and_slope(function) -> bool:
    """Exercise 9.1: `function(logits)`, `(n,)` -> `(2, n)`: the mask 2 sigmoid(a), and its derivative by a."""
    cases = [(np.array([0.0, 1.0, -2.5]),), (np.array([-7.0, 0.5, 3.0, 0.0]),)]
    return check("9.1", function, _mask_and_slope, cases, MASK_MISTAKES)


def _sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def _mask_and_slope(logits):
    s = _sigmoid(logits)
    return np.stack([2 * s, 2 * s * (1 - s)])


def _from_mask(slope):
    def function(logits):
        mask = 2 * _sigmoid(logits)
        return np.stack([mask, slope(mask)])

    return function


MASK_MISTAKES = (
    (
        lambda z: _mask_and_slope(z) / 2,
        "this is the paper's plain sigmoid, which starts at 0.5. Ours is twice that, and so is its slope.",
    ),
    (_from_mask(lambda mask: mask * (1 - mask / 2) / 2), "the mask is right, its slope half of what it should be."),
    (
        _from_mask(lambda mask: mask * (1 - mask)),
        "s (1 - s) holds for s = sigmoid(a), not for the mask m = 2 s: the slope at 0 is not 0.",
    ),
    (lambda z: _mask_and_slope(z)[::-1], "the two rows are swapped: first the mask, then its slope."),
    (lambda z: _mask_and_slope(-z) * [[1], [-1]], "the sign of a is wrong: a larger logit gives a larger mask."),
    (
        lambda z: np.stack([2 * _sigmoid(2 * z), 4 * _sigmoid(2 * z) * (1 - _sigmoid(2 * z))]),
        "yours is sigmoid(2 a) doubled: the 2 stands in front of the sigmoid only.",
    ),
    (
        lambda z: np.stack([1 + _sigmoid(z) - 0.5, _sigmoid(z) * (1 - _sigmoid(z))]),
        "yours starts at 1 too, but it cannot reach 0: no tap could be switched off.",
    ),
)


def check_modulated_pixel(function) -> bool:
    """Exercise 9.2: `function(image, offsets, mask, kernel, row, column, offset_groups)` -> `(filters,)`."""
    rng = np.random.default_rng(92)
    cases = [
        (
            rng.normal(size=(6, 7, 4)),
            rng.uniform(-1.8, 1.8, size=(*size, groups * height * width * 2)),
            rng.uniform(0.1, 2, size=(*size, groups * height * width)),
            rng.normal(size=(height, width, 4, 3)),
            *pixel,
            groups,
        )
        for height, width, size, pixel, groups in (
            (3, 2, (4, 6), (2, 1), 2),
            (2, 3, (5, 5), (1, 4), 4),
            (3, 2, (4, 6), (0, 5), 1),
        )
    ]
    return check("9.2", function, _pixel, cases, PIXEL_MISTAKES)


def _pixel(image, offsets, mask, kernel, row, column, groups, weigh=None, orders=("ghwa", "ghw"), seen=None):
    """One output pixel. `orders`: the axes of the channels; `weigh`, `seen` change the masks and the offsets."""
    sizes = dict(zip("ghwa", (groups, *kernel.shape[:2], 2), strict=True))
    here = []
    for array, order in zip((offsets, mask), orders, strict=True):
        apart = array[row, column].reshape([sizes[axis] for axis in order])
        here.append(np.einsum(f"{order}->{'ghwa' if 'a' in order else 'ghw'}", apart))
    if seen:
        here[0] = seen(here[0], here[1])
    if weigh:
        here[1] = weigh(here[1])
    every, weights = np.zeros_like(offsets), np.zeros_like(mask)
    every[row, column], weights[row, column] = (part.ravel() for part in here)
    outputs = reference.deform_conv2d(image[None], every[None], kernel, mask=weights[None])
    return outputs[0, row, column]


def _pixel_mistake(**options):
    return lambda *arguments: _pixel(*arguments, **options)


def _of_the_first_group(array):
    return np.broadcast_to(array[:1], array.shape)


PIXEL_MISTAKES = (
    (_pixel_mistake(weigh=np.ones_like), "the mask has no effect in yours."),
    (
        _pixel_mistake(weigh=_of_the_first_group),
        "every group uses the first group's mask: group g owns channels g * taps to (g + 1) * taps of it.",
    ),
    (
        _pixel_mistake(seen=lambda offsets, mask: _of_the_first_group(offsets)),
        "every group looks where the first one looks: each has offsets of its own.",
    ),
    (_pixel_mistake(orders=("ghwa", "hwg")), "the group is the outermost of the mask's channel axes, then the tap."),
    (_pixel_mistake(orders=("ghwa", "gwh")), "the mask's taps go row by row; you read them column by column."),
    (_pixel_mistake(seen=lambda offsets, mask: offsets[..., ::-1]), "y and x of the offsets are swapped."),
    (
        _pixel_mistake(seen=lambda offsets, mask: offsets * mask[..., None]),
        "the mask multiplies the offsets in yours: it weighs what a tap reads, not where it looks.",
    ),
    (
        _pixel_mistake(weigh=lambda mask: 2 * _sigmoid(mask)),
        "you put the mask through a sigmoid: `mask` holds factors already, not logits.",
    ),
    (
        _pixel_mistake(weigh=lambda mask: mask / mask.sum(axis=(1, 2), keepdims=True)),
        "you divide by the sum of the masks. That is v3's business; here they need not add up to 1.",
    ),
)


def check_softmax_over_taps(function) -> bool:
    """Exercise 9.3: `function(logits, groups)`, `(b, h, w, groups * taps)` -> weights of the same shape."""
    rng = np.random.default_rng(93)
    cases = [
        (rng.normal(scale=1.5, size=(2, 3, 2, 12)), 2),
        (rng.normal(size=(1, 2, 4, 12)), 3),
        # Where exp overflows.
        (rng.normal(size=(1, 2, 3, 6)) + 1000, 1),
    ]
    return check("9.3", function, _softmax, cases, SOFTMAX_MISTAKES, draw=_draw_rows)


def _draw_rows(got, want):
    answer_and_target(got.reshape(-1, got.shape[-1]), want.reshape(-1, want.shape[-1]))
    plt.show()


def _softmax(logits, groups, axes=(-1,), outer="group", stable=True):
    """Shares that add up to one over `axes` of (b, h, w, group, tap), or of (b, h, w, tap, group) if so split."""
    sizes = (groups, -1) if outer == "group" else (-1, groups)
    apart = logits.reshape(*logits.shape[:3], *sizes)
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow is one of the mistakes
        shares = np.exp(apart - (apart.max(axis=axes, keepdims=True) if stable else 0))
        return (shares / shares.sum(axis=axes, keepdims=True)).reshape(logits.shape)


SOFTMAX_MISTAKES = (
    (
        lambda z, g: _softmax(z, g, axes=(-2, -1)),
        "your weights add up to 1 over all groups together: each has its own.",
    ),
    (
        lambda z, g: _softmax(z, g, axes=(-2,)),
        "you take the softmax over the groups; it goes over the taps of a group.",
    ),
    (
        lambda z, g: _softmax(z, g, axes=(-2,), outer="tap"),
        "you split the channels as (taps, groups): the group is the outer one, (groups, taps).",
    ),
    (lambda z, g: _softmax(z, g, axes=(1, 2)), "your weights add up to 1 over the image: each pixel has its own nine."),
    (
        lambda z, g: _softmax(z, g, stable=False),
        "exp overflows for large logits: subtract the largest of each group first.",
    ),
    (lambda z, g: 2 * _sigmoid(z), "this is v2's mask: it weighs each tap by itself, and the sum may be anything."),
    (
        lambda z, g: (lambda a: (a / a.sum(-1, keepdims=True)).reshape(z.shape))(z.reshape(*z.shape[:3], g, -1)),
        "you divide by the sum without the exponential: negative logits make weights below 0.",
    ),
)


def check_count_weights(function) -> bool:
    """Exercise 9.4: `function(kernel_size, channels, groups)` -> weights of v1, v2, v3 and v4, `(4,)`."""
    cases = [((3, 3), 64, 4), ((3, 2), 12, 3), ((1, 5), 30, 2)]
    return check("9.4", function, _count, cases, COUNT_MISTAKES)


def _count(kernel_size, channels, groups, biases=1, eight=True, norm=1, depthwise=1, per_group=True, places=None):
    """The keywords leave something out, or count it wrongly."""
    taps = kernel_size[0] * kernel_size[1]
    outer = groups if per_group else 1
    places = taps if places is None else places
    kernel = taps * channels * channels + biases * channels
    dense = channels * channels + biases * channels

    def makes(numbers, seen):
        return (seen * channels + biases) * numbers * outer * taps

    packed = 3 * outer * taps
    packed = -(-packed // 8) * 8 if eight else packed
    v3 = 2 * dense + depthwise * taps * channels + biases * channels + 2 * norm * channels + makes(3, 1)
    return np.array(
        [kernel + makes(2, places), kernel + makes(3, places), v3, 2 * dense + (channels + biases) * packed]
    )


COUNT_MISTAKES = (
    (lambda *a: _count(*a, biases=0), "each of the layers has biases, too."),
    (lambda *a: _count(*a, eight=False), "v4 fills its one tensor up to a multiple of 8 channels."),
    (lambda *a: _count(*a, norm=0), "v3's layer normalisation has a scale and a shift for each channel."),
    (
        lambda k, c, g: _count(k, c, g, depthwise=c),
        "v3's depthwise convolution has one filter for each channel, which sees that channel only.",
    ),
    (lambda *a: _count(*a, per_group=False), "each group has offsets and a mask of its own."),
    (
        lambda *a: _count(*a, places=1),
        "v1 and v2 make their offsets by a convolution, whose kernel has kh * kw places; v3 and v4 by a dense layer.",
    ),
    (lambda k, c, g: _count((k[0], k[0]), c, g), "the kernel need not be square: kh * kw taps."),
)


def check_read_foreign(function) -> bool:
    """Exercise 9.5: `function(made, taps, groups, order)` -> our channels, offsets and then mask logits."""
    rng = np.random.default_rng(95)
    cases = [
        (rng.normal(size=(2, 3, 1, 3 * taps * groups)), taps, groups, order)
        for taps, groups in ((6, 2), (4, 3))
        for order in ("chunks", "blocks")
    ]
    return check("9.5", function, _foreign(), cases, FOREIGN_MISTAKES)


def _foreign(chunks="gta", blocks="agt", flip=True, mask="gt", front=False):
    """A reading of both orders; the letters are the channel axes, group, tap and (y, x), from the outermost."""

    def function(made, taps, groups, order):
        sizes = {"g": groups, "t": taps, "a": 2}
        cut = taps * groups
        offsets, logits = (made[..., cut:], made[..., :cut]) if front else (made[..., : 2 * cut], made[..., 2 * cut :])
        stored = chunks if order == "chunks" else blocks
        apart = offsets.reshape(*made.shape[:3], *(sizes[axis] for axis in stored))
        if flip and order == "blocks":
            apart = np.flip(apart, 3 + stored.index("a"))
        apart = np.einsum(f"bij{stored}->bijgta", apart).reshape(*made.shape[:3], -1)
        logits = np.einsum(f"bij{mask}->bijgt", logits.reshape(*made.shape[:3], *(sizes[axis] for axis in mask)))
        return np.concatenate([apart, logits.reshape(*made.shape[:3], -1)], axis=-1)

    return function


def _group_by_group(made, taps, groups, order):
    """As if each group had its offsets and its logits side by side, like DCNv4's."""
    parts = made.reshape(*made.shape[:3], groups, 3 * taps)
    return np.concatenate([part.reshape(*made.shape[:3], -1) for part in np.split(parts, [2 * taps], axis=-1)], axis=-1)


FOREIGN_MISTAKES = (
    (
        _foreign(chunks="agt"),
        '"chunks": o1 and o2 are not y and x. The operator reads them as one tensor of (y, x) pairs, like ours.',
    ),
    (
        lambda made, *rest: made,
        '"blocks": nothing has moved. There, the first block is the x of every tap; ours are pairs of (y, x).',
    ),
    (_foreign(flip=False), '"blocks": the first block is x. Our pairs are (y, x).'),
    (_foreign(blocks="gta"), '"blocks" stores all x, then all y: the two of a tap are not neighbours there.'),
    (_foreign(blocks="gat"), '"blocks": x and y are the outermost axis, outside the group.'),
    (_foreign(blocks="atg"), '"blocks": within a block the group is outside, the tap inside.'),
    (_foreign(front=True), "the logits of the mask come last in both orders, not first."),
    (_foreign(mask="tg"), "the mask's channels need no reordering: group, then tap, as ours."),
    (_group_by_group, "first the offsets of all groups, then the logits of all: the groups are not side by side."),
)
