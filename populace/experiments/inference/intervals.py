"""Intervals of the mean of paired differences: Student's t, BCa, studentised and percentile bootstrap.

Student (1908); Efron (1987), Better bootstrap confidence intervals, JASA 82, 171-185; Hall (1988), Theoretical
comparison of bootstrap confidence intervals, Annals of Statistics 16, 927-953.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from populace.core.errors import ScenarioError
from populace.experiments.inference.arrays import Floats, all_equal, chance, one_each
from populace.experiments.inference.libraries import library
from populace.experiments.inference.resampling import (
    DRAWS,
    resample_counts,
    resampled_means,
    resampled_t,
    standard_errors,
)

FEWEST_TO_RESAMPLE: Final = 5
"""Replicates below which a bootstrap of them says nothing: four take 35 different resamples."""


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`, in the outcome's unit; `level` is the share of such intervals that cover, `method` how."""

    low: float
    high: float
    level: float
    method: str

    def covers(self, value: float) -> bool:
        """Whether `value` lies in it, its ends included."""
        return self.low <= value <= self.high

    @property
    def width(self) -> float:
        """Its length, in the outcome's unit."""
        return self.high - self.low


Ends = tuple[Floats, Floats]


def t_ends(columns: Floats, level: float) -> Ends:
    """Ends of Student's interval of the mean of each column of (replicates, columns)."""
    quantile = library("scipy.stats").t.ppf(0.5 + level / 2, len(columns) - 1)
    means, errors = columns.mean(axis=0), standard_errors(columns)
    return means - quantile * errors, means + quantile * errors


def percentile_ends(columns: Floats, level: float, draws: int = DRAWS, seed: int = 0) -> Ends:
    """Ends of the percentile bootstrap. Too short for few replicates; here to be compared with."""
    means = resampled_means(columns, resample_counts(len(columns), draws, seed))
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    return low, high


def studentised_ends(columns: Floats, level: float, draws: int = DRAWS, seed: int = 0) -> Ends:
    """Ends of the studentised bootstrap (bootstrap-t)."""
    t = resampled_t(columns, resample_counts(len(columns), draws, seed))
    low, high = np.quantile(t, [0.5 - level / 2, 0.5 + level / 2], axis=0, method="closest_observation")
    means, errors = columns.mean(axis=0), standard_errors(columns)
    return means - high * errors, means - low * errors


def bca_ends(columns: Floats, level: float, draws: int = DRAWS, seed: int = 0) -> Ends:
    """Ends of the bootstrap that is corrected for bias and acceleration (BCa)."""
    normal = library("scipy.stats").norm
    centred = columns - columns.mean(axis=0)
    means = np.sort(resampled_means(centred, resample_counts(len(columns), draws, seed)), axis=0)
    squares = (centred**2).sum(axis=0)
    still = squares == 0.0
    acceleration = (centred**3).sum(axis=0) / (6.0 * np.where(still, 1.0, squares) ** 1.5)
    tie = 1e-12 * np.sqrt(squares / len(columns))
    below = ((means < -tie).sum(axis=0) + (means <= tie).sum(axis=0)) / (2.0 * draws)
    bias = normal.ppf(np.clip(below, 0.5 / draws, 1.0 - 0.5 / draws))
    ends = []
    for tail in (0.5 - level / 2, 0.5 + level / 2):
        z = bias + normal.ppf(tail)
        at = normal.cdf(bias + z / (1.0 - acceleration * z)) * (draws - 1)
        lower = np.floor(at).astype(np.int64)
        upper = np.minimum(lower + 1, draws - 1)
        each = np.arange(columns.shape[1])
        value = means[lower, each] + (at - lower) * (means[upper, each] - means[lower, each])
        ends.append(columns.mean(axis=0) + np.where(still, 0.0, value))
    return ends[0], ends[1]


ENDS: Final[dict[str, Callable[..., Ends]]] = {
    "t": t_ends,
    "studentised": studentised_ends,
    "BCa": bca_ends,
    "percentile": percentile_ends,
}
"""Each method for many columns at once: (replicates, columns), level -> two arrays (columns,)."""


def interval(differences: Any, method: str = "t", level: float = 0.95, draws: int = DRAWS, seed: int = 0) -> Interval:
    """The interval of the mean of paired differences (replicates,): 't', 'studentised', 'BCa' or 'percentile'.

    Where all differences are equal, but for rounding, it has no width. Raises ScenarioError for an unknown method, for
    fewer than two replicates, and for fewer than five where they are to be resampled.
    """
    if method not in ENDS:
        raise ScenarioError(f"method={method!r}: an interval is made by {', '.join(ENDS)}")
    columns = one_each(differences, "differences")[:, None]
    chance(level, "level")
    if method != "t" and len(columns) < FEWEST_TO_RESAMPLE:
        raise ScenarioError(
            f"{len(columns)} replicates: resampling needs {FEWEST_TO_RESAMPLE} or more. Take method='t', or more runs"
        )
    if all_equal(columns):
        mean = float(columns.mean())
        return Interval(mean, mean, level, method)
    low, high = ENDS[method](columns, level) if method == "t" else ENDS[method](columns, level, draws, seed)
    return Interval(float(low[0]), float(high[0]), level, method)
