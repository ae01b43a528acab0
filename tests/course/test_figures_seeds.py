"""Scores of several seeds: means and dots are of the seeds given."""

import numpy as np

from deformconv.course import figures


def test_means_and_dots_are_those_of_the_seeds():
    (ax,) = figures.seed_scores({"plain": [0.5, 0.7], "ours": [0.8, 0.9]}, "right, %", own="ours").axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["ours", "plain"]
    bars = [container.lines[0].get_xydata()[0] for container in ax.containers]
    np.testing.assert_allclose(bars, [[85, 0], [60, 1]])
    dots = [line.get_xdata() for line in ax.lines if line.get_marker() in "oD"]
    np.testing.assert_allclose(dots, [[80, 90], [50, 70]])
