"""The drawings of chapter 10: boxes on pictures, their bins at rest and moved, what is read in each.

Boxes are edges `(y1, x1, y2, x2)`: pixel `k` reaches from `k` to `k + 1`. Images are drawn with their centres at
integers, so everything that lies on one is drawn half a pixel further up and left.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects
from matplotlib.patches import Rectangle

from deformconv import reference
from deformconv.course.figures.house_style import BLACK, BLUE, GRAY, ORANGE, SKY, VERMILION, show_image, style

_RIM = [patheffects.withStroke(linewidth=3, foreground=BLACK)]


def boxes_on_pictures(pictures, exact, rough):
    """Pictures `(n, h, w)` side by side, their boxes `(n, boxes, 4)` as they are and as they are known."""
    with style():
        fig, axes = plt.subplots(1, len(pictures), figsize=(8.4, 3.1), squeeze=False)
        seen = [(0, 0, *pictures[0].shape[:2]), *np.concatenate(rough)]  # as much of each, so that all have one scale
        for ax, picture, boxes, guesses in zip(axes[0], pictures, exact, rough, strict=True):
            show_image(ax, np.asarray(picture))
            for box in boxes:
                _box(ax, box, SKY, "-")
            for box in guesses:
                _box(ax, box, ORANGE, "--")
            _see(ax, seen)
        looks = [plt.Line2D([], [], color=SKY), plt.Line2D([], [], color=ORANGE, ls="--")]
        fig.legend(looks, ["where the digit is", "what we are told"], loc="outside lower center", ncols=2)
        return fig


def interval_bins(row, start, end, bins, samples, places, curves):
    """A row of pixels with the bins of an interval on it, and the value of one bin while the interval moves.

    Args:
        row: the pixels' values `(n,)`; pixel `k` reaches from `k` to `k + 1`.
        start, end: the interval's ends.
        bins, samples: number of bins, and of points in each.
        places: starts of the moved intervals, for the right panel.
        curves: `{label: values at places}`, two of them.
    """
    step = (end - start) / bins
    points = start + (np.arange(bins * samples) + 0.5) * step / samples
    first, last = np.floor(start + 0.5), np.floor(end + 0.5)
    with style():
        fig, (left, right) = plt.subplots(2, 1, figsize=(7.2, 5.0), height_ratios=(1, 1.5))
        left.imshow(np.asarray(row)[None], extent=(0, len(row), 0, 1), vmin=0, vmax=max(row), aspect="auto")
        for pixel, value in enumerate(row):
            colour = "white" if value < max(row) / 2 else BLACK
            left.text(pixel + 0.5, 0.5, f"{value:g}", ha="center", va="center_baseline", color=colour)
        for height, ends, colour, name in (
            (1.45, start + step * np.arange(bins + 1), BLUE, "as it is"),
            (-0.35, np.linspace(first, last, bins + 1), VERMILION, "rounded"),
        ):
            left.plot([ends[0], ends[-1]], [height, height], color=colour, clip_on=False)
            left.vlines(ends, height - 0.16, height + 0.16, color=colour, lw=2)
            left.text(ends[-1] + 0.15, height, name, color=colour, va="center_baseline")
        left.plot(points, np.full(len(points), 1.45), "o", ms=6, mfc="white", mec=BLUE)
        left.set(xlim=(0, len(row)), ylim=(-0.7, 1.8), yticks=[], xticks=range(len(row) + 1))
        left.set_xlabel("edges of the pixels")
        left.spines[:].set_visible(False)
        looks = ((VERMILION, "--"), (BLUE, "-"))
        for (label, values), (colour, dashes) in zip(curves.items(), looks, strict=True):
            right.plot(places, values, color=colour, ls=dashes, label=label)
        right.set(xlabel="start of the interval", ylabel="mean in its first bin")
        right.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
        return fig


def pool_explorer(image, box, bins, samples=2):
    """A box `(y1, x1, y2, x2)` on an image `(h, w)`: its bins and points, and what they hold, rounded and as it is."""
    image, box = np.asarray(image, "float64"), np.asarray(box, "float64")
    whole = np.floor(box + 0.5)
    whole[2:] = np.maximum(whole[2:], whole[:2] + 1)
    aligned = reference.deform_roi_pool2d(
        image[None, ..., None], box[None, None], output_size=bins, sampling_ratio=samples
    )[0, 0, ..., 0]
    with style():
        fig, (left, middle, right) = plt.subplots(1, 3, figsize=(8.6, 3.6), width_ratios=(2.3, 1, 1))
        show_image(left, image, "dashed: rounded; solid: as it is")
        _box(left, whole, ORANGE, "--")
        _box(left, box, SKY, "-")
        points = sample_points(box, bins, samples=samples).reshape(-1, 2) - 0.5
        left.plot(points[:, 1], points[:, 0], "o", ms=4, mfc=SKY, mec=BLACK, mew=0.6)
        _see(left, [(0, 0, *image.shape), box, whole])
        white = max(1.0, image.max())
        for ax, values, title in (
            (middle, rounded_means(image, box, bins), "rounded"),
            (right, aligned, "as it is"),
        ):
            ax.imshow(values, vmin=0, vmax=white)
            for (i, j), value in np.ndenumerate(values):
                colour = "white" if value < white / 2 else BLACK
                ax.text(j, i, f"{value:.2f}", ha="center", va="center_baseline", color=colour, fontsize=9)
            ax.set(title=title, xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        return fig


def rounded_means(image, box, bins):
    """The mean of an image `(h, w)` over the bins of a box, box and bins rounded to whole pixels: `bins`."""
    first = np.floor(np.asarray(box[:2]) + 0.5)
    size = np.maximum(np.floor(np.asarray(box[2:]) + 0.5) - first, 1)
    means = np.zeros(bins)
    for place in np.ndindex(*bins):
        low = np.floor(first + place * size / bins).astype(int)
        high = np.ceil(first + (np.array(place) + 1) * size / bins).astype(int)
        inside = image[max(low[0], 0) : max(high[0], 0), max(low[1], 0) : max(high[1], 0)]
        means[place] = inside.mean() if inside.size else 0
    return means


def sample_points(box, bins, offsets=None, samples=2):
    """Where the bins of a box look: `(*bins, samples, samples, 2)`. Offsets `(*bins, 2)` are fractions of the box."""
    box = np.asarray(box, "float64")
    inner = np.stack(np.meshgrid(*[(np.arange(samples) + 0.5) / samples] * 2, indexing="ij"), axis=-1)
    corners = np.moveaxis(np.indices(bins), 0, -1)[:, :, None, None]
    fractions = (corners + inner) / bins
    if offsets is not None:
        fractions = fractions + np.asarray(offsets)[:, :, None, None]
    return box[:2] + fractions * (box[2:] - box[:2])


def bin_corners(box, bins, offsets=None):
    """The edges `(*bins, 4)` of the bins of a box, moved by offsets `(*bins, 2)`, fractions of the box."""
    box = np.asarray(box, "float64")
    middle = sample_points(box, bins, offsets, samples=1)[:, :, 0, 0]
    half = (box[2:] - box[:2]) / bins / 2
    return np.concatenate([middle - half, middle + half], axis=-1)


def ink_inside(picture, digit, box, bins, offsets=None):
    """The share of a digit's ink that lies in at least one bin: `digit` and `box` are edges on a picture `(h, w)`."""
    y, x = np.indices(picture.shape) + 0.5
    own = picture * _within(digit, y, x)
    edges = bin_corners(box, bins, offsets).reshape(-1, 4)
    return float((own * np.any([_within(each, y, x) for each in edges], axis=0)).sum() / own.sum())


