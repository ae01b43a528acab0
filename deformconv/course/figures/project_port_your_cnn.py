"""The drawing of the project "Port your CNN": what a port is worth, and what it costs."""

import matplotlib.pyplot as plt
import numpy as np

from deformconv.course.figures.house_style import BLACK, BLUE, GRAY, ORANGE, style


def worth_and_cost(accuracies, costs, chosen):
    """Validation accuracy of sets of layers, `{name: (seeds,)}`, against their weights `{name: number}`."""
    with style():
        fig, ax = plt.subplots(figsize=(7.2, 3.9))
        for name, values in accuracies.items():
            percent, cost = 100 * np.asarray(values, "float64"), costs[name] / 1000
            colour = ORANGE if name == chosen else BLUE
            ax.errorbar(cost, percent.mean(), yerr=percent.std(ddof=1), fmt="_", ms=16, mew=3, capsize=4, color=colour)
            ax.plot(np.full(len(percent), cost), percent, "o", ms=5, mfc="none", mec=BLACK)
            left = cost > 0.8 * max(costs.values()) / 1000  # there the text has no room on the right
            beside = {"xytext": (-14 if left else 14, 0), "ha": "right" if left else "left", "va": "center"}
            ax.annotate(name, (cost, percent.mean()), textcoords="offset points", fontsize=11, **beside)
        best = max(accuracies.values(), key=np.mean)
        least = 100 * (np.mean(best) - np.std(best, ddof=1) / len(best) ** 0.5)
        ax.axhline(least, color=GRAY, lw=1, ls="--")
        ax.text(ax.get_xlim()[0], least, " one standard error below the best", va="bottom", color=GRAY, fontsize=9)
        ax.set(xlabel="weights that train, thousands", ylabel="validation accuracy, %")
        ax.margins(0.1, 0.15)
        return fig
