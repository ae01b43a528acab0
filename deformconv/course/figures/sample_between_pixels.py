"""The drawings of chapter 2: values between pixels, their slopes, and points that climb along them."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from deformconv.course.figures.house_style import (
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    show_image,
    style,
)


def row_profile(row, first, last):
    """Pixels `first` to `last` of a row of an image: the nearest pixel's value, and the line between pixels."""
    pixels = np.arange(first, last + 1)
    fine = np.linspace(first, last, 1000)
    with style():
        fig, (above, strip) = plt.subplots(2, 1, figsize=(6.6, 3.6), sharex=True, gridspec_kw={"height_ratios": [6, 1]})
        nearest = row[np.floor(fine + 0.5).astype(int)]
        nearest[np.append(np.diff(nearest) != 0, False)] = np.nan  # steps, with no riser between them
        above.plot(fine, nearest, color=VERMILION, linewidth=4, solid_capstyle="butt", label="the nearest pixel")
        above.plot(pixels, row[pixels], color=BLUE, label="a line between two pixels")
        above.plot(pixels, row[pixels], "o", color=BLACK, markersize=7, label="the pixels")
        above.set_ylim(-0.05, 1.05 * max(1.0, float(row.max())))
        above.set_ylabel("value")
        above.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
        strip.imshow(row[None, first : last + 1], extent=(first - 0.5, last + 0.5, 0, 1), aspect="auto", vmin=0, vmax=1)
        strip.set_yticks([])
        strip.set_xticks(pixels)
        strip.set_xlim(first - 0.6, last + 0.6)
        strip.set_xlabel("column $x$")
        for spine in strip.spines.values():
            spine.set_visible(False)
    return fig


def four_pixels(image, y, x):
    """A point of a (height, width) image, the four pixels around it, and the areas that are their weights."""
    top, left = int(np.floor(y)), int(np.floor(x))
    fy, fx = y - top, x - left
    window = np.pad(image, 3)[top + 2 : top + 6, left + 2 : left + 6]
    white = max(1.0, float(image.max()))
    # Each pixel's weight is the area of the rectangle on the other side of the point.
    corners = [
        (0, 0, (1 - fy) * (1 - fx), BLUE, (fy, fx, 1 - fy, 1 - fx)),
        (0, 1, (1 - fy) * fx, ORANGE, (fy, 0, 1 - fy, fx)),
        (1, 0, fy * (1 - fx), GREEN, (0, fx, fy, 1 - fx)),
        (1, 1, fy * fx, PURPLE, (0, 0, fy, fx)),
    ]
    with style():
        fig, (whole, near) = plt.subplots(1, 2, figsize=(7.6, 4.1), gridspec_kw={"width_ratios": [3, 4]})
        show_image(whole, image, f"the point ({y:.2f}, {x:.2f})")
        whole.add_patch(Rectangle((left - 1.5, top - 1.5), 4, 4, fill=False, edgecolor=ORANGE, linewidth=2))
        whole.plot(x, y, "+", color=VERMILION, markersize=9, markeredgewidth=2)
        near.imshow(window, extent=(left - 1.5, left + 2.5, top + 2.5, top - 1.5), vmin=0, vmax=white)
        value = 0.0
        for down, right, weight, color, (from_y, from_x, tall, wide) in corners:
            pixel = window[1 + down, 1 + right]
            value += weight * pixel
            corner = (left + from_x, top + from_y)
            near.add_patch(Rectangle(corner, wide, tall, facecolor="white"))
            near.add_patch(Rectangle(corner, wide, tall, facecolor=color, alpha=0.65, edgecolor="white", linewidth=1.5))
            near.plot(left + right, top + down, "o", markersize=19, markerfacecolor="white", markeredgecolor=color)
            name = "ABCD"[2 * down + right]
            near.text(left + right, top + down, name, ha="center", va="center", fontsize=10, weight="bold")
            if min(wide, tall) > 0.12:
                middle = (corner[0] + wide / 2, corner[1] + tall / 2)
                near.text(*middle, name.lower(), ha="center", va="center", fontsize=12, style="italic")
            near.text(
                left + right + (0.1 if right else -0.1),
                top + down + (0.33 if down else -0.33),
                f"{weight:.2f} × {pixel:.2f}",
                ha="center",
                va="center",
                fontsize=10,
                bbox={"facecolor": "white", "edgecolor": color, "boxstyle": "round,pad=0.25"},
            )
        near.plot(x, y, "o", markersize=9, markerfacecolor=VERMILION, markeredgecolor="white", markeredgewidth=1.5)
        near.set_xlim(left - 0.75, left + 1.75)
        near.set_ylim(top + 1.75, top - 0.75)
        near.set_xticks([left, left + 1])
        near.set_yticks([top, top + 1])
        near.set_title(f"value = sum of the products = {value:.2f}")
        near.set_xlabel("column $x$")
        near.set_ylabel("row $y$")
    return fig


