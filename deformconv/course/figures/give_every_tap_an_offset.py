"""The taps of a kernel, drawn: where they rest, where their offsets send them, what they read there."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects
from matplotlib.patches import Rectangle

from deformconv import reference
from deformconv.course.figures.house_style import BLACK, BLUE, ORANGE, SKY, VERMILION, show_image, style

# A dark rim around what is light, so that it reads on black pixels and on white ones.
_RIM = [patheffects.withStroke(linewidth=3.5, foreground=BLACK)]


def taps_on_image(panels, weights, reach=7):
    """Nine taps over images, one panel each: `panels` of `(image, centre, taps, title)`, taps `(n, 2)` in `(y, x)`.

    A tap of positive weight is a disc, one of negative weight a square. `reach`: pixels shown around the centre.
    """
    with style():
        fig, axes = plt.subplots(1, len(panels), figsize=(3.1 * len(panels), 3.5), squeeze=False)
        for ax, (image, centre, taps, title) in zip(axes[0], panels, strict=True):
            _show_around(ax, image, centre, reach, title)
            _draw_taps(ax, np.asarray(taps), weights)
        return fig


def tap_arrows(image, rest, offsets, reach=7):
    """Two panels: the taps `rest` `(9, 2)` in their grid, and their `offsets` `(9, 2)` as arrows to where they go."""
    centre = rest[len(rest) // 2]
    with style():
        fig, axes = plt.subplots(1, 2, figsize=(8.4, 4.5))
        _show_around(axes[0], image, centre, reach, "convolution: $p_0 + p_n$")
        _show_around(axes[1], image, centre, reach, "deformable: $p_0 + p_n + \\Delta p_n$")
        for ax in axes:
            ax.plot(rest[:, 1], rest[:, 0], "o", ms=9, mfc="none", mec="white", mew=1.8, path_effects=_RIM)
        moved = rest + offsets
        for start, end in zip(rest, moved, strict=True):
            _arrow(axes[1], start, end)
        axes[1].plot(moved[:, 1], moved[:, 0], "o", ms=13, mfc=ORANGE, mec=BLACK)
        for number, (y, x) in enumerate(moved):
            axes[1].text(x, y, number, ha="center", va="center_baseline", fontsize=9, color=BLACK)
        for number, (y, x) in enumerate(rest):
            axes[0].plot(x, y, "o", ms=13, mfc=SKY, mec=BLACK)
            axes[0].text(x, y, number, ha="center", va="center_baseline", fontsize=9, color=BLACK)
        return fig


def columns_picture(image, rest, offsets, columns, kernel, pixel):
    """One matrix product: an image and the taps of one output pixel, all columns, the kernel, the output.

    Args:
        image: `(h, w)`.
        rest, offsets: `(h', w', n, 2)`, where each tap of each output pixel rests, and how far it moves.
        columns: `(h' * w', n)`, the values there.
        kernel: `(n,)`.
        pixel: the output pixel `(row, column)` that is picked out.
    """
    row = pixel[0] * rest.shape[1] + pixel[1]
    with style():
        fig, axes = plt.subplots(1, 4, figsize=(9.6, 4.6), gridspec_kw={"width_ratios": (3.9, 3.2, 0.7, 0.8)})
        left, middle, right, last = axes
        show_image(left, image, f"output pixel {pixel} and its taps")
        left.add_patch(Rectangle((-0.5, -0.5), image.shape[1], image.shape[0], fill=False, ec="#999999"))
        start, end = rest[pixel], rest[pixel] + offsets[pixel]
        left.plot(start[:, 1], start[:, 0], "o", ms=7, mfc="none", mec="white", mew=1.5, path_effects=_RIM)
        for one, other in zip(start, end, strict=True):
            _arrow(left, one, other)
        left.plot(end[:, 1], end[:, 0], "o", ms=12, mfc=ORANGE, mec=BLACK)
        for number, (y, x) in enumerate(end):
            left.text(x, y, number, ha="center", va="center_baseline", fontsize=9)

        middle.imshow(columns, vmin=0, vmax=1, aspect="auto")
        middle.set(title="columns", xlabel="tap", ylabel="output pixel, row by row")
        middle.set_xticks(range(columns.shape[1]))
        middle.set_yticks(range(columns.shape[0]))
        middle.tick_params(length=0, labelsize=8)
        _numbers(right, [f"{weight:.3g}" for weight in kernel], "kernel", "@")
        _numbers(last, [f"{value:.2f}" for value in columns @ kernel], "output", "=")
        for ax, width in ((middle, columns.shape[1]), (last, 1)):
            ax.add_patch(Rectangle((-0.5, row - 0.5), width, 1, fill=False, ec=ORANGE, lw=3, clip_on=False, zorder=5))
        return fig


def response_maps(canvas, maps, places):
    """A canvas and what kernels make of it: `maps` `{title: (h, w)}`, with their values at `places` `[(y, x)]`."""
    with style():
        fig, axes = plt.subplots(2, 2, figsize=(8.6, 5.2))
        show_image(axes[0, 0], canvas, "the picture")
        for y, x in places:
            axes[0, 0].plot(x, y, "+", ms=11, mew=2, color=ORANGE)
        for ax, (title, values) in zip(axes.flat[1:], maps.items(), strict=True):
            show_image(ax, np.maximum(values, 0), title)
            for y, x in places:
                ax.plot(x, y, "o", ms=17, mfc="none", mec=ORANGE, mew=2)
                ax.text(x, y - 4.5, f"{values[y, x]:.2f}", color="white", ha="center", fontsize=11, path_effects=_RIM)
        return fig


def channel_order(kernel_size, offset_groups):
    """The channels of an offset tensor as a strip of cells: offset group, then tap row by row, then (y, x)."""
    taps = kernel_size[0] * kernel_size[1]
    channels = 2 * taps * offset_groups
    with style():
        fig, (left, ax) = plt.subplots(1, 2, figsize=(10, 2.6), gridspec_kw={"width_ratios": (1.25, 7.5)})
        places = np.indices(kernel_size).reshape(2, -1)
        left.plot(places[1], places[0], color="#999999", lw=1, ls=":")
        left.plot(places[1], places[0], "o", ms=25, mfc="white", mec=BLACK)
        for i, j in places.T:
            left.text(j, i, f"{i},{j}", ha="center", va="center_baseline", fontsize=9)
        for end, name in (((0.6, -1), "y"), ((-0.9, 0.9), "x")):
            left.annotate(
                name, xy=(-1, -0.9), xytext=end[::-1], ha="center", va="center", arrowprops={"arrowstyle": "<-"}
            )
        left.set_title("the taps", fontsize=10)
        left.set_xlim(-1.4, kernel_size[1] - 0.4)
        left.set_ylim(kernel_size[0] - 0.4, -1.3)

        for channel in range(channels):
            group, rest = divmod(channel, 2 * taps)
            tap, axis = divmod(rest, 2)
            colour = (BLUE, VERMILION)[group % 2]
            cell = {"facecolor": colour, "alpha": 0.55 if axis == 0 else 0.2, "edgecolor": BLACK}
            ax.add_patch(Rectangle((channel, 0), 1, 1, hatch="" if axis == 0 else "///", **cell))
            ax.text(channel + 0.5, 0.5, "yx"[axis], ha="center", va="center_baseline", fontsize=12, weight="bold")
            ax.text(channel + 0.5, 1.15, channel, ha="center", fontsize=8)
            if axis == 0:
                i, j = divmod(tap, kernel_size[1])
                _bracket(ax, channel, channel + 2, -0.15, f"{i},{j}", fontsize=9)
            if rest == 0:
                _bracket(ax, channel, channel + 2 * taps, -1.2, f"offset group {group}", fontsize=11)
        ax.text(-0.3, 1.15, "channel", ha="right", fontsize=8)
        ax.text(-0.3, -0.5, "tap", ha="right", va="top", fontsize=9)
        ax.set_xlim(-1.9, channels + 0.1)
        ax.set_ylim(-2.2, 1.7)
        for each in (left, ax):
            each.axis("off")
        return fig


def border(size, map_coordinates, values, line, profile):
    """What one tap reads of an image of ones: over the plane, and along a vertical line through its middle.

    Args:
        size: `(height, width)` of the image.
        map_coordinates: `(y, x)`, the 1-D coordinates of `values`.
        values: `(len(y), len(x))`.
        line: 1-D, the y of `profile`.
        profile: the values along that line.
    """
    y, x = map_coordinates
    height, width = size
    with style():
        fig, (left, right) = plt.subplots(1, 2, figsize=(8.6, 4.2), gridspec_kw={"width_ratios": (1, 1.25)})
        left.imshow(values, extent=(x[0], x[-1], y[-1], y[0]), vmin=0, vmax=1)
        lines = left.contour(x, y, values, levels=[0.25, 0.5, 0.75], colors=ORANGE, linewidths=1.2)
        left.clabel(lines, fontsize=8)
        rows, columns = np.indices(size)
        left.plot(columns, rows, "o", color=BLUE, ms=4)
        left.set(xlabel="x of the tap", ylabel="y of the tap", title="read at (y, x)")
        right.axvspan(0, height - 1, color="#DDDDDD", lw=0)
        right.text((height - 1) / 2, 0.5, "between pixel centres", ha="center", fontsize=9)
        right.plot(line, profile, color=BLUE)
        right.plot(range(height), np.ones(height), "o", color=BLUE)
        right.set(xlabel="y of the tap, x in the middle", ylabel="value read", title="along a vertical line")
        right.set_xticks(range(-2, height + 2))
        return fig


def tap_paths(image, paths, weights, responses, reach=7):
    """Taps that moved step by step: `paths` `(steps, n, 2)` over an image, and the response at each step."""
    with style():
        fig, (left, right) = plt.subplots(1, 2, figsize=(8.4, 4.1))
        _show_around(left, image, paths[0].mean(axis=0), reach, "from the open rings to the filled marks")
        for tap in range(paths.shape[1]):
            left.plot(paths[:, tap, 1], paths[:, tap, 0], color="white", lw=1.5, path_effects=_RIM)
        left.plot(paths[0, :, 1], paths[0, :, 0], "o", ms=8, mfc="none", mec="white", mew=1.6, path_effects=_RIM)
        _draw_taps(left, paths[-1], weights)
        right.plot(responses, color=BLUE)
        right.plot([0, len(responses) - 1], [responses[0], responses[-1]], "o", color=BLUE)
        right.set(xlabel="step of gradient ascent", ylabel="response", title="the response rises")
        right.set_ylim(bottom=0)
        return fig


def tap_explorer(image, centre, weights, zoom=1.0, rotation=0.0, stretch=1.0):
    """A 3 x 3 kernel's taps on an image, zoomed, turned (degrees) and stretched along x, and the values they read."""
    turn = np.deg2rad(rotation)
    places = np.indices((3, 3)).reshape(2, -1).T - 1.0
    places = places * [zoom, zoom * stretch]
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    taps = np.asarray(centre) + places @ matrix.T
    image = np.asarray(image).reshape(*image.shape[:2], 1)
    values = reference.bilinear_sample(image[None], taps[None])[0, :, 0]
    with style():
        fig, (left, right) = plt.subplots(1, 2, figsize=(8.4, 4.1))
        _show_around(left, image, centre, 10, f"response {values @ weights:.3f}")
        _draw_taps(left, taps, weights)
        positive = np.asarray(weights) > 0
        right.bar(np.flatnonzero(positive), values[positive], color=ORANGE, ec=BLACK, label="weight > 0")
        right.bar(np.flatnonzero(~positive), values[~positive], color=SKY, ec=BLACK, hatch="//", label="weight < 0")
        right.set(xlabel="tap, row by row", ylabel="value read", ylim=(0, 1.15), title="what each tap reads")
        right.set_xticks(range(len(values)))
        right.legend(ncols=2, loc="upper center", fontsize=9)
        return fig


