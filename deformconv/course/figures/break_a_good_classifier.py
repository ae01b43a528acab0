"""The drawings of chapter 1: a classifier's answers, its mistakes, its accuracy against zoom, and the rigid grid."""

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from deformconv.course.figures.house_style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, show_image, style

# The order in which curves take their looks: colour, marker, dashes.
LOOKS = ((BLUE, "s", "-"), (ORANGE, "^", "--"), (PURPLE, "D", "-."), (GREEN, "o", ":"), (BLACK, "v", "-"))


def answers(images, probabilities, labels, columns=None):
    """Images in rows, under each what the classifier says and how sure it is; a wrong answer has a dashed frame.

    Args:
        images: `(rows, n, h, w, 1)`, each row one after the other.
        probabilities: `(rows, n, classes)`.
        labels: `(rows, n)`.
        columns: titles of the columns, or None.
    """
    rows, n = images.shape[:2]
    with style():
        fig, axes = plt.subplots(rows, n, figsize=(1.12 * n, 1.45 * rows + 0.2), squeeze=False)
        for place in np.ndindex(rows, n):
            ax, chances = axes[place], probabilities[place]
            answer = int(np.argmax(chances))
            right = answer == labels[place]
            show_image(ax, images[place])
            text = f"{answer}, {100 * chances[answer]:.0f} %"
            ax.set_xlabel(text, color=BLACK if right else VERMILION, weight="normal" if right else "bold", labelpad=3)
            if not right:
                ax.add_patch(_frame(-0.5, -0.5, *images.shape[3:1:-1], VERMILION, linestyle="--"))
        for ax, title in zip(axes[0], columns or [], strict=False):
            ax.set_title(title, fontsize=10)
    return fig


def answer_explorer(image, chances, label, title):
    """One image, and the probability of each class; the true class has a hatched bar."""
    with style():
        fig, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.5), gridspec_kw={"width_ratios": (1, 1.6)})
        show_image(left, image, title)
        classes = np.arange(len(chances))
        others = classes != label
        right.bar(classes[others], chances[others], color=SKY, edgecolor=BLACK, label="another class")
        right.bar([label], [chances[label]], color=ORANGE, edgecolor=BLACK, hatch="//", label="the true class")
        right.set(xlabel="class", ylabel="probability", ylim=(0, 1.02), xticks=classes)
        right.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1), fontsize=9)
    return fig


def confusions(tables):
    """For each title a table of counts `(classes, classes)`: a row for each true class, a column for each answer."""
    with style():
        fig, axes = plt.subplots(1, len(tables), figsize=(4.3 * len(tables), 4.4), squeeze=False)
        for ax, (title, counts) in zip(axes[0], tables.items(), strict=True):
            counts = np.asarray(counts)
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            ax.imshow(shares, cmap="cividis", vmin=0, vmax=1)
            for i, j in zip(*np.nonzero(counts), strict=True):
                ink = BLACK if shares[i, j] > 0.5 else "white"
                ax.text(j, i, counts[i, j], ha="center", va="center_baseline", fontsize=8, color=ink)
            ax.set(title=title, xlabel="the answer", ylabel="the digit")
            ax.set_xticks(range(len(counts)))
            ax.set_yticks(range(len(counts)))
    return fig


def zoom_curves(panels):
    """Accuracy against zoom, in panels side by side.

    Args:
        panels: `{title: {name: (zooms, accuracies)}}`, accuracies in [0, 1]; `accuracies` may be `(runs, zooms)`,
            and then the mean is drawn, with a band from the lowest run to the highest.
    """
    with style():
        fig, axes = plt.subplots(1, len(panels), figsize=(max(6.0, 4.3 * len(panels)), 3.9), sharey=True, squeeze=False)
        for ax, (title, curves) in zip(axes[0], panels.items(), strict=True):
            ax.axvline(1, color="0.8", linewidth=1, zorder=0)
            for (name, (zooms, values)), (colour, marker, dashes) in zip(curves.items(), cycle(LOOKS), strict=False):
                values = 100 * np.atleast_2d(values)
                ax.plot(zooms, values.mean(axis=0), color=colour, marker=marker, linestyle=dashes, label=name)
                ax.fill_between(zooms, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.2, linewidth=0)
            ax.set(xlabel="zoom (the digit is 1 / zoom of its size)", ylim=(0, 101))
            ax.set_title(title, loc="left")
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, fontsize=9)
        axes[0, 0].set_ylabel("test accuracy, %")
    return fig