def border_profile(positions, curves, size):
    """Values at `positions` along an axis of `size` pixels and beyond: `curves` is `{label: values}`."""
    looks = [(BLUE, "-", 4), (GREEN, "--", 2), (VERMILION, ":", 2.5), (PURPLE, "-.", 2)]
    with style():
        fig, ax = plt.subplots(figsize=(6.6, 3.2))
        ax.axvspan(0, size - 1, color="#eeeeee", linewidth=0)
        ax.text(
            (size - 1) / 2, 1.02, "inside: pixel centres", ha="center", color=GRAY, transform=ax.get_xaxis_transform()
        )
        for (label, values), (color, line, width) in zip(curves.items(), looks, strict=False):
            ax.plot(positions, values, color=color, linestyle=line, linewidth=width, label=label)
        pixels = np.arange(size)
        ax.plot(pixels, np.interp(pixels, positions, next(iter(curves.values()))), "o", color=BLACK, markersize=6)
        ax.set_xticks(np.arange(np.ceil(positions[0]), np.floor(positions[-1]) + 1))
        ax.set_xlabel("column $x$")
        ax.set_ylabel("value")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.08), ncols=3)
    return fig


def two_gradients(image, points, by_image, by_coords):
    """The sum of an image's values at `points` `(n, 2)`: its gradient by each pixel, and by each point."""
    longest = float(np.hypot(by_coords[:, 0], by_coords[:, 1]).max())
    with style():
        fig, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.6), sharex=True, sharey=True)
        left.imshow(by_image, cmap="Blues", vmin=0, vmax=1.6 * float(by_image.max()))
        for row, column in zip(*np.nonzero(by_image), strict=True):
            left.text(column, row + 0.3, f"{by_image[row, column]:.2f}", ha="center", va="center", fontsize=9)
        left.set_title("by the image: the weights, scattered")
        show_image(right, image, "by the place: the slope of the cell")
        y, x, by_y, by_x = points[:, 0], points[:, 1], by_coords[:, 0], by_coords[:, 1]
        arrows = {"angles": "xy", "scale_units": "xy", "scale": longest / 1.5, "width": 0.014}
        right.quiver(x, y, by_x, by_y, color=ORANGE, edgecolor=BLACK, linewidth=0.5, zorder=3, **arrows)
        left.plot(x, y, "+", color=VERMILION, markersize=8, markeredgewidth=2)
        right.plot(x, y, "o", color=SKY, markeredgecolor=BLACK, markersize=7, zorder=4)
        for ax in (left, right):
            ax.set_xticks(range(image.shape[1]))
            ax.set_yticks(range(image.shape[0]))
            ax.set_xlabel("column $x$")
        left.set_ylabel("row $y$")
    return fig


def slope_profile(row, slopes, first=0):
    """A row's values, and below them its slopes: `slopes` is `{title: (slopes at the pixels, slopes in the cells)}`.

    A row of n pixels has n - 1 cells; the slopes at pixels are those of the first n - 1. `first` numbers the columns.
    """
    pixels = first + np.arange(len(row))
    looks = [(VERMILION, "X"), (BLUE, "o")]
    with style():
        fig, axes = plt.subplots(1 + len(slopes), 1, figsize=(6.6, 1.9 + 1.5 * len(slopes)), sharex=True)
        axes[0].plot(pixels, row, color=GRAY)
        axes[0].plot(pixels, row, "o", color=BLACK, markersize=6)
        axes[0].set_ylabel("value")
        for ax, (title, (at_pixels, in_cells)), (color, marker) in zip(axes[1:], slopes.items(), looks, strict=False):
            ax.axhline(0, color=GRAY, linewidth=0.8)
            ax.hlines(in_cells, pixels[:-1], pixels[1:], color=color)
            ax.plot(pixels[1:], in_cells, "o", markersize=5, markerfacecolor="white", markeredgecolor=color)
            ax.plot(pixels[:-1], in_cells, "o", markersize=5, markerfacecolor="white", markeredgecolor=color)
            ax.plot(pixels[:-1], at_pixels, marker, color=color, markersize=8)
            ax.set_ylim(-1.3 * np.abs(in_cells).max(), 1.3 * np.abs(in_cells).max())
            ax.set_title(title, loc="left", fontsize=10)
            ax.set_ylabel("slope")
        axes[-1].set_xticks(pixels)
        axes[-1].set_xlabel("column $x$")
    return fig


