"""The drawings of chapter 9: what each tap counts for, under the four ways to weigh it."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects

from deformconv import reference
from deformconv.course.figures.house_style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, show_image, style

_RIM = [patheffects.withStroke(linewidth=3, foreground=BLACK)]
# Area of a tap's mark, in square points, for a weight of 1.
AREA = 600


def weigh(logits, how):
    """What `logits` `(n,)` make of the taps: "sigmoid", "2 sigmoid", "softmax" or "free"."""
    logits = np.asarray(logits, "float64")
    if how == "softmax":
        shares = np.exp(logits - logits.max())
        return shares / shares.sum()
    return {"sigmoid": 1, "2 sigmoid": 2}[how] / (1 + np.exp(-logits)) if how != "free" else logits


def fleeing_taps(row, rest, ends, outputs, wanted):
    """A row as bars with taps at rest and where they end, and the output step by step: `outputs` `{name: (steps,)}`."""
    with style():
        fig, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.5), gridspec_kw={"width_ratios": (5, 4)})
        left.bar(range(len(row)), row, width=0.96, color="#DDDDDD", edgecolor="#999999")
        left.plot([-1, *range(len(row)), len(row)], [0, *row, 0], color="#777777", lw=1)
        left.axhline(0, color=BLACK, lw=0.8)
        for n, (start, end) in enumerate(zip(rest, ends, strict=True)):
            height, final = (np.interp(place, np.arange(len(row)), row) for place in (start, end))
            left.plot(start, height, "o", ms=13, mfc="white", mec=BLUE, mew=2, label=None if n else "at rest")
            if abs(end - start) > 0.05:
                arrow = {"arrowstyle": "-|>", "color": VERMILION, "lw": 2, "shrinkA": 8, "shrinkB": 6}
                left.annotate("", xy=(end, final), xytext=(start, height), arrowprops=arrow)
                label = None if n else "where the slope ends"
                left.plot(end, final, "s", ms=11, mfc=VERMILION, mec=BLACK, label=label)
        left.set(xlabel="place", ylabel="value", ylim=(0, 1.42), xlim=(-1.3, len(row) + 0.3), title="the row")
        left.set_xticks(range(-1, len(row) + 1))
        left.legend(ncols=2, loc="upper center", fontsize=9)
        for (name, values), colour, dashes in zip(outputs.items(), (VERMILION, BLUE), ("-", "--"), strict=True):
            right.plot(values, dashes, color=colour, label=f"{name}: {values[-1]:.2f}")
        right.axhline(wanted, color=BLACK, lw=1, ls=":")
        right.text(0, wanted - 0.04, f"wanted: {wanted:g}", ha="left", va="top", fontsize=9)
        right.set(xlabel="step of gradient descent", title="the output", ylim=(wanted - 0.3, None))
        right.legend(fontsize=9)
    return fig


def mask_curves():
    """The mask against its logit: sigmoid, 2 sigmoid, and none at all; where each starts, and how steeply."""
    logits = np.linspace(-5, 5, 201)
    looks = (("sigmoid", VERMILION, "-", "s"), ("2 sigmoid", BLUE, "--", "o"), ("free", GREEN, ":", "D"))
    slopes = {"sigmoid": 0.25, "2 sigmoid": 0.5, "free": 1.0}
    with style():
        fig, ax = plt.subplots(figsize=(6.4, 3.4))
        ax.axhline(1, color="#999999", lw=1)
        ax.text(-4.9, 1.04, "a plain convolution", fontsize=9, color="#555555")
        for how, colour, dashes, marker in looks:
            start = weigh(np.zeros(1), how)[0]
            label = f"{how}: starts at {start:g}, slope {slopes[how]:g}"
            ax.plot(logits, weigh(logits, how), dashes, color=colour)
            ax.plot(0, start, marker, ms=9, color=colour, mec=BLACK)
            ax.plot([], [], dashes, marker=marker, mec=BLACK, color=colour, label=label)
        ax.set(xlabel="logit $a_n$", ylabel="mask $m_n$", ylim=(-1, 2.4), xlim=(-5, 5))
        ax.legend(fontsize=9, loc="lower right")
    return fig


def mask_on_digit(digit, mean_mask, taps, masks, titles):
    """The mean mask over a digit, and two output pixels' taps on it, as large as their masks.

    Args:
        digit: `(h, w)`.
        mean_mask: `(h', w')`, drawn over the same area.
        taps: two arrays `(n, 2)` of places in the digit, `(y, x)`.
        masks: two arrays `(n,)`.
        titles: of the two pixels.
    """
    with style():
        fig, axes = plt.subplots(2, 2, figsize=(7.2, 6.8))
        axes = axes.ravel()
        height, width = digit.shape
        show_image(axes[0], digit, "the digit")
        reach = max(abs(mean_mask - 1).max(), 0.1)
        extent = (-0.5, width - 0.5, height - 0.5, -0.5)
        shown = axes[1].imshow(mean_mask, cmap="PuOr_r", vmin=1 - reach, vmax=1 + reach, extent=extent)
        axes[1].set(title="mean mask", xticks=[], yticks=[])
        axes[1].spines[:].set_visible(False)
        # Beside both rows, so that the columns stay as wide as each other; it belongs to the upper one.
        bar = fig.colorbar(shown, ax=list(axes[1::2]), shrink=0.42, anchor=(0, 0.95))
        bar.ax.tick_params(labelsize=8)
        for ax, places, mask, title in zip(axes[2:], taps, masks, titles, strict=True):
            show_image(ax, digit, title)
            ax.set_facecolor(BLACK)
            draw_weighed(ax, places, mask, area=150)
            ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    return fig


def draw_weighed(ax, taps, weights, area=100):
    """Taps `(n, 2)` as marks whose area is the weight's size: discs above zero, squares below, crosses at none."""
    for (y, x), weight in zip(taps, weights, strict=True):
        if abs(weight) < 0.02:
            ax.plot(x, y, "x", ms=6, mew=1.8, color="white", path_effects=_RIM)
            continue
        marker, colour = ("o", ORANGE) if weight > 0 else ("s", SKY)
        ax.scatter(x, y, s=area * abs(weight), marker=marker, color=colour, edgecolors=BLACK, zorder=3)


