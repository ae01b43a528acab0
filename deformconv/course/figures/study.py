"""Drawings of the study: accuracy against zoom, effective dilation against size."""

import matplotlib.pyplot as plt
import numpy as np

from deformconv.course.figures.style import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, style

# One look per variant, the same in every figure: panel, colour, marker, dashes.
LOOKS = {
    "regular": (None, BLUE, "s", "-"),
    "deformable": (None, GREEN, "o", "-"),
    "deformable-all-layers": ("offsets learn, all else is frozen", SKY, "D", "-"),
    "deformable-groups": ("offsets learn, all else is frozen", PURPLE, "P", "--"),
    "modulated": ("offsets learn, all else is frozen", ORANGE, "X", "-."),
    "conv-offset": ("offsets learn, all else is frozen", VERMILION, "^", ":"),
    "batchnorm-only": ("frozen controls", ORANGE, "^", "--"),
    "conv-offset-2017": ("frozen controls", VERMILION, "v", ":"),
    "spatial-transformer": ("frozen controls", SKY, "D", "-"),
    "equal-parameters": ("frozen controls", PURPLE, "P", "-."),
    "full-fine-tune": ("nothing is frozen", ORANGE, "^", "--"),
    "from-scratch": ("nothing is frozen", PURPLE, "P", "-."),
    "from-scratch-deformable": ("nothing is frozen", SKY, "D", "-"),
}


def accuracy_against_zoom(runs):
    """Mean accuracy of each variant at fixed zooms, with the standard deviation over seeds as a band.

    The regular classifier and `deformable` are in every panel, the others in the panel of their kind.
    """
    variants = [name for name in LOOKS if any(run["variant"] == name for run in runs)]
    panels = list(dict.fromkeys(LOOKS[name][0] for name in variants if LOOKS[name][0])) or [None]
    with style():
        figure, axes = plt.subplots(
            1, len(panels), figsize=(max(6, 4.6 * len(panels)), 5.0), sharey=True, squeeze=False
        )
        for ax, panel in zip(axes[0], panels, strict=True):
            ax.axvspan(1, 2.5, color="0.93", zorder=0)
            ax.text(1.75, 3, "zooms seen in fine-tuning", ha="center", color="0.35")
            for variant in (name for name in variants if LOOKS[name][0] in (None, panel)):
                _draw_curve(ax, variant, [run for run in runs if run["variant"] == variant])
            ax.set(xlabel="zoom (the digit is 1 / zoom of its size)", ylim=(0, 101))
            ax.set_title(panel or "", loc="left")
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
        seeds = len({run["seed"] for run in runs})
        axes[0, 0].set_ylabel("test accuracy, %")
        figure.suptitle(f"{runs[0]['dataset']}, {seeds} seed{'s' if seeds > 1 else ''}", x=0.01, ha="left")
    return figure


def _draw_curve(ax, variant, runs):
    zooms = np.array([float(zoom) for zoom in runs[0]["zoom"]])
    values = 100 * np.array([list(run["zoom"].values()) for run in runs])
    mean, spread = values.mean(axis=0), values.std(axis=0, ddof=1) if len(runs) > 1 else 0
    _, colour, marker, dashes = LOOKS[variant]
    ax.plot(zooms, mean, color=colour, marker=marker, linestyle=dashes, label=variant)
    ax.fill_between(zooms, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)


def effective_dilation(runs, variant="deformable"):
    """The effective dilation of each layer against the size of the digit, on it and beside it, mean over seeds."""
    own = [run for run in runs if run["variant"] == variant]
    layers = list(next(iter(own[0]["dilation"].values())))
    zooms = list(own[0]["dilation"])
    with style():
        figure, axes = plt.subplots(1, len(layers), figsize=(3.4 * len(layers), 3.6), sharey=True, squeeze=False)
        for ax, layer in zip(axes[0], layers, strict=True):
            for place, colour, marker, dashes in (("digit", GREEN, "o", "-"), ("background", BLUE, "s", "--")):
                values = np.array([[run["dilation"][zoom][layer][place] for zoom in zooms] for run in own], "float64")
                spread = values.std(axis=0, ddof=1) if len(own) > 1 else 0
                sizes, mean = 1 / np.array(zooms, "float64"), values.mean(axis=0)
                ax.plot(sizes, mean, color=colour, marker=marker, linestyle=dashes, label=f"on the {place}")
                ax.fill_between(sizes, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
            ax.axhline(1, color="0.3", linewidth=1, linestyle=":")
            ax.set(title=layer, xlabel="size of the digit")
        axes[0, 0].set_ylabel("effective dilation, pixels")
        axes[0, 0].legend()
    return figure
