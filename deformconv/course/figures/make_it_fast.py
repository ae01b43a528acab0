"""Drawings of chapter 11: where the time goes, the roof of a machine, and blocks of many sizes."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullLocator

from deformconv.course.figures.house_style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, style

LOOKS = ((VERMILION, "s"), (BLUE, "o"), (ORANGE, "^"), (PURPLE, "D"), (GREEN, "P"), (SKY, "v"))


def time_bars(times, yardstick=None):
    """A bar of milliseconds for each name; with a yardstick its times that one's, the yardstick itself in grey.

    Args:
        times: milliseconds by name, from top to bottom.
        yardstick: None, or the name that the others are compared with.
    """
    names = list(times)
    with style():
        figure, ax = plt.subplots(figsize=(7.2, 0.9 + 0.42 * len(names)))
        values = [float(times[name]) for name in names]
        ax.barh(names, values, color=["0.6" if name == yardstick else BLUE for name in names], height=0.68)
        for place, (name, value) in enumerate(zip(names, values, strict=True)):
            text = f"{value:.3g} ms"
            if yardstick is not None and name != yardstick:
                text += f" = {value / times[yardstick]:.3g} x"
            ax.text(value + 0.01 * max(values), place, text, va="center")
        ax.invert_yaxis()
        ax.set(xlabel="milliseconds", xlim=(0, 1.25 * max(values)))
        ax.tick_params(axis="y", length=0)
    return figure


def roofline(peak, bandwidth, parts):
    """The roof of a machine, and parts of a computation under it.

    Args:
        peak: billions of floating-point operations a second, when all operands are at hand.
        bandwidth: billions of bytes a second to and from memory.
        parts: `{name: (intensity, speed)}`, operations a byte and billions of operations a second; a speed of None
            puts a hollow mark on the roof: as fast as it could be.
    """
    intensities = [intensity for intensity, _ in parts.values()]
    lowest, highest = min(0.03, *intensities) / 2, max(100, *intensities) * 3
    along = np.geomspace(lowest, highest, 400)
    with style():
        figure, ax = plt.subplots(figsize=(7.2, 4))
        ax.plot(along, np.minimum(peak, bandwidth * along), color=BLACK, label="_roof")
        ridge = peak / bandwidth
        ax.axvline(ridge, color="0.6", linewidth=1, linestyle=":")
        ax.text(ridge * 1.06, 0.02, f"{ridge:.3g}", color="0.3", transform=ax.get_xaxis_transform())
        ax.text(highest / 1.1, peak * 1.12, f"peak {peak:.3g} GFLOP/s", ha="right", va="bottom")
        speeds = []
        for (name, (intensity, speed)), (colour, marker) in zip(parts.items(), LOOKS, strict=False):
            roof = min(peak, bandwidth * intensity)
            hollow = speed is None
            speeds.append(roof if hollow else speed)
            if not hollow:
                ax.plot([intensity] * 2, [speed, roof], color=colour, linewidth=1, linestyle="--")
            face = "white" if hollow else colour
            label = f"{name}: {intensity:.3g} a byte, {'at most ' if hollow else ''}{speeds[-1]:.3g} GFLOP/s"
            ax.plot(
                intensity, speeds[-1], marker, color=colour, markerfacecolor=face, ms=9, label=label, linestyle="none"
            )
        ax.set(xscale="log", yscale="log", xlim=(lowest, highest))
        ax.set_ylim(min(bandwidth * lowest, *speeds) / 1.5, peak * 2.5)
        ax.set(xlabel="intensity: operations for each byte of memory traffic", ylabel="GFLOP/s")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter("{x:g}")
        figure.legend(loc="outside lower center", ncols=1, title=f"slope of the roof: {bandwidth:.3g} GB/s")
    return figure


def block_sizes(kilobytes, milliseconds, marks=()):
    """Time against the size of a block's columns; the fastest is marked.

    Args:
        kilobytes: of one block's columns, rising.
        milliseconds: of the whole computation, with blocks of that size.
        marks: pairs (kilobytes, text) of upright lines, such as the size of a cache.
    """
    kilobytes, milliseconds = np.asarray(kilobytes, float), np.asarray(milliseconds, float)
    best = int(milliseconds.argmin())
    with style():
        figure, ax = plt.subplots(figsize=(7.2, 3.3))
        ax.plot(kilobytes, milliseconds, marker="o", color=BLUE)
        ax.plot(kilobytes[best], milliseconds[best], "o", ms=13, color=VERMILION, fillstyle="none", mew=2)
        text = f"{milliseconds[best]:.3g} ms with blocks of {kilobytes[best]:.0f} KB"
        ax.annotate(text, (kilobytes[best], milliseconds[best]), (0, 14), textcoords="offset points", ha="center")
        for size, words in marks:
            ax.axvline(size, color="0.4", linewidth=1, linestyle="--")
            ax.text(size * 1.06, 0.97, words, va="top", color="0.3", transform=ax.get_xaxis_transform())
        ax.set(xscale="log", xlabel="KB of columns in a block", ylabel="milliseconds")
        ax.set_xticks(kilobytes, [f"{size:,.0f}" for size in kilobytes])
        ax.minorticks_off()
        ax.set_ylim(0, 1.12 * milliseconds.max())
    return figure


def speeds_and_target(answer, target):
    """A reader's roofline `(n,)` beside the one that was wanted, on the same axes."""
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(7, 2.8), sharex=True, sharey=True)
        for ax, speeds, title in zip(axes, (answer, target), ("yours", "the target"), strict=True):
            ax.plot(2.0 ** np.arange(-3, len(speeds) - 3), speeds, "o-", color=BLUE, ms=4)
            ax.set(title=title, xlabel="operations a byte", xscale="log", yscale="log")
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_formatter("{x:g}")
                axis.set_minor_locator(NullLocator())
        axes[0].set_ylabel("speed")
    return figure
