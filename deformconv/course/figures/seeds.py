"""Scores of several seeds: a dot each, a bar with their mean and spread."""

import matplotlib.pyplot as plt
import numpy as np

from deformconv.course.figures.house_style import BLACK, BLUE, ORANGE, style


def seed_scores(scores, xlabel, own=None, floor=None):
    """A row for each of `scores` `{name: (seeds,)}`, shares in [0, 1]: a dot for each seed, a bar with mean and spread.

    The row `own` has another colour and mark. `floor` is where the axis begins, in per cent.
    """
    with style():
        fig, ax = plt.subplots(figsize=(7.6, 0.9 + 0.46 * len(scores)))
        for place, (name, values) in enumerate(reversed(scores.items())):
            percent = 100 * np.asarray(values, "float64")
            colour, mark = (ORANGE, "D") if name == own else (BLUE, "o")
            ax.errorbar(
                percent.mean(), place, xerr=percent.std(ddof=1), fmt="|", ms=22, mew=3, lw=1.5, capsize=5, color=colour
            )
            ax.plot(percent, np.full(len(percent), place), mark, ms=7, mfc="none", mec=BLACK)
        ax.set_yticks(range(len(scores)), list(scores)[::-1], fontsize=11)
        ax.tick_params(axis="y", length=0)
        ax.set(xlabel=xlabel, ylim=(-0.6, len(scores) - 0.4))
        if floor is not None:
            ax.set_xlim(left=floor)
        ax.grid(axis="x", color="0.88")
        ax.set_axisbelow(True)
        return fig