def controls(tests):
    """For each `{name: (image, accuracy)}` an example image, and below it a bar of the accuracy in [0, 1]."""
    with style():
        fig, axes = plt.subplots(
            2, len(tests), figsize=(1.5 * len(tests), 3.9), squeeze=False, gridspec_kw={"height_ratios": (1, 1.2)}
        )
        for (above, below), (name, (image, accuracy)) in zip(axes.T, tests.items(), strict=True):
            show_image(above, image)
            above.set_title(name, fontsize=10)
            below.bar([0], [100 * accuracy], width=0.6, color=SKY, edgecolor=BLACK)
            below.text(0, 100 * accuracy + 2, f"{100 * accuracy:.0f} %", ha="center")
            below.set(xlim=(-0.6, 0.6), ylim=(0, 115), xticks=[], yticks=[])
            below.spines["left"].set_visible(False)
    return fig


def bar_detector(rows, kernel, widths, responses):
    """A 1-D kernel over bright bars of several widths, and its response to every width.

    Args:
        rows: `{title: row}`, rows of one odd length with the bar in the middle.
        kernel: as many weights as it has taps, an odd number; it lies in the middle.
        widths, responses: the curve.
    """
    with style():
        fig = plt.figure(figsize=(8.6, 3.3))
        grid = fig.add_gridspec(len(rows), 2, width_ratios=(1.25, 1))
        for number, (title, row) in enumerate(rows.items()):
            ax = fig.add_subplot(grid[number, 0])
            first = len(row) // 2 - len(kernel) // 2
            ax.imshow(np.asarray(row)[None], vmin=0, vmax=1)
            for tap, weight in enumerate(kernel):
                positive = weight > 0
                ax.plot(first + tap, 0, "o" if positive else "s", ms=13, mfc=ORANGE if positive else SKY, mec=BLACK)
                sign = "+" if positive else "\N{MINUS SIGN}"
                ax.text(first + tap, 0, sign, ha="center", va="center_baseline", weight="bold")
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(True)  # a white bar on a white page
            ax.set_title(title, fontsize=10, loc="left")
        curve = fig.add_subplot(grid[:, 1])
        curve.plot(widths, responses, "o-", color=BLUE)
        curve.set(xlabel="width of the bar, in pixels", ylabel="response", ylim=(-0.05, 1.08), xticks=widths)
    return fig


def grid_on_stroke(pictures, point, field):
    """A fixed grid on a digit of several sizes: the square of `field` pixels, and 3 x 3 taps with what they read.

    Args:
        pictures: `{title: image (h, w)}`.
        point: `(y, x)`, whole numbers: where both are centred.
        field: width of the square, an odd number of pixels.
    """
    y, x = point
    with style():
        fig, axes = plt.subplots(2, len(pictures), figsize=(2.2 * len(pictures), 4.9), squeeze=False)
        for (above, below), (title, image) in zip(axes.T, pictures.items(), strict=True):
            show_image(above, image, title)
            above.add_patch(_frame(x - field / 2, y - field / 2, field, field, ORANGE))
            above.add_patch(_frame(x - 1.5, y - 1.5, 3, 3, SKY, linestyle="--"))
            show_image(below, image)
            below.set(xlim=(x - 3.5, x + 3.5), ylim=(y + 3.5, y - 3.5))
            for i, j in np.ndindex(3, 3):
                value = image[y - 1 + i, x - 1 + j]
                below.add_patch(_frame(x - 1.5 + j, y - 1.5 + i, 1, 1, SKY, linewidth=1.5))
                ink = BLACK if value > 0.5 else "white"
                below.text(x - 1 + j, y - 1 + i, f"{value:.1f}", ha="center", va="center_baseline", color=ink)
        axes[0, 0].set_ylabel(f"{field} x {field} pixels")
        axes[1, 0].set_ylabel("3 x 3 taps")
    return fig


def _frame(x, y, width, height, colour, linewidth=2.5, **options):
    options = {"fill": False, "edgecolor": colour, "linewidth": linewidth, "clip_on": False, **options}
    return Rectangle((x, y), width, height, **options)
