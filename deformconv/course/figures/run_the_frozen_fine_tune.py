"""Drawings of the study: each variant's accuracy, accuracy against zoom, effective dilation, a public protocol."""

import matplotlib.pyplot as plt
import numpy as np

from deformconv.course.figures.house_style import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, style

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


def accuracy_by_variant(runs, measures=("regular", "scaled")):
    """Each variant on a line, a panel for each test set: small marks are seeds, bars one standard deviation.

    On the axis equal steps are equal factors of the errors: from 90 to 95 % is as far as from 98 to 99 %. The dotted
    line is the mean of `deformable`.
    """
    variants = [name for name in LOOKS if any(run["variant"] == name for run in runs)]
    kinds = [LOOKS[name][0] for name in variants]
    new_kind = [kind != before for kind, before in zip(kinds, [kinds[0], *kinds], strict=False)]
    places = np.arange(len(variants)) + 0.5 * np.cumsum(new_kind)  # a gap between kinds
    with style():
        size = (7.2, 1.4 + 0.32 * (places[-1] + 1))
        figure, axes = plt.subplots(1, len(measures), figsize=size, sharey=True, squeeze=False)
        for ax, measure in zip(axes[0], measures, strict=True):
            for place, variant in zip(places, variants, strict=True):
                values = 100 * np.array([run[measure] for run in runs if run["variant"] == variant])
                _draw_seeds(ax, place, values, *LOOKS[variant][1:3])
                if variant == "deformable":
                    ax.axvline(values.mean(), color=GREEN, linewidth=1, linestyle=":", zorder=0)
            _scale_by_errors(ax, 100 * min(run[measure] for run in runs))
            ax.set(title=f"{measure} digits", xlabel="test accuracy, %")
        axes[0, 0].set_yticks(places, variants)
        axes[0, 0].set_ylim(places[-1] + 0.6, -0.6)
    return figure


def _draw_seeds(ax, place, values, colour, marker):
    spread = values.std(ddof=1) if len(values) > 1 else 0
    ax.plot(values, np.full(len(values), place), "|", color=colour, alpha=0.6, markersize=11, markeredgewidth=1)
    ax.errorbar(values.mean(), place, xerr=spread, color=colour, marker=marker, markersize=7, capsize=3, linewidth=2)


def _scale_by_errors(ax, lowest):
    def steps(accuracy):
        return -np.log2(np.maximum(100 - accuracy, 0.01))

    ax.set_xscale("function", functions=(steps, lambda x: 100 - 2.0**-x))
    low = max(lowest - 0.15 * (100 - lowest), 0)
    ticks = [tick for tick in ((96, 97, 98, 98.5, 99) if low > 95 else (0, 50, 70, 80, 90, 95, 98, 99)) if tick >= low]
    ax.set_xlim(low, 99.4)
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.grid(axis="x", color="0.9")
    ax.set_axisbelow(True)


def accuracy_against_zoom(runs):
    """Mean accuracy of each variant at fixed zooms, with the standard deviation over seeds as a band.

    The regular classifier and `deformable` are in every panel, the others in the panel of their kind.
    """
    variants = [name for name in LOOKS if any(run["variant"] == name for run in runs)]
    panels = list(dict.fromkeys(LOOKS[name][0] for name in variants if LOOKS[name][0])) or [None]
    with style():
        size = (6.4, 0.6 + 3.5 * len(panels))
        figure, axes = plt.subplots(len(panels), 1, figsize=size, sharex=True, squeeze=False)
        for ax, panel in zip(axes[:, 0], panels, strict=True):
            ax.axvspan(1, 2.5, color="0.93", zorder=0)
            ax.text(2.48, 3, "zooms seen in fine-tuning", ha="right", color="0.35")
            for variant in (name for name in variants if LOOKS[name][0] in (None, panel)):
                _draw_curve(ax, variant, [run for run in runs if run["variant"] == variant])
            ax.set(ylabel="test accuracy, %", ylim=(0, 101))
            ax.set_title(panel if len(panels) > 1 else "", loc="left")
            # There no curve passes: shrunk digits are read well up to zoom 1.5 by all.
            ax.legend(loc="lower left", bbox_to_anchor=(1.02, 8), bbox_transform=ax.transData, fontsize=9)
        seeds = len({run["seed"] for run in runs})
        axes[-1, 0].set_xlabel("zoom (the digit is 1 / zoom of its size)")
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


def protocol_errors(runs, others):
    """Test errors on a public protocol, a network on a line: ours with a mark for each run, others' hollow.

    Args:
        runs: of a results file, with an "error" each.
        others: `{"network": name, "error": per cent, "spread": per cent or None}` each.
    """
    variants = list(dict.fromkeys(run["variant"] for run in runs))
    names = [*variants, *(one["network"] for one in others)]
    places = np.arange(len(names)) + 0.5 * (np.arange(len(names)) >= len(variants))  # a gap between ours and others'
    with style():
        figure, ax = plt.subplots(figsize=(6.4, 0.9 + 0.34 * len(names)))
        for place, variant in zip(places, variants, strict=False):
            values = 100 * np.array([run["error"] for run in runs if run["variant"] == variant])
            _draw_seeds(ax, place, values, *LOOKS[variant][1:3])
        for place, one in zip(places[len(variants) :], others, strict=True):
            spread = one["spread"] or 0
            ax.errorbar(one["error"], place, xerr=spread, color="0.35", marker="o", markerfacecolor="white", capsize=3)
        ax.set_yticks(places, names)
        ax.set_ylim(places[-1] + 0.6, -0.6)
        ax.set_xlim(left=0)
        ax.set_xlabel("test error, %")
        ax.grid(axis="x", color="0.9")
        ax.set_axisbelow(True)
    return figure
