"""The drawings of the projects: label maps, taps on shapes, bins on lines, scores by seed, what a port is worth."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from deformconv.course.figures.pool_deformable_regions import bin_corners
from deformconv.course.figures.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, show_image, style

GRAY = "#777777"
_RIM = [patheffects.withStroke(linewidth=3, foreground=BLACK)]
_CLASSES = ListedColormap([BLACK, BLUE, ORANGE, GREEN, PURPLE])


def label_maps(rows, kinds):
    """Pictures and label maps in rows: `rows` `{name: (n, h, w)}`; floats are pictures, integers classes.

    `kinds` are the names of the classes from 1 on; 0 is the background.
    """
    number, height, width = np.shape(next(iter(rows.values())))
    tall = 0.5 + 8.2 / number * height / width * len(rows)
    with style():
        fig, axes = plt.subplots(len(rows), number, figsize=(8.4, tall), squeeze=False)
        for row, (name, images) in zip(axes, rows.items(), strict=True):
            for ax, image in zip(row, images, strict=True):
                whole = np.issubdtype(np.asarray(image).dtype, np.integer)
                looks = {"cmap": _CLASSES, "vmin": 0, "vmax": 4} if whole else {"vmin": 0, "vmax": 1}
                ax.imshow(image, **looks)
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set_visible(False)
            row[0].set_ylabel(name, fontsize=12)
        patches = [Patch(color=_CLASSES(number + 1), label=kind) for number, kind in enumerate(kinds)]
        fig.legend(handles=patches, loc="outside lower center", ncols=len(kinds))
        return fig


def taps_on_shapes(panels):
    """Nine taps of the pixel in the middle of each shape: `panels` of `(picture, rest, places, title)`."""
    with style():
        fig, axes = plt.subplots(1, len(panels), figsize=(8.4, 2.3), squeeze=False)
        for ax, (picture, rest, places, title) in zip(axes[0], panels, strict=True):
            show_image(ax, 0.7 * picture, title)
            height, width = picture.shape
            ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), facecolor=BLACK)
            for start, end in zip(rest, places, strict=True):
                ax.plot([start[1], end[1]], [start[0], end[0]], color=ORANGE, lw=1.2, path_effects=_RIM)
            ax.plot(rest[:, 1], rest[:, 0], "o", ms=4, mfc=BLACK, mec="white", mew=0.8)
            ax.plot(places[:, 1], places[:, 0], "o", ms=6.5, color=ORANGE, mec=BLACK)
        looks = {
            "at rest": {
                "color": BLACK,
                "marker": "o",
                "ms": 4,
                "mec": "white",
                "mew": 0.8,
                "lw": 0,
                "path_effects": _RIM,
            },
            "where the tap looks": {"color": ORANGE, "marker": "o", "ms": 6.5, "mec": BLACK, "lw": 1.2},
        }
        handles = [plt.Line2D([], [], **look) for look in looks.values()]
        fig.legend(handles, looks.keys(), loc="outside lower center", ncols=2)
        return fig


def bins_on_lines(panels, bins=(4, 9)):
    """Boxes on pictures, `panels` of `(picture, box, offsets)`; with offsets, bins at rest above and moved below.

    Offsets `(*bins, 2)` are fractions of the box. Where they are None, whole pictures and boxes alone are drawn.
    """
    whole = panels[0][2] is None
    rows, (height, width) = (1, panels[0][0].shape) if whole else (2, (40, 64))
    tall = 0.1 + 8.2 / len(panels) * height / width * rows
    with style():
        fig, axes = plt.subplots(rows, len(panels), figsize=(8.4, tall), squeeze=False)
        for number, row in enumerate(axes):
            for ax, (picture, box, offsets) in zip(row, panels, strict=True):
                show_image(ax, np.asarray(picture))
                y1, x1, y2, x2 = np.asarray(box, "float64") - 0.5
                frame = {"color": ORANGE, "ls": "--", "path_effects": _RIM}
                ax.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], **frame)
                if offsets is not None:
                    corners = bin_corners(box, bins, offsets if number else None)
                    places = (corners[..., :2] + corners[..., 2:]) / 2 - 0.5
                    ax.plot(
                        places[..., 1].T, places[..., 0].T, color=SKY, lw=1.2, marker="o", ms=4.5, mec=BLACK, mew=0.7
                    )
                height, width = picture.shape
                ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
                if offsets is not None:  # from nearer; what lies outside the picture is grey
                    ax.set(xlim=((x1 + x2) / 2 - 32, (x1 + x2) / 2 + 32), ylim=((y1 + y2) / 2 + 20, (y1 + y2) / 2 - 20))
                    ax.set_facecolor("#444444")
            if rows == 2:
                row[0].set_ylabel(("at rest", "moved")[number], fontsize=12)
        return fig


def seed_scores(scores, xlabel, own=None, floor=None):
    """A row for each of `scores` `{name: (seeds,)}`, shares in [0, 1]: a dot for each seed, a bar with mean and spread.

    The row `own` has another colour and mark. `floor` is where the axis begins, in per cent.
    """
    with style():
        fig, ax = plt.subplots(figsize=(7.6, 0.9 + 0.46 * len(scores)))
        for place, (name, values) in enumerate(reversed(scores.items())):
            percent = 100 * np.asarray(values, "float64")
            colour, mark = (ORANGE, "D") if name == own else (BLUE, "o")
            ax.errorbar(
                percent.mean(), place, xerr=percent.std(ddof=1), fmt="|", ms=22, mew=3, lw=1.5, capsize=5, color=colour
            )
            ax.plot(percent, np.full(len(percent), place), mark, ms=7, mfc="none", mec=BLACK)
        ax.set_yticks(range(len(scores)), list(scores)[::-1], fontsize=11)
        ax.tick_params(axis="y", length=0)
        ax.set(xlabel=xlabel, ylim=(-0.6, len(scores) - 0.4))
        if floor is not None:
            ax.set_xlim(left=floor)
        ax.grid(axis="x", color="0.88")
        ax.set_axisbelow(True)
        return fig


def slopes_found(true, found):
    """The slope of lines `(n,)` against that of their bins, `found` `{name: (n,)}`, a panel each."""
    reach = 1.05 * max(np.abs(true).max(), *(np.percentile(np.abs(own), 99) for own in found.values()))
    with style():
        fig, axes = plt.subplots(1, len(found), figsize=(7.6, 3.8), sharex=True, sharey=True, squeeze=False)
        for ax, (name, own) in zip(axes[0], found.items(), strict=True):
            ax.axline((0, 0), slope=1, color=GRAY, lw=1, ls="--")
            ax.plot(true, own, ".", color=BLUE, ms=4, alpha=0.6)
            ax.set(title=f"{name}: correlation {np.corrcoef(true, own)[0, 1]:.2f}", xlabel="slope of the line")
            ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        axes[0, 0].set_ylabel("slope of its bins")
        return fig


def worth_and_cost(accuracies, costs, chosen):
    """Validation accuracy of sets of layers, `{name: (seeds,)}`, against their weights `{name: number}`."""
    with style():
        fig, ax = plt.subplots(figsize=(7.2, 3.9))
        for name, values in accuracies.items():
            percent, cost = 100 * np.asarray(values, "float64"), costs[name] / 1000
            colour = ORANGE if name == chosen else BLUE
            ax.errorbar(cost, percent.mean(), yerr=percent.std(ddof=1), fmt="_", ms=16, mew=3, capsize=4, color=colour)
            ax.plot(np.full(len(percent), cost), percent, "o", ms=5, mfc="none", mec=BLACK)
            left = cost > 0.8 * max(costs.values()) / 1000  # there the text has no room on the right
            beside = {"xytext": (-14 if left else 14, 0), "ha": "right" if left else "left", "va": "center"}
            ax.annotate(name, (cost, percent.mean()), textcoords="offset points", fontsize=11, **beside)
        best = max(accuracies.values(), key=np.mean)
        least = 100 * (np.mean(best) - np.std(best, ddof=1) / len(best) ** 0.5)
        ax.axhline(least, color=GRAY, lw=1, ls="--")
        ax.text(ax.get_xlim()[0], least, " one standard error below the best", va="bottom", color=GRAY, fontsize=9)
        ax.set(xlabel="weights that train, thousands", ylabel="validation accuracy, %")
        ax.margins(0.1, 0.15)
        return fig