# What a version is called, its equation, and how it weighs.
VERSIONS = {
    "v1": r"$\sum_n\, w_n\; x(p_n + \Delta p_n)$",
    "v2": r"$\sum_n\, w_n\, 2\sigma(a_n)\; x(p_n + \Delta p_n)$",
    "v3": r"$\sum_n\, \mathrm{softmax}(a)_n\; x(p_n + \Delta p_n)$",
    "v4": r"$\sum_n\, a_n\; x(p_n + \Delta p_n)$",
}


def tap_weights(version, kernel, logits):
    """What each tap counts for, `(n,)`, in one version of the operator."""
    return {
        "v1": lambda: np.asarray(kernel, "float64"),
        "v2": lambda: kernel * weigh(logits, "2 sigmoid"),
        "v3": lambda: weigh(logits, "softmax"),
        "v4": lambda: weigh(logits, "free"),
    }[version]()


def four_versions(image, taps, kernel, logits):
    """The same nine taps in the four versions: dots where they look, as large as they count; the output beneath."""
    values = read(image, taps)
    with style():
        fig, axes = plt.subplots(2, 2, figsize=(7.2, 9.4), gridspec_kw={"hspace": 0.08})
        for ax, (version, equation) in zip(axes.flat, VERSIONS.items(), strict=True):
            weights = tap_weights(version, kernel, logits)
            show_image(ax, image)
            ax.set_title(version, fontsize=13, weight="bold")
            draw_weighed(ax, taps, weights, area=AREA)
            lines = (equation, f"$y = {values @ weights:+.2f}$", f"weights add up to {weights.sum():+.2f}")
            ax.set_xlabel("\n".join(lines), fontsize=11.5, linespacing=1.6)
        marks = [
            plt.Line2D([], [], ls="", marker=marker, ms=9, color=colour, mec=BLACK)
            for marker, colour in (("o", ORANGE), ("s", SKY))
        ]
        marks.append(plt.Line2D([], [], ls="", marker="x", ms=7, mew=1.8, color=BLACK))
        names = ["weight above zero", "below zero", "next to nothing"]
        fig.legend(marks, names, loc="outside lower center", ncols=3, fontsize=10)
    return fig


def stacked(ranges):
    """Layer by layer: the largest value and the contrast, `{name: (layers, 2)}` lowest and highest value."""
    looks = ((BLUE, "-", "o"), (VERMILION, "--", "s"), (PURPLE, ":", "D"))
    with style():
        fig, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.4))
        for (name, pairs), (colour, dashes, marker) in zip(ranges.items(), looks, strict=False):
            low, high = np.asarray(pairs).T
            settings = {"color": colour, "ls": dashes, "marker": marker, "ms": 4, "label": name}
            left.plot(np.maximum(abs(low), abs(high)), **settings)
            right.plot(high - low, **settings)
        left.set(xlabel="layer", yscale="log", title="the largest value")
        right.set(xlabel="layer", yscale="log", title="contrast: largest less smallest")
        for ax in (left, right):
            ax.set_xticks(range(0, len(low), 5))
        left.legend(fontsize=9)
    return fig


def weighing_explorer(values, logits, favourite, logit, temperature):
    """Nine taps' values, and their weights and the output under the four ways, with one logit chosen by hand."""
    logits = np.array(logits, "float64")
    logits[favourite] = logit
    with style():
        fig, axes = plt.subplots(2, 3, figsize=(8.4, 5.4))
        *axes, last = axes.ravel()
        last.remove()
        panels = {"what the taps read": np.asarray(values)}
        panels |= {how: weigh(logits / temperature, how) for how in ("sigmoid", "2 sigmoid", "softmax", "free")}
        for ax, (name, heights) in zip(axes, panels.items(), strict=True):
            first = ax is axes[0]
            for n, height in enumerate(heights):
                colour = "#BBBBBB" if first else ORANGE if height >= 0 else SKY
                ax.bar(n, height, color=colour, ec=BLACK, hatch="" if height >= 0 else "//")
            ax.axhline(0, color=BLACK, lw=0.8)
            ax.plot(favourite, max(heights[favourite], 0), "v", ms=8, color=VERMILION, mec=BLACK, clip_on=False)
            ax.set_xticks(range(0, len(heights), 2))
            ax.set_xlabel("tap")
            ax.set_title(name if first else f"{name}\n$y = {values @ heights:+.2f}$", fontsize=10)
    return fig


def read(image, places):
    """The values of an image `(h, w)` at `places` `(n, 2)`."""
    return reference.bilinear_sample(np.asarray(image, "float64")[None, ..., None], np.asarray(places)[None])[0, :, 0]
