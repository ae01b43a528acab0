"""The drawings of chapter 6: how far a gradient can send an offset, its way back, and taps that learn."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects
from matplotlib.patches import Rectangle

from deformconv.course.figures.house_style import BLACK, BLUE, GRAY, GREEN, ORANGE, SKY, VERMILION, style

_RIM = [patheffects.withStroke(linewidth=3, foreground=BLACK)]
# One look per layer, in order: colour, marker.
LOOKS = ((BLUE, "o"), (VERMILION, "s"), (GREEN, "^"), (ORANGE, "D"))


def offset_search(row, copy, offsets, losses, track, goal):
    """A row and the copy that it is to match by one offset, and the way of a search over the loss.

    Args:
        row, copy: `(n,)`.
        offsets, losses: the curve of the loss.
        track: `(steps, 2)`, the offset and the loss at each step.
        goal: the right offset.
    """
    with style():
        fig, (above, below) = plt.subplots(2, 1, figsize=(6.6, 5.6), gridspec_kw={"height_ratios": (1, 1.4)})
        above.plot(row, color=GRAY, lw=3, label="the row")
        above.plot(copy, color=BLUE, ls="--", label="the copy")
        above.set(xlabel="pixel", ylabel="value")
        below.plot(offsets, losses, color=GRAY)
        below.axvline(goal, color=GREEN, ls=":", lw=1.5)
        below.plot(goal, 0, "*", color=GREEN, ms=16, mec=BLACK, label="the right offset", clip_on=False, zorder=4)
        below.plot(*np.asarray(track).T, color=VERMILION, lw=3)
        below.plot(*track[0], "o", mfc="white", mec=VERMILION, mew=2, ms=9, label="start")
        below.plot(*track[-1], "X", color=VERMILION, mec=BLACK, ms=11, label=f"end, at {track[-1][0]:.1f}")
        below.set(xlabel="offset, in pixels", ylabel="loss")
        below.set_ylim(bottom=0)
        for ax, columns in ((above, 2), (below, 3)):
            ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=columns, fontsize=9)
    return fig


def gradient_way():
    """The layer's parts from left to right, and below them the way of the gradient to the offset weights."""
    boxes = {
        "image": (0.0, 1, "image $x$"),
        "offsets": (2.3, 0, "offset\nconvolution"),
        "sampling": (4.6, 1, "bilinear\nsamples"),
        "product": (6.9, 1, "matrix\nproduct"),
        "loss": (9.0, 1, "loss $L$"),
    }
    forward = (
        ("image", "sampling", ""),
        ("image", "offsets", ""),
        ("offsets", "sampling", "offsets $\\Delta p_n$"),
        ("sampling", "product", "columns"),
        ("product", "loss", "output $y$"),
    )
    steps = (
        (7.95, "1", "$\\partial L / \\partial y$\nfrom above"),
        (5.75, "2", "times the kernel:\nby the columns"),
        (3.45, "3", "times the slope of\nthe cell: by the offsets"),
        (1.15, "4", "times the image:\nby the offset weights"),
    )
    with style():
        fig, ax = plt.subplots(figsize=(8.3, 3.6))
        for x, y, text in boxes.values():
            learned = text.startswith("offset")
            ax.add_patch(
                Rectangle((x - 0.6, y - 0.28), 1.2, 0.56, fc=SKY if learned else "#EEEEEE", ec=BLACK, zorder=3)
            )
            ax.text(x, y, text, ha="center", va="center", fontsize=10, zorder=4)
        for start, end, text in forward:
            (x0, y0, _), (x1, y1, _) = boxes[start], boxes[end]
            turn = "angle,angleA=-90,angleB=180" if y1 < y0 else "angle,angleA=0,angleB=90" if y1 > y0 else None
            tail = (x0, y0 - 0.28) if y1 < y0 else (x0 + 0.6, y0)
            head = (x1, y1 - 0.28) if y1 > y0 else (x1 - 0.6, y1)
            ax.annotate(
                "", xy=head, xytext=tail, arrowprops={"arrowstyle": "-|>", "color": BLACK, "connectionstyle": turn}
            ) if turn else ax.annotate("", xy=head, xytext=tail, arrowprops={"arrowstyle": "-|>", "color": BLACK})
            if text:
                ax.text(
                    (tail[0] + head[0]) / 2, max(y0, y1) + 0.06 if y0 == y1 else 0.07, text, ha="center", fontsize=9
                )
        for x, number, text in steps:
            ax.annotate(
                "", xy=(x - 1.05, -0.75), xytext=(x + 1.05, -0.75),
                arrowprops={"arrowstyle": "-|>", "color": VERMILION, "lw": 2.5, "ls": "--"},
            )  # fmt: skip
            ax.plot(x, -0.75, "o", ms=17, mfc="white", mec=VERMILION, mew=2, zorder=4)
            ax.text(x, -0.75, number, ha="center", va="center_baseline", color=BLACK, weight="bold", zorder=5)
            ax.text(x, -1.0, text, ha="center", va="top", fontsize=9)
        ax.set_xlim(-0.7, 9.7)
        ax.set_ylim(-1.6, 1.4)
        ax.axis("off")
    return fig