def _within(box, y, x):
    return (y >= box[0]) & (y < box[2]) & (x >= box[1]) & (x < box[3])


def bins_on_digits(panels, bins):
    """Bins at rest (above) and moved (below): `panels` of `(picture, digit, box, offsets)`, offsets as fractions."""
    with style():
        fig, axes = plt.subplots(2, len(panels), figsize=(8.4, 6.0), squeeze=False)
        for column, (picture, digit, box, offsets) in zip(axes.T, panels, strict=True):
            reach = 0.85 * max(box[2] - box[0], box[3] - box[1], digit[2] - digit[0]) + 1
            middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
            for ax, moves, word in zip(column, (None, offsets), ("at rest", "moved"), strict=True):
                share = ink_inside(picture, digit, box, bins, moves)
                show_image(ax, np.asarray(picture), f"{word}: {share:.0%} of the ink")
                ax.set_facecolor("#444444")  # outside the picture
                edges = bin_corners(box, bins, moves).reshape(-1, 4)
                for each in edges:
                    _box(ax, each, SKY, "-", width=1)
                _box(ax, digit, "white", ":", width=1.5)
                _box(ax, box, ORANGE, "--")
                places = (edges[:, :2] + edges[:, 2:]) / 2 - 0.5
                ax.plot(places[:, 1], places[:, 0], "o", ms=5, mfc=SKY, mec=BLACK, mew=0.8)
                ax.set_xlim(middle[1] - reach - 0.5, middle[1] + reach - 0.5)
                ax.set_ylim(middle[0] + reach - 0.5, middle[0] - reach - 0.5)
        looks = {
            "where the digit is": {"color": "white", "ls": ":", "path_effects": _RIM},
            "what we are told": {"color": ORANGE, "ls": "--"},
            "its bins, and their middles": {"color": SKY, "lw": 1, "marker": "o", "mec": BLACK},
        }
        handles = [plt.Line2D([], [], **look) for look in looks.values()]
        fig.legend(handles, looks.keys(), loc="outside lower center", ncols=3)
        return fig


def shifts_found(wanted, found):
    """How far each box is off, `(n, 2)`, against how far its bins move on average, `(n, 2)`; fractions of the box."""
    wanted, found = np.asarray(wanted), np.asarray(found)
    reach = 1.05 * max(np.abs(wanted).max(), np.abs(found).max())
    with style():
        fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.8), sharex=True, sharey=True)
        for axis, (ax, name) in enumerate(zip(axes, ("y", "x"), strict=True)):
            ax.axline((0, 0), slope=1, color=GRAY, lw=1, ls="--")
            ax.plot(wanted[:, axis], found[:, axis], ".", color=BLUE, ms=3, alpha=0.6)
            alike = np.corrcoef(wanted[:, axis], found[:, axis])[0, 1]
            ax.set(title=f"along {name}: correlation {alike:.2f}", xlabel="the digit lies off the box by")
            ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        axes[0].set_ylabel("the bins move by, on average")
        return fig


def _box(ax, box, colour, dashes, width=2):
    y1, x1, y2, x2 = (float(edge) - 0.5 for edge in box)
    ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=colour, ls=dashes, lw=width, path_effects=_RIM))


def _see(ax, boxes):
    """Shows as much as holds all the boxes; what lies outside of the picture is grey."""
    boxes = np.asarray([np.asarray(box, "float64") for box in boxes])
    (top, left), (bottom, right) = boxes[:, :2].min(axis=0) - 1, boxes[:, 2:].max(axis=0)
    ax.set_facecolor("#444444")
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