def _show_around(ax, image, centre, reach, title):
    show_image(ax, image, title)
    ax.set_facecolor(BLACK)  # outside the image is zero
    ax.set_xlim(centre[1] - reach - 0.5, centre[1] + reach + 0.5)
    ax.set_ylim(centre[0] + reach + 0.5, centre[0] - reach - 0.5)


def _draw_taps(ax, taps, weights):
    for (y, x), weight in zip(taps, weights, strict=True):
        marker, colour, sign = ("o", ORANGE, "+") if weight > 0 else ("s", SKY, "\N{MINUS SIGN}")
        ax.plot(x, y, marker, ms=11, mfc=colour, mec=BLACK, mew=1.2)
        ax.text(x, y, sign, ha="center", va="center_baseline", fontsize=11, weight="bold", color=BLACK)


def _arrow(ax, start, end):
    """From `start` to `end`, both (y, x), in white with a dark rim."""
    arrow = ax.annotate(
        "", xy=end[::-1], xytext=start[::-1], arrowprops={"arrowstyle": "->", "color": "white", "lw": 1.6, "shrinkB": 5}
    )
    arrow.arrow_patch.set_path_effects(_RIM)


def _numbers(ax, numbers, title, sign):
    """A column of cells that hold their numbers, with the sign that stands before it."""
    for row, number in enumerate(numbers):
        ax.add_patch(Rectangle((-0.5, row - 0.5), 1, 1, facecolor="#EEEEEE", edgecolor="white"))
        ax.text(0, row, number, ha="center", va="center_baseline", fontsize=8)
    ax.set(title=title, xlim=(-0.5, 0.5), ylim=(len(numbers) - 0.5, -0.5))
    ax.text(-0.3, 0.5, sign, transform=ax.transAxes, ha="center", va="center", fontsize=15)
    ax.axis("off")


def _bracket(ax, left, right, y, text, fontsize):
    ax.plot([left + 0.1, left + 0.1, right - 0.1, right - 0.1], [y, y - 0.2, y - 0.2, y], color=BLACK, lw=1)
    ax.text((left + right) / 2, y - 0.35, text, ha="center", va="top", fontsize=fontsize)
