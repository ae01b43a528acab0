"""Whether a new run lands where stated runs say that it should."""

from typing import NamedTuple

import numpy as np
from scipy import stats

# How sure the range is to hold one more run of the same kind.
CONFIDENCE = 0.99


class Landing(NamedTuple):
    """One accuracy of a new run, and the range `low` to `high` in which the stated runs put it, all in [0, 1]."""

    variant: str
    seed: int
    measure: str
    value: float
    low: float
    high: float

    @property
    def inside(self) -> bool:
        return self.low <= self.value <= self.high

    def __str__(self):
        return (
            f"{self.variant}, seed {self.seed}: {self.measure} {self.value:.2%} is "
            f"{'inside' if self.inside else 'OUTSIDE'} {self.low:.2%} to {self.high:.2%}"
        )


def landings(runs, stated, measures) -> list[Landing]:
    """Where each of `runs` lands in the prediction interval of the stated runs of its variant.

    With mean `m` and sample standard deviation `s` of `n` stated runs, one more lands within `m ± t s sqrt(1 + 1/n)`,
    `t` being Student's with `n - 1` degrees of freedom. Variants that are not stated at least twice are left out.
    """
    found = []
    for run in runs:
        own = [other for other in stated if other["variant"] == run["variant"]]
        if len(own) < 2:
            continue
        t = stats.t.ppf((1 + CONFIDENCE) / 2, len(own) - 1)
        for measure in measures:
            values = np.array([other[measure] for other in own])
            reach = t * values.std(ddof=1) * np.sqrt(1 + 1 / len(own))
            low, high = max(values.mean() - reach, 0.0), min(values.mean() + reach, 1.0)
            found.append(Landing(run["variant"], run["seed"], measure, run[measure], float(low), float(high)))
    return found