def climbs(image, tracks, marked=None):
    """Points that move over an image: `tracks` is `{title: (steps, n, 2)}`; `marked` is the point drawn thick."""
    with style():
        fig, axes = plt.subplots(1, len(tracks), figsize=(4.1 * len(tracks), 4.3), squeeze=False)
        for ax, (title, track) in zip(axes[0], tracks.items(), strict=True):
            show_image(ax, image, title)
            ax.plot(track[:, :, 1], track[:, :, 0], color=SKY, linewidth=1)
            ax.plot(track[0, :, 1], track[0, :, 0], ".", color=GRAY, markersize=2.5)
            moved = np.any(track[0] != track[-1], axis=-1)
            ax.plot(track[-1, moved, 1], track[-1, moved, 0], ".", color=ORANGE, markersize=5)
            if marked is not None:
                own = track[:, marked]
                ax.plot(own[:, 1], own[:, 0], color=VERMILION, linewidth=2.5)
                ax.plot(own[0, 1], own[0, 0], "s", markersize=8, markerfacecolor="none", markeredgecolor=VERMILION)
                ax.plot(own[-1, 1], own[-1, 0], "*", markersize=14, color=VERMILION, markeredgecolor="white", zorder=5)
    return fig


def shift_search(mismatches, axis, losses, tracks, goal):
    """A search for the shift between two images: what is left of the mismatch, and the way over the loss.

    Args:
        mismatches: `{title: signed differences (height, width)}`, two of them.
        axis: the shifts at which `losses` `(n, n)` was measured, in both directions.
        tracks: `{label: (steps, 2)}`, shifts in `(y, x)`.
        goal: the true shift `(y, x)`.
    """
    with style():
        fig, (*pictures, land) = plt.subplots(1, 3, figsize=(9.6, 4.1))
        for ax, (title, difference) in zip(pictures, mismatches.items(), strict=True):
            ax.imshow(difference, cmap="PuOr", vmin=-1, vmax=1)
            ax.set_title(title)
            ax.set_xticks([])
            ax.set_yticks([])
            ax.spines[:].set(visible=True, color=GRAY)
        land.contourf(axis, axis, losses, levels=14, cmap="Greys")
        land.plot(goal[1], goal[0], "*", color=ORANGE, markeredgecolor=BLACK, markersize=17, label="the true shift")
        for (label, track), (color, marker) in zip(tracks.items(), [(VERMILION, "X"), (BLUE, "o")], strict=False):
            y, x = track[:, 0], track[:, 1]
            land.plot(x, y, color=color)
            land.plot(x[-1], y[-1], marker, color=color, markeredgecolor="white", markersize=9, label=label)
        land.set_aspect("equal")
        land.invert_yaxis()
        land.set_xlabel("shift in $x$")
        land.set_ylabel("shift in $y$")
        land.set_title("the loss over all shifts")
        fig.legend(*land.get_legend_handles_labels(), loc="outside lower right", ncols=3)
    return fig


def answer_and_target(answer, target):
    """A reader's (height, width) array beside the one that was wanted, on one scale."""
    low, high = float(min(answer.min(), target.min())), float(max(answer.max(), target.max()))
    with style():
        fig, axes = plt.subplots(1, 2, figsize=(5.6, 2.8))
        for ax, array, title in zip(axes, (answer, target), ("yours", "the target"), strict=True):
            ax.imshow(array, cmap="Blues", vmin=low, vmax=high)
            ax.set_title(title)
    return fig


def curve_and_target(answer, target, x, y):
    """A reader's curve `(n,)` beside the one that was wanted, on the same axes; `x` and `y` say what they are."""
    with style():
        fig, axes = plt.subplots(1, 2, figsize=(7, 2.8), sharex=True, sharey=True)
        for ax, curve, title in zip(axes, (answer, target), ("yours", "the target"), strict=True):
            ax.plot(curve, ".-", color=BLUE, lw=1)
            ax.set(title=title, xlabel=x)
        axes[0].set_ylabel(y)
    return fig
