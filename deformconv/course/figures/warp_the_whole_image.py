"""The drawings of chapter 3: rows sent and rows fetched, grids over an image, warps side by side."""

import matplotlib.pyplot as plt
import numpy as np

from deformconv.course.figures.house_style import BLACK, BLUE, GRAY, GREEN, ORANGE, SKY, VERMILION, show_image, style


def sent_and_fetched(row, sent, fetched):
    """A row of pixels warped in two ways: each pixel sent to a place, and each output pixel fetched from one.

    Args:
        row: the input's values `(n,)`, at least one of them above 0.
        sent: where each input pixel goes in the output, `(n,)`.
        fetched: where each output pixel looks in the input, `(n,)`.
    """
    places = np.arange(len(row))
    inside = (sent > -0.5) & (sent < len(row) - 0.5)
    landed = np.full(len(row), np.nan)
    landed[np.floor(sent[inside] + 0.5).astype(int)] = row[inside]
    values = np.interp(fetched, places, row)
    with style():
        fig, axes = plt.subplots(1, 2, figsize=(8.8, 3.0))
        _row_to_row(axes[0], row, landed, places[inside], sent[inside], down=True)
        axes[0].set_title(f"sent: {int(np.isnan(landed).sum())} of {len(row)} stay empty")
        _row_to_row(axes[1], row, values, fetched, places, down=False)
        axes[1].set_title("fetched: none stays empty")
    return fig


def _row_to_row(ax, above, below, tops, bottoms, down):
    """Two rows of boxes with their values, and arrows from `tops` of the upper to `bottoms` of the lower or back."""
    white = float(np.nanmax(above))
    for row, middle in ((above, 1.0), (below, 0.0)):
        for column, value in enumerate(row):
            empty = np.isnan(value)
            face = "white" if empty else str(0.15 + 0.8 * value / white)
            box = plt.Rectangle((column - 0.46, middle - 0.13), 0.92, 0.26, facecolor=face, edgecolor=GRAY)
            if empty:
                box.set(hatch="////", edgecolor=VERMILION)
            ax.add_patch(box)
            dark = not empty and value / white < 0.5
            text = "" if empty else f"{value:g}"
            ax.text(column, middle, text, ha="center", va="center", color="white" if dark else BLACK)
    for top, bottom in zip(tops, bottoms, strict=True):
        start, end = ((top, 0.84), (bottom, 0.16)) if down else ((bottom, 0.16), (top, 0.84))
        color = VERMILION if down else BLUE
        ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 1.6, "shrinkA": 0})
    ax.set_xlim(-0.7, len(above) - 0.3)
    ax.set_ylim(-0.3, 1.3)
    ax.set_yticks([0, 1], ["output", "input"])
    ax.set_xticks(range(len(above)))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def looks(image, warps, every=3):
    """Where the output pixels of warps look in an image, and what they see there.

    Args:
        image: `(height, width)`.
        warps: `{title: (coords (h', w', 2), output (h', w'))}`. One warp is drawn left to right, several in columns.
        every: every how many pixels a line of the grid is drawn.
    """
    height, width = image.shape
    middle = (np.array(image.shape) - 1) / 2
    # Room for a grid that leaves the image, as much in every panel.
    reach = max(np.abs(coords - middle).max() for coords, _ in warps.values()) + 1.5
    reach = max(reach, 1.05 * max(image.shape))
    count = len(warps)
    with style():
        rows, columns, size = (1, 2, (7.2, 3.9)) if count == 1 else (2, count, (2.15 * count, 4.7))
        fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
        panels = axes if count == 1 else axes.T
        for (title, (coords, output)), (above, below) in zip(warps.items(), panels, strict=True):
            show_image(above, image, title)
            _net(above, coords, every)
            above.set_xlim(middle[1] - reach, middle[1] + reach)
            above.set_ylim(middle[0] + reach, middle[0] - reach)
            above.add_patch(plt.Rectangle((-0.5, -0.5), width, height, fill=False, edgecolor=BLACK, linewidth=1.2))
            show_image(below, output, "what it sees" if count == 1 else None)
            _net(below, np.stack(np.indices(output.shape), axis=-1), every)
    return fig


def _net(ax, coords, every):
    """A grid of points `(h, w, 2)` as lines; its frame thick, its first pixel a square, its first row orange."""
    for line in (*coords[::every], *np.swapaxes(coords, 0, 1)[::every]):
        ax.plot(line[:, 1], line[:, 0], color=SKY, linewidth=0.7, alpha=0.8)
    frame = np.concatenate([coords[:, -1], coords[-1, ::-1], coords[::-1, 0]])
    ax.plot(frame[:, 1], frame[:, 0], color=BLUE, linewidth=1.8)
    ax.plot(coords[0, :, 1], coords[0, :, 0], color=ORANGE, linewidth=2.6)
    ax.plot(coords[0, 0, 1], coords[0, 0, 0], "s", color=ORANGE, markeredgecolor=BLACK, markersize=7)


def picture_rows(rows, captions=None):
    """Rows of pictures: `{label: (n, height, width)}`; `captions`: `{label: n short texts}`, each below its picture."""
    captions = captions or {}
    columns = max(len(images) for images in rows.values())
    with style():
        size = (1.6 + 0.92 * columns, sum(1.0 + 0.25 * (label in captions) for label in rows) + 0.1)
        fig, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False)
        for (label, images), line in zip(rows.items(), axes, strict=True):
            for ax in line[len(images) :]:
                ax.set_axis_off()
            for ax, image in zip(line, images, strict=False):
                show_image(ax, image)
            for ax, text in zip(line, captions.get(label, ()), strict=False):
                ax.set_xlabel(text, fontsize=9, labelpad=2)
            line[0].set_ylabel(label, rotation=0, ha="right", va="center", labelpad=8)
    return fig


def pictures(images):
    """Pictures side by side, each at its own width: `{title: (height, width)}`."""
    widths = [image.shape[1] / image.shape[0] for image in images.values()]
    with style():
        fig, axes = plt.subplots(
            1, len(images), figsize=(2.1 * sum(widths), 2.45), squeeze=False, gridspec_kw={"width_ratios": widths}
        )
        for ax, (title, image) in zip(axes[0], images.items(), strict=True):
            show_image(ax, image, title)
    return fig


def chosen_against_exact(exact, chosen, labels):
    """What a network chose against what would be exact: two `(n, k)` arrays, two panels a row, one for each number."""
    rows = -(-len(labels) // 2)
    with style():
        fig, axes = plt.subplots(rows, 2, figsize=(7.6, 3.5 * rows), squeeze=False)
        for ax, label, want, got in zip(axes.flat, labels, exact.T, chosen.T, strict=True):
            ends = [want.min(), want.max()]
            ax.plot(want, got, "o", color=BLUE, markersize=3.5, alpha=0.5, markeredgewidth=0, label="one digit")
            ax.plot(ends, ends, color=GREEN, linestyle="--", label="exact")
            ax.set_title(label)
        for ax in axes[-1]:
            ax.set_xlabel("undoes it exactly")
        for ax in axes[:, 0]:
            ax.set_ylabel("chosen by the network")
        axes[0, 0].legend(loc="upper left")
    return fig
