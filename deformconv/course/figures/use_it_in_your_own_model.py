"""Drawings of chapter 12: which layers to deform, offsets that run away, the numbers that a few bits can name."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullLocator

from deformconv.course.figures.house_style import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILION, style

LOOKS = ((BLUE, "o", "-"), (VERMILION, "s", "--"), (GREEN, "^", ":"), (ORANGE, "D", "-."))
# Significant bits, the leading 1 counted.
FORMATS = {"float32": 24, "float16": 11, "bfloat16": 8}


def swaps(results, control):
    """Two accuracies of each way to change a network, joined by a line; the first row is where all begin.

    Args:
        results: `{name: {test: accuracy in [0, 1]}}`, two tests each, from top to bottom.
        control: the name that the others are measured by; a line leads down from each of its marks.
    """
    tests = list(next(iter(results.values())))
    with style():
        figure, ax = plt.subplots(figsize=(7.2, 0.9 + 0.42 * len(results)))
        for row, (name, accuracies) in enumerate(results.items()):
            values = [100 * accuracies[test] for test in tests]
            ax.plot(values, [row, row], color="0.75", linewidth=1.5, zorder=1)
            for (colour, marker, dash), test, value in zip(LOOKS, tests, values, strict=False):
                ax.plot(value, row, marker, color=colour, ms=8, label=test if row == 0 else None, linestyle="none")
                if name == control:
                    ax.axvline(value, color=colour, linewidth=1, linestyle=dash, zorder=0)
        ax.set_yticks(range(len(results)), list(results))
        ax.set(xlabel="accuracy, %", ylim=(len(results) - 0.5, -0.5))
        ax.tick_params(axis="y", length=0)
        figure.legend(loc="outside upper center", ncols=len(tests))
    return figure


def offset_lengths(runs, limit):
    """How long the offsets of each layer become while a network trains; a panel for each run.

    Args:
        runs: `{title: (steps, {layer: lengths}, end)}`; `end` says how it ended, in a word or two.
        limit: length, in pixels, from which on nearly all taps are beyond the border: a dashed line.
    """
    columns = min(3, len(runs))
    rows = -(-len(runs) // columns)
    with style():
        figure, axes = plt.subplots(
            rows, columns, figsize=(7.2, 0.6 + 2.4 * rows), sharex=True, sharey=True, squeeze=False
        )
        for ax, (title, (steps, lengths, end)) in zip(axes.flat, runs.items(), strict=False):
            for (layer, values), (colour, marker, dash) in zip(lengths.items(), LOOKS, strict=False):
                ax.plot(steps, np.maximum(values, 1e-3), color=colour, marker=marker, linestyle=dash, ms=4, label=layer)
            ax.axhline(limit, color=BLACK, linewidth=1, linestyle=(0, (6, 3)))
            ax.set_title(f"{title}\n{end}", fontsize=10)
            ax.set(yscale="log")
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_locator(NullLocator())
        for ax in axes.flat[len(runs) :]:
            ax.remove()
        figure.supxlabel("step", fontsize=10)
        figure.supylabel("mean offset length, pixels", fontsize=10)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower right", ncols=len(labels))
    return figure


def rounded(values, bits, nearest=np.round):
    """The nearest numbers with so many significant bits."""
    mantissa, exponent = np.frexp(values)  # 0.5 <= |mantissa| < 1
    return np.ldexp(nearest(mantissa * 2.0**bits), exponent - bits)


def representable(coordinate, formats=None):
    """The numbers around a coordinate that each format can name, and the one that it takes.

    Args:
        coordinate: in pixels, positive.
        formats: `{name: significant bits}`; `FORMATS` if None.
    """
    formats = FORMATS if formats is None else formats
    spacing = {name: 2.0 ** (np.floor(np.log2(coordinate)) - bits + 1) for name, bits in formats.items()}
    reach = max(1.0, 2.6 * max(spacing.values()))
    with style():
        figure, ax = plt.subplots(figsize=(7.2, 0.9 + 0.72 * len(formats)))
        for row, (name, bits) in enumerate(formats.items()):
            if spacing[name] < reach / 200:  # too many to draw
                ax.fill_between([coordinate - reach, coordinate + reach], row - 0.24, row + 0.24, color=BLUE, alpha=0.5)
            else:
                around = coordinate + np.arange(-reach, reach, spacing[name] / 2)
                numbers = np.unique(rounded(around[around > 0], bits))
                ax.vlines(numbers, row - 0.24, row + 0.24, color=BLUE, linewidth=1.2)
            nearest = float(rounded(coordinate, bits))
            ax.plot(nearest, row, "o", ms=8, color=VERMILION, mec=BLACK, zorder=3)
            ax.text(
                1.02, row, f"{nearest:.6g}, {abs(nearest - coordinate):.2g} off\nthe next is {spacing[name]:.3g} away",
                va="center", fontsize=9, transform=ax.get_yaxis_transform(),
            )  # fmt: skip
        ax.axvline(coordinate, color=PURPLE, linewidth=1.5, linestyle="--")
        ax.text(coordinate, -0.55, f"{coordinate:g}", ha="center", va="bottom", color=BLACK)
        ax.set_yticks(range(len(formats)), [f"{name}\n{bits} bits" for name, bits in formats.items()])
        ax.set(xlim=(coordinate - reach, coordinate + reach), ylim=(len(formats) - 0.5, -0.6))
        ax.set_xlabel("coordinate, pixels")
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
    return figure
