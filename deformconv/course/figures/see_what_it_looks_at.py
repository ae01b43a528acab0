"""The drawings of chapter 8: offsets that cancel, taps on digits, points by depth, fields, what a swap costs."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects

from deformconv.course.figures.house_style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, show_image, style
from deformconv.course.figures.points import dark_card, draw_points, spread, trace_points
from deformconv.training.scaling import zoomed_copy

_RIM = [patheffects.withStroke(linewidth=3, foreground=BLACK)]


def lengths_and_means(offsets):
    """Of each layer's offsets `{layer: (..., 2)}`: all of them as a cloud, and their mean as a cross."""
    with style():
        figure, axes = plt.subplots(1, len(offsets), figsize=(8.6, 3.4), sharex=True, sharey=True)
        for ax, (name, own) in zip(axes, offsets.items(), strict=True):
            own = own.reshape(-1, 2)
            few = own[:: max(1, len(own) // 3000)]
            ax.plot(few[:, 1], few[:, 0], ".", ms=2, color=BLUE, alpha=0.35)
            y, x = own.mean(axis=0)
            ax.plot(x, y, "P", ms=11, color=ORANGE, mec=BLACK)
            ax.set(xlabel="x of the offset", aspect="equal", xlim=(-6, 6), ylim=(6, -6))
            length = np.linalg.norm(own, axis=-1).mean()
            ax.set_title(f"{name}\nmean length {length:.1f}", fontsize=11)
        axes[0].set_ylabel("y of the offset")
    return figure


def taps_on_digits(rows, columns):
    """Taps of two output pixels on images: `rows` `{name: panels}`, each panel `(image, [(rest, looks), ...])`.

    All places `(n, 2)` are in pixels of the image. The first pixel's taps are discs, the second's are squares, each
    joined by a line to the open mark where it rests. `columns` are the titles above.
    """
    looks_like = (("o", ORANGE), ("s", SKY))
    with style():
        figure, axes = plt.subplots(len(rows), len(columns), figsize=(8.4, 2.95 * len(rows)), squeeze=False)
        for row, (name, panels) in zip(axes, rows.items(), strict=True):
            for ax, (image, pixels) in zip(row, panels, strict=True):
                show_image(ax, 0.75 * image)
                ax.set(xlim=(-3.5, 27.5), ylim=(29.5, -1.5), facecolor=BLACK)  # outside the image is zero
                for (marker, colour), (rest, looks) in zip(looks_like, pixels, strict=False):
                    ends = np.stack([rest, looks], axis=1)
                    for start, end in ends:
                        ax.plot([start[1], end[1]], [start[0], end[0]], color=colour, lw=1.2, path_effects=_RIM)
                    ax.plot(rest[:, 1], rest[:, 0], marker, ms=4, mfc=BLACK, mec="white", mew=0.8)
                    ax.plot(looks[:, 1], looks[:, 0], marker, ms=7, color=colour, mec=BLACK)
            row[0].set_ylabel(name, fontsize=13)
        for ax, title in zip(axes[0], columns, strict=True):
            ax.set_title(title, fontsize=13)
    return figure


def depth_by_depth(image, rows):
    """An image under more and more points: `rows` `{name: (colour, [points (n, 2), ...])}`, on the dark card."""
    panels = max(len(points) for _, points in rows.values())
    with style():
        figure, axes = dark_card(len(rows), panels, (8.4, 3.3 * len(rows)))
        for row, (name, (colour, stages)) in zip(axes, rows.items(), strict=True):
            for ax, points in zip(row, stages, strict=True):
                draw_points(ax, image, points, colour, window=(-0.5, 27.5))
                ax.set_title(f"{len(points)} points\nspread {spread(points):.1f} px", fontsize=15)
            row[0].set_ylabel(name, color=colour, fontsize=17)
    return figure


def points_explorer(rigid, learned, image, zoom=1.0, y=3, x=3, depth=3):
    """Where output pixel `(y, x)` looks, through `depth` layers: with zero offsets and with learned ones."""
    shrunk = zoomed_copy(image[None], zoom)
    stages = [trace_points(model, shrunk, (y, x), depth)[0] for model in (rigid, learned)]
    with style():
        figure, axes = dark_card(1, 2, (8.4, 4.8))
        panels = zip(axes[0], stages, (SKY, ORANGE), ("zero offsets", "learned offsets"), strict=True)
        for ax, points, colour, name in panels:
            draw_points(ax, shrunk[0], points, colour)
            ax.set_title(f"{name}\n{len(points)} points, spread {spread(points):.1f} px", color=colour, fontsize=15)
    return figure


def curves_by_layer(sizes, curves, ylabel, rest=1.0):
    """A panel for each layer: `curves` `{layer: {label: (mean, deviation)}}`, against the size of the digit."""
    looks = ((GREEN, "o", "-"), (BLUE, "s", "--"), (VERMILION, "D", ":"), (PURPLE, "^", "-."))
    with style():
        figure, axes = plt.subplots(1, len(curves), figsize=(8.6, 3.7), sharey=True, squeeze=False)
        for ax, (layer, own) in zip(axes[0], curves.items(), strict=True):
            for (label, (mean, deviation)), (colour, marker, dashes) in zip(own.items(), looks, strict=False):
                mean, deviation = np.asarray(mean), np.asarray(deviation)
                ax.plot(sizes, mean, color=colour, marker=marker, ls=dashes, label=label, ms=5)
                ax.fill_between(sizes, mean - deviation, mean + deviation, color=colour, alpha=0.15, lw=0)
            ax.axhline(rest, color="0.35", lw=1, ls=(0, (1, 3)))
            ax.set(title=layer, xlabel="size of the digit")
        axes[0, 0].set_ylabel(ylabel)
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def fields_in_rows(rows, columns):
    """Images and effective receptive fields: `rows` of `(image, [(field, reach), ...])`, `columns` their titles.

    The fields are drawn by the root of their values, so that their tails are seen.
    """
    with style():
        figure, axes = plt.subplots(len(rows), len(columns), figsize=(8.4, 2.55 * len(rows)), squeeze=False)
        for row, (image, fields) in zip(axes, rows, strict=True):
            show_image(row[0], image)
            for ax, (field, reach) in zip(row[1:], fields, strict=True):
                ax.imshow(np.sqrt(field), cmap="inferno")
                ax.contour(image[..., 0], levels=[0.4 * image.max()], colors="white", linewidths=1, alpha=0.8)
                ax.set_xlabel(f"reach {reach:.1f} px", fontsize=13)
                ax.set_xticks([])
                ax.set_yticks([])
                ax.spines[:].set_visible(False)
        for ax, title in zip(axes[0], columns, strict=True):
            ax.set_title(title, fontsize=12)
    return figure


def swapped_bars(accuracies):
    """Accuracy with each kind of offsets, `{kind: accuracy in [0, 1]}`, as bars with their numbers."""
    with style():
        figure, ax = plt.subplots(figsize=(7.6, 0.52 * len(accuracies) + 0.9))
        kinds = list(accuracies)[::-1]
        for place, kind in enumerate(kinds):
            own = kind == next(iter(accuracies))
            percent = 100 * accuracies[kind]
            ax.barh(place, percent, color=ORANGE if own else SKY, ec=BLACK, hatch="" if own else "//", height=0.7)
            ax.text(percent + 1, place, f"{percent:.1f}", va="center", fontsize=11)
        ax.set_yticks(range(len(kinds)), kinds, fontsize=11)
        ax.tick_params(axis="y", length=0)
        ax.set(xlabel="accuracy on scaled digits, %", xlim=(0, 108))
    return figure


def places_and_target(answer, target):
    """A reader's places `(n, 2)` beside those that were wanted, numbered in their order."""
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(7, 3.6), sharex=True, sharey=True)
        for ax, places, title in zip(axes, (answer, target), ("yours", "the target"), strict=True):
            ax.plot(places[:, 1], places[:, 0], "o", ms=13, mfc="white", mec=BLUE)
            for number, (y, x) in enumerate(places):
                ax.text(x, y, number, ha="center", va="center_baseline", fontsize=8)
            ax.set(title=title, xlabel="x")
            ax.margins(0.12)
        axes[0].set_ylabel("y")
        axes[0].invert_yaxis()  # shared: y downwards in both
    return figure
