"""Chapter 5's exercises: offsets that zoom, equation 2 by loops, a foreign channel order, offset groups."""

import numpy as np

from deformconv import reference
from deformconv.course.exercises.checker import check


def check_zoom_offsets(function) -> bool:
    """Exercise 5.1: `function(kernel_size, zoom)` -> offsets `(kh * kw * 2,)` that zoom a kernel about its middle."""
    cases = (((3, 2), 2.0), ((1, 4), 0.5), ((5, 3), 1.5))
    return check("5.1", function, lambda *a: _zoom(*a).ravel(), cases, ZOOM_MISTAKES)


def _zoom(kernel_size, zoom):
    """`(kh, kw, 2)`"""
    middle = (np.array(kernel_size) - 1) / 2
    return (np.moveaxis(np.indices(kernel_size), 0, 2) - middle) * (zoom - 1)


def _zoom_about_corner(kernel_size, zoom):
    return (np.moveaxis(np.indices(kernel_size), 0, 2) * (zoom - 1)).ravel()


ZOOM_MISTAKES = (
    (lambda *a: _zoom(*a)[..., ::-1].ravel(), "x comes before y: each tap's offset is (y, x)."),
    (lambda *a: _zoom(*a).swapaxes(0, 1).ravel(), "your taps run column by column: they go row by row."),
    (lambda *a: np.moveaxis(_zoom(*a), 2, 0).ravel(), "first all y, then all x: keep each tap's (y, x) together."),
    (lambda k, z: _zoom(k, z + 1).ravel(), "zoom times p_n is where a tap lands; its offset is how far it moves."),
    (lambda k, z: _zoom(k, 2 - z).ravel(), "the sign is wrong: a zoom above 1 moves the taps outwards."),
    (_zoom_about_corner, "the top left tap should move too: the middle is ((kh - 1) / 2, (kw - 1) / 2)."),
)


def check_output_pixel(function) -> bool:
    """Exercise 5.2: `function(image, offsets, kernel, row, column, strides, dilation_rate)` -> `(filters,)`."""
    return check("5.2", function, _pixel, _pixel_cases(), PIXEL_MISTAKES)


def _pixel_cases():
    rng = np.random.default_rng(52)
    cases = []
    # (row, column), strides, dilation, size of the output
    for pixel, strides, dilation, size in (
        ((1, 2), (2, 1), (1, 1), (3, 7)),
        ((2, 1), (1, 1), (1, 2), (5, 6)),
        ((0, 3), (1, 2), (2, 1), (3, 4)),  # the top right corner, so its taps reach over the border
    ):
        image, kernel = rng.normal(size=(7, 8, 2)), rng.normal(size=(3, 2, 2, 4))
        cases.append((image, rng.uniform(-2.5, 2.5, size=(*size, 12)), kernel, *pixel, strides, dilation))
    return cases


def _pixel(image, offsets, kernel, row, column, strides, dilation_rate, padding="zeros", shift=0, seen=None, order="C"):
    """One output pixel. The keywords make mistakes: `seen` changes an offset, `order` that of the taps."""
    output = 0
    for i, j in np.ndindex(kernel.shape[:2]):
        tap = np.ravel_multi_index((i, j), kernel.shape[:2], order=order)
        offset = offsets[row, column, 2 * tap : 2 * tap + 2]
        offset = seen(offset, dilation_rate) if seen else offset
        place = np.array([row, column]) * strides + np.array([i, j]) * dilation_rate + offset + shift
        output += reference.bilinear_sample(image[None], place[None, None], padding=padding)[0, 0] @ kernel[i, j]
    return output


def _rounded(offset, dilation_rate):
    return np.round(offset)


PIXEL_MISTAKES = (
    (
        lambda *a: _pixel(*a, seen=lambda offset, dilation: offset[::-1]),
        "y and x of the offsets are swapped: each pair is (y, x).",
    ),
    (lambda *a: _pixel(*a, order="F"), "the offsets' taps go row by row; you read them column by column."),
    (
        lambda *a: _pixel(*a[:5], (1, 1), a[6]),
        "the stride is missing: output pixel (row, column) begins at row * stride.",
    ),
    (lambda *a: _pixel(*a[:5], a[5][::-1], a[6]), "the two strides are swapped: (y, x)."),
    (lambda *a: _pixel(*a[:6], (1, 1)), "the dilation is missing: taps rest `dilation_rate` pixels apart."),
    (
        lambda *a: _pixel(*a, seen=lambda offset, dilation: offset * dilation),
        "dilation spreads the taps, not their offsets, which are in pixels already.",
    ),
    (lambda *a: _pixel(*a, padding="edge"), "wrong border: outside the image is zero, not the nearest pixel."),
    (
        lambda *a: _pixel(*a, shift=-1),
        "off by one: without padding, tap (0, 0) of output pixel (0, 0) rests at (0, 0).",
    ),
    (lambda *a: _pixel(*a, seen=_rounded), "you read the nearest pixel: a sample between pixels is a mean of four."),
    (
        lambda image, *rest: _pixel(np.swapaxes(image, 0, 1), *rest),
        "height and width of the image are swapped: its axes are (y, x, channel).",
    ),
)