def taps_in_panels(rows, margin=3, field=None):
    """Where one output pixel's taps look, in a grid of panels.

    Args:
        rows: lists of `(image, rest, taps, title)`: an image `(h, w)`, and places `(n, 2)` in `(y, x)`, at rest and
            after learning.
        margin: pixels shown around the image.
        field: the size of that image's pixels where the places are counted in them; `(h, w)` if None.
    """
    columns = max(len(row) for row in rows)
    size = 7.4 / columns
    with style():
        fig, axes = plt.subplots(len(rows), columns, figsize=(7.4, len(rows) * (size + 0.3)), squeeze=False)
        for ax, (image, rest, taps, title) in zip(axes.flat, (panel for row in rows for panel in row), strict=True):
            height, width = field or image.shape[:2]
            frame = (-0.5, width - 0.5, height - 0.5, -0.5)
            ax.imshow(image, extent=frame, vmin=0, vmax=1.4)
            ax.add_patch(Rectangle((-0.5, -0.5), width, height, fill=False, ec="#AAAAAA", ls="--"))
            ax.set_facecolor(BLACK)  # outside the image is zero
            for start, end in zip(rest, taps, strict=True):
                line = ax.plot([start[1], end[1]], [start[0], end[0]], color="white", lw=1.2)
                line[0].set_path_effects(_RIM)
            ax.plot(*np.asarray(rest).T[::-1], "o", ms=5, mfc="none", mec="white", mew=1.3, path_effects=_RIM)
            ax.plot(*np.asarray(taps).T[::-1], "o", ms=8, mfc=ORANGE, mec=BLACK)
            ax.set(xlim=(-margin - 0.5, width + margin - 0.5), ylim=(height + margin - 0.5, -margin - 0.5))
            ax.set(xticks=[], yticks=[])
            ax.set_title(title, fontsize=10)
    return fig


def offset_growth(steps, lengths, accuracies):
    """Mean offset length of each layer over a training, on digits of two sizes, and below it the accuracy.

    Args:
        steps: `(n,)`.
        lengths: `{layer: {size: (n,)}}`.
        accuracies: `{size: (n,)}`, in [0, 1]. The first size is drawn with full lines, the second with dashed ones.
    """
    dashes = ("-", "--")
    with style():
        fig, (above, below) = plt.subplots(
            2, 1, figsize=(7.2, 5.6), sharex=True, gridspec_kw={"height_ratios": (1.6, 1)}
        )
        for (layer, sizes), (colour, marker) in zip(lengths.items(), LOOKS, strict=False):
            for (size, values), dash in zip(sizes.items(), dashes, strict=True):
                above.plot(steps, values, color=colour, marker=marker, ls=dash, ms=5, label=f"{layer}, {size}")
        for (size, values), dash in zip(accuracies.items(), dashes, strict=True):
            below.plot(steps, 100 * np.asarray(values), color=BLACK, ls=dash, marker=".", label=size)
        above.set_ylabel("mean offset length, pixels")
        above.set_ylim(bottom=0)
        below.set(xlabel="training step", ylabel="accuracy, %", ylim=(0, 101))
        above.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9, handlelength=4)
        below.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9, handlelength=4)
    return fig
