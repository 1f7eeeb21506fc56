"""Bounds on an effect where answers are missing, and more of them in one arm than in the other.

Worst case: Manski (1990), Nonparametric bounds on treatment effects, American Economic Review 80(2), 319-323. Trimming:
Lee (2009), Training, wages, and sample selection, Review of Economic Studies 76, 1071-1102. Intervals: Imbens and
Manski (2004), Econometrica 72, 1845-1857, with Student's t in place of the normal distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.experiments.inference.arrays import LEAST, Floats, chance, same_shape
from populace.experiments.inference.libraries import library
from populace.experiments.inference.resampling import resample_counts

RESAMPLES = 1_000


@dataclass(frozen=True)
class Bounds:
    """The effect lies from `low` to `high` whatever the missing answers would have been, under what `method` assumes.

    `interval_low` to `interval_high` covers the effect with the chance `level`: what is not known of the answers that
    are missing and what chance did to the others, together. `answered_treated` and `answered_control` are shares.

    'worst case' assumes the outcome's range and nothing else. 'Lee' assumes that treatment moves answering one way only
    (whoever answers in the arm with fewer answers would in the other too), and is of those who answer in either arm.
    """

    method: Literal["worst case", "Lee"]
    low: float
    high: float
    interval_low: float
    interval_high: float
    level: float
    answered_treated: float
    answered_control: float


def worst_case(treated: Any, control: Any, low: float, high: float, level: float = 0.95) -> Bounds:
    """Worst-case bounds of the mean of an outcome between `low` and `high`: arrays (replicates, agents), NaN missing.

    Raises ScenarioError for answers outside that range.
    """
    first, second = _tables(treated, control)
    chance(level, "level")
    for table in (first, second):
        told = table[~np.isnan(table)]
        if not low < high or not ((told >= low) & (told <= high)).all():
            raise ScenarioError(f"the outcome's range, {low:g} to {high:g}, does not hold all answers")
    lows = np.nan_to_num(first, nan=low).mean(axis=1) - np.nan_to_num(second, nan=high).mean(axis=1)
    highs = np.nan_to_num(first, nan=high).mean(axis=1) - np.nan_to_num(second, nan=low).mean(axis=1)
    errors = tuple(float(one.std(ddof=1)) / math.sqrt(len(one)) for one in (lows, highs))
    return _made("worst case", float(lows.mean()), float(highs.mean()), errors, first, second, level)


def lee(treated: Any, control: Any, level: float = 0.95, seed: int = 0) -> Bounds:
    """Lee's bounds: the arm that answers more is trimmed, at its top and at its bottom, to the share of the other.

    Arrays (replicates, agents), NaN for missing. Answers of all replicates are pooled; standard errors are of a
    bootstrap over replicates, in pairs. Raises ScenarioError where an arm has no answer at all.
    """
    first, second = _tables(treated, control)
    chance(level, "level")
    found = _lee_ends(first, second, np.ones((1, len(first))))
    if not np.isfinite(found).all():
        raise ScenarioError("an arm has no answer at all, so nothing can be said of its effect")
    resampled = _lee_ends(first, second, resample_counts(len(first), RESAMPLES, seed))
    low_error, high_error = (float(np.nanstd(one, ddof=1)) for one in resampled)
    low, high = (float(one[0]) for one in found)
    return _made("Lee", low, high, (low_error, high_error), first, second, level)


def _tables(treated: Any, control: Any) -> tuple[Floats, Floats]:
    first, second = (np.asarray(one, dtype=np.float64) for one in (treated, control))
    if first.ndim != 2 or second.ndim != 2 or len(first) < LEAST or not first.shape[1] or not second.shape[1]:
        raise ScenarioError(f"arms of shapes {first.shape} and {second.shape}: they are (replicates, agents)")
    same_shape(first[:, :1], second[:, :1])
    if np.isinf(first).any() or np.isinf(second).any():
        raise ScenarioError("answers are finite, or NaN where there is none")
    return first, second


def _made(
    method: Literal["worst case", "Lee"],
    low: float,
    high: float,
    errors: tuple[float, ...],
    first: Floats,
    second: Floats,
    level: float,
) -> Bounds:
    critical = _critical(high - low, max(errors), len(first) - 1, level)
    answered = (float((~np.isnan(table)).mean()) for table in (first, second))
    return Bounds(method, low, high, low - critical * errors[0], high + critical * errors[1], level, *answered)


def _critical(width: float, error: float, freedom: int, level: float) -> float:
    """Standard errors beside bounds `width` apart: from those of one side (far apart) to those of two (a point)."""
    t = library("scipy.stats").t
    if error == 0.0:
        return float(t.ppf(level, freedom))
    apart = max(width, 0.0) / error

    def surplus(critical: float) -> float:
        return float(t.cdf(critical + apart, freedom) - t.cdf(-critical, freedom)) - level

    return float(library("scipy.optimize").brentq(surplus, 0.0, float(t.ppf(0.5 + level / 2, freedom)) + 1e-9))


def _lee_ends(first: Floats, second: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Lower and upper ends for each row of weights of replicates (draws, replicates)."""
    one, other = _Sorted.of(first, counts), _Sorted.of(second, counts)
    fewer = np.minimum(one.share, other.share)
    bottom_one, top_one = one.trimmed(fewer)
    bottom_other, top_other = other.trimmed(fewer)
    return bottom_one - top_other, top_one - bottom_other


@dataclass(frozen=True, eq=False)
class _Sorted:
    """Answers in order, their weights in each draw (draws, answers), and the share that answered (draws,)."""

    values: Floats
    weights: Floats
    share: Floats

    @classmethod
    def of(cls, table: Floats, counts: Floats) -> _Sorted:
        replicate: NDArray[np.intp]
        replicate, agent = np.nonzero(~np.isnan(table))
        values = table[replicate, agent]
        order = np.argsort(values, kind="stable")
        weights = counts[:, replicate[order]]
        return cls(values[order], weights, weights.sum(axis=1) / (counts.sum(axis=1) * table.shape[1]))

    def trimmed(self, to: Floats) -> tuple[Floats, Floats]:
        """The means of the lowest and of the highest answers that make up the share `to` of all who were asked."""
        with np.errstate(divide="ignore", invalid="ignore"):
            kept = (self.weights.sum(axis=1) * to / self.share)[:, None]
            below = np.cumsum(self.weights, axis=1)
            low = np.clip(kept - (below - self.weights), 0.0, self.weights)
            high = np.clip(kept - (below[:, -1:] - below), 0.0, self.weights)
            return low @ self.values / kept[:, 0], high @ self.values / kept[:, 0]