def check_from_xy_columns(function) -> bool:
    """Exercise 5.3: `function(offsets, kernel_size, offset_groups)` -> the offsets in this book's channel order."""
    rng = np.random.default_rng(53)
    cases = [
        (rng.normal(size=(2, 1, 3, 2 * height * width * groups)), (height, width), groups)
        for height, width, groups in ((3, 2, 1), (3, 2, 2), (1, 4, 3))
    ]
    return check("5.3", function, _reorder(), cases, ORDER_MISTAKES)


def _reorder(stored="gwha", wanted="ghwa", flip=True):
    """A reordering of offset channels: their axes group, width, height and (x, y), by letter, before and after."""

    def function(offsets, kernel_size, offset_groups):
        sizes = {"g": offset_groups, "h": kernel_size[0], "w": kernel_size[1], "a": 2}
        apart = offsets.reshape(*offsets.shape[:3], *(sizes[axis] for axis in stored))
        if flip:
            apart = np.flip(apart, 3 + stored.index("a"))
        return np.einsum(f"bij{stored}->bij{wanted}", apart).reshape(offsets.shape)

    return function


ORDER_MISTAKES = (
    (_reorder(flip=False), "the taps are right, but each pair is still (x, y)."),
    (_reorder("ghwa"), "y and x are right, but the taps still go column by column."),
    (
        _reorder("ghwa", "gwha"),
        "height and width are swapped: where taps go column by column, the column is the outer axis, (kw, kh).",
    ),
    (_reorder("whga"), "the offset group is the outermost of the channel axes, not an inner one."),
    (_reorder("gawh"), "each tap's x and y are neighbours: (x, y) is the innermost axis."),
)


def check_offset_groups(function) -> bool:
    """Exercise 5.4: `function(images, offsets, kernel, offset_groups)` -> a convolution with offset groups."""
    rng = np.random.default_rng(54)
    cases = [
        (
            rng.normal(size=(2, 5, 4, channels)),
            rng.uniform(-1.5, 1.5, size=(2, 3, 3, 12 * groups)),
            rng.normal(size=(3, 2, channels, 3)),
            groups,
        )
        for channels, groups in ((4, 2), (6, 3))
    ]
    return check("5.4", function, lambda x, o, k, g: reference.deform_conv2d(x, o, k), cases, GROUP_MISTAKES)


def _side_by_side(size, groups, group):
    share = size // groups
    return slice(group * share, (group + 1) * share)


def _every_other(size, groups, group):
    return slice(group, None, groups)


def _first(size, groups, group):
    return slice(0, size // groups)


def _groups(own=_side_by_side, own_offsets=_side_by_side, own_weights=None, summed=None):
    """A sum of one convolution a group; each argument is a way to slice, and most are wrong."""

    def function(images, offsets, kernel, groups):
        channels = images.shape[-1]
        return sum(
            reference.deform_conv2d(
                images[..., own(channels, groups, group)],
                offsets[..., own_offsets(offsets.shape[-1], groups, group)],
                kernel[:, :, (own_weights or own)(channels, groups, group)],
            )
            for group in range(summed or groups)
        )

    return function


GROUP_MISTAKES = (
    (_groups(own=_every_other), "an offset group owns channels side by side, not every other one."),
    (_groups(own_offsets=_every_other), "a group's offsets lie side by side: the group is their outermost axis."),
    (_groups(own_offsets=_first), "every group uses the first group's offsets."),
    (_groups(own=_first, own_weights=_side_by_side), "every group reads the first group's channels."),
    (_groups(own_weights=_first), "every group uses the first channels' weights: slice axis 2 of the kernel too."),
    (_groups(summed=1), "only the first group is in your result: add up all of them."),
    (lambda *a: _groups()(*a) / a[3], "the groups' results are summed, not averaged."),
)
