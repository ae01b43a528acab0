"""The drawings of chapter 4: a flow of one offset a pixel, who receives it, and what it cannot do."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects
from matplotlib.patches import Rectangle

from deformconv import reference
from deformconv.course.figures.house_style import BLACK, BLUE, GRAY, ORANGE, SKY, VERMILION, show_image, style

_RIM = [patheffects.withStroke(linewidth=3, foreground=BLACK)]


def picture_grid(pictures, columns):
    """Pictures in rows of `columns`: `pictures` is `{title: (h, w)}`."""
    height, width = next(iter(pictures.values())).shape[:2]
    rows = -(-len(pictures) // columns)
    panel = 8.4 / columns
    with style():
        fig, axes = plt.subplots(rows, columns, figsize=(8.4, rows * (panel * height / width + 0.35)), squeeze=False)
        for ax in axes.flat:
            ax.axis("off")
        for ax, (title, picture) in zip(axes.flat, pictures.items(), strict=False):
            show_image(ax, np.asarray(picture), title)
    return fig


def row_flow(row, offsets, values):
    """One row of pixels (below), the row that is read from it (above), and an arrow from each pixel to its place."""
    pixels = np.arange(len(row))
    white = max(float(np.max(row)), 1.0)
    with style():
        fig, ax = plt.subplots(figsize=(7.6, 3.0))
        for height, cells in ((1, values), (0, row)):
            ax.imshow(
                np.asarray(cells)[None], extent=(-0.5, len(row) - 0.5, height - 0.16, height + 0.16), vmin=0, vmax=white
            )
            for pixel, value in zip(pixels, cells, strict=True):
                ax.add_patch(Rectangle((pixel - 0.5, height - 0.16), 1, 0.32, fill=False, ec=GRAY))
                colour = "white" if value < white / 2 else BLACK
                ax.text(pixel, height, f"{value:g}", ha="center", va="center_baseline", color=colour, fontsize=11)
        for pixel, offset in zip(pixels, offsets, strict=True):
            ax.annotate(
                "", xy=(pixel + offset, 0.17), xytext=(pixel, 0.83), arrowprops={"arrowstyle": "-|>", "color": BLUE}
            )
            ax.text(pixel, 1.2, f"{offset:+g}", ha="center", va="bottom", color=BLUE, fontsize=10)
        ax.text(-0.65, 1.2, "offset", ha="right", va="bottom", color=BLUE)
        ax.text(-0.65, 1, "the new row", ha="right", va="center")
        ax.text(-0.65, 0, "the row", ha="right", va="center")
        ax.set_xticks(pixels)
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
        ax.set_aspect("auto")
        reach = pixels + offsets
        ax.set_xlim(min(-0.6, reach.min() - 0.4), max(len(row) - 0.4, reach.max() + 0.4))
        ax.set_ylim(-0.2, 1.4)
    return fig


def flow_arrows(
    image, flow, warped, step=2, shortest=0.3, titles=("each pixel looks along its arrow", "what it reads")
):
    """A flow `(h, w, 2)` as arrows on its image `(h, w)`, from pixels to where they look, and the image it makes.

    Every `step`-th row and column is drawn, without offsets shorter than `shortest`.
    """
    rows, columns = (axis[::step, ::step] for axis in np.indices(image.shape[:2]))
    down, right = flow[::step, ::step, 0], flow[::step, ::step, 1]
    drawn = np.hypot(down, right) >= shortest
    with style():
        fig, (left, other) = plt.subplots(1, 2, figsize=(8.4, 4.4))
        show_image(left, image, titles[0])
        arrows = left.quiver(
            columns[drawn],
            rows[drawn],
            right[drawn],
            down[drawn],
            angles="xy",
            scale_units="xy",
            scale=1,
            width=0.006,
            color=ORANGE,
        )
        arrows.set_path_effects([patheffects.withStroke(linewidth=1.5, foreground=BLACK)])
        left.plot(columns[~drawn], rows[~drawn], ".", color=SKY, ms=2)
        show_image(other, warped, titles[1])
    return fig


def bump_flow(size, zoom=1.0, swirl=0.0, reach=6.0, centre=None):
    """A flow `(h, w, 2)` that zooms and turns (degrees) about a centre and fades out within some `reach` pixels."""
    centre = (np.array(size) - 1) / 2 if centre is None else np.asarray(centre)
    away = np.moveaxis(np.indices(size), 0, -1) - centre
    turn = np.deg2rad(swirl)
    matrix = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    fade = np.exp(-(away**2).sum(axis=-1, keepdims=True) / (2 * reach**2))
    return fade * (away @ matrix.T - away)


def flow_explorer(image, zoom=1.0, swirl=0.0, reach=6.0):
    """The flow of `bump_flow` on an image `(h, w)`, and the image that it makes."""
    flow = bump_flow(image.shape, zoom, swirl, reach)
    coords = np.moveaxis(np.indices(image.shape), 0, -1) + flow
    warped = reference.bilinear_sample(np.asarray(image, "float64")[None, ..., None], coords[None])[0, ..., 0]
    return flow_arrows(image, flow, warped)


def sent_and_received(sent, received):
    """Two channels of offsets, `(h, w, 2)` each, as they were made and as they arrive."""
    with style():
        fig, axes = plt.subplots(2, 2, figsize=(5.6, 6.0))
        for row, (word, field) in zip(axes, (("sent", sent), ("received", received)), strict=True):
            for ax, name, plane in zip(row, "yx", np.moveaxis(np.asarray(field), -1, 0), strict=True):
                ax.imshow(plane, vmin=0, vmax=float(np.max(sent)))
                ax.set_title(f"{word} as {name}")
                ax.spines[:].set_visible(False)
                ax.set_xticks([])
                ax.set_yticks([])
    return fig


def where_offsets_go(places, step=5):
    """Where each offset ends up: `places` `(2, h, w, 3)`, of the y and x offset of each pixel: row, column, 0 or 1.

    The third number is the slot that it arrives in: 0 as a y, 1 as an x. Every `step`-th pixel is drawn.
    """
    names = ("y", "x")
    looks = ((BLUE, "o"), (VERMILION, "s"))
    with style():
        fig, axes = plt.subplots(1, 2, figsize=(8.4, 4.6))
        for ax, name, ends in zip(axes, names, places, strict=True):
            height, width = ends.shape[:2]
            ax.axhline(height / 2 - 0.5, color=GRAY, lw=1, ls=":")
            for row in range(step // 2, height, step):
                for column in range(step // 2, width, step):
                    to_row, to_column, slot = ends[row, column]
                    colour, marker = looks[slot]
                    ax.plot([column, to_column], [row, to_row], color=colour, lw=0.8)
                    ax.plot(column, row, "o", ms=5, mfc="white", mec=GRAY)
                    ax.plot(to_column, to_row, marker, ms=6, color=colour)
            for slot, (colour, marker) in enumerate(looks):
                ax.plot([], [], marker, color=colour, label=f"arrives as {names[slot]}")
            ax.set(title=f"the {name} offsets", xlim=(-1, width), ylim=(height, -1), aspect="equal")
            ax.set_xticks([])
            ax.set_yticks([])
            ax.spines[:].set(visible=True, color=GRAY)
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def offset_kernel(kernel):
    """The weights `(3, 3, 2)` that make y and x offsets, as cells with their numbers; brown is above zero."""
    largest = float(np.abs(kernel).max()) or 1.0
    with style():
        fig, axes = plt.subplots(1, 2, figsize=(5.2, 2.8))
        for ax, name, weights in zip(axes, "yx", np.moveaxis(np.asarray(kernel), -1, 0), strict=True):
            ax.imshow(-weights, cmap="PuOr", vmin=-2 * largest, vmax=2 * largest)
            for (i, j), weight in np.ndenumerate(weights):
                ax.text(j, i, f"{weight:+.2f}", ha="center", va="center_baseline", fontsize=10)
            ax.set_title(f"makes the {name} offset")
            ax.spines[:].set_visible(False)
            ax.set_xticks([])
            ax.set_yticks([])
    return fig


def claims(dilation=2):
    """Three outputs of a dilated 1-D kernel, the warped pixel that all of them read, and what each wants there."""
    middle, looks = 3, ((BLUE, "-"), (ORANGE, "--"), (VERMILION, ":"))
    with style():
        fig, ax = plt.subplots(figsize=(7.2, 3.4))
        for height, name in ((2, "output"), (1, "warped row"), (0, "input")):
            ax.plot(range(7), [height] * 7, "o", ms=20, mfc="white", mec=GRAY)
            ax.text(-0.6, height, name, ha="right", va="center")
            for pixel in range(7):
                ax.text(pixel, height, pixel, ha="center", va="center_baseline", fontsize=10)
        for (colour, dashes), output in zip(looks, (middle - 1, middle, middle + 1), strict=True):
            tap = middle - output
            wanted = output + dilation * tap
            ax.plot(output, 2, "o", ms=20, mfc="none", mec=colour, mew=3)
            ax.plot([output, middle], [1.82, 1.18], color=colour, ls=dashes)
            ax.annotate(
                "",
                xy=(wanted, 0.17),
                xytext=(middle, 0.83),
                arrowprops={"arrowstyle": "-|>", "color": colour, "ls": dashes, "lw": 2},
            )
            ax.plot(wanted, 0, "o", ms=20, mfc="none", mec=colour, mew=3)
        ax.plot(middle, 1, "o", ms=20, mfc="none", mec=BLACK, mew=3)
        ax.set_xlim(-1.9, 6.5)
        ax.set_ylim(-0.35, 2.35)
        ax.axis("off")
    return fig


def flow_and_target(answer, target):
    """A reader's flow `(h, w, 2)` beside the one that was wanted, as arrows between pixels."""
    rows, columns = np.indices(target.shape[:2])
    with style():
        fig, axes = plt.subplots(1, 2, figsize=(7, 3.4), sharex=True, sharey=True)
        for ax, flow, title in zip(axes, (answer, target), ("yours", "the target"), strict=True):
            ax.plot(columns, rows, ".", color=GRAY, ms=4)
            ax.quiver(columns, rows, flow[..., 1], flow[..., 0], angles="xy", scale_units="xy", scale=1, color=BLUE)
            ax.set_title(title)
            ax.set_aspect("equal")
        ends = np.concatenate(
            [np.stack([columns, rows], -1), *(np.stack([columns, rows], -1) + f[..., ::-1] for f in (answer, target))]
        )
        ends = ends.reshape(-1, 2)[np.isfinite(ends.reshape(-1, 2)).all(axis=1)]
        (left, top), (right, bottom) = ends.min(axis=0) - 0.6, ends.max(axis=0) + 0.6
        axes[0].set(xlim=(left, right), ylim=(bottom, top))
    return fig
