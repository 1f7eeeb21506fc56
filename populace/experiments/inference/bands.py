"""Trajectories of an effect with a band that holds all ticks at once, by the bootstrap of the largest t.

Montiel Olea and Plagborg-Moller (2019), Simultaneous confidence bands: theory, implementation, and an application to
SVARs, Journal of Applied Econometrics 34, 1-17, here with the standard error of each resample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from populace.core.errors import ScenarioError
from populace.experiments.inference.arrays import Floats, chance, same_shape, trajectories
from populace.experiments.inference.intervals import FEWEST_TO_RESAMPLE, t_ends
from populace.experiments.inference.resampling import DRAWS, resample_counts, resampled_t, standard_errors


@dataclass(frozen=True, eq=False)
class Band:
    """An effect by tick: arrays (ticks,) in the outcome's unit.

    `low` and `high` hold the whole true trajectory with the chance `level`; `pointwise_low` and `pointwise_high` are
    Student's interval of each tick by itself, which over many ticks leave the truth far more often. `critical` is
    how many standard errors wide the band is to each side.
    """

    difference: Floats
    low: Floats
    high: Floats
    pointwise_low: Floats
    pointwise_high: Floats
    critical: float
    level: float

    def clear_of_zero(self) -> list[int]:
        """The numbers of the ticks at which the band leaves 0 out."""
        clear: list[int] = np.flatnonzero((self.low > 0.0) | (self.high < 0.0)).tolist()
        return clear

    def covers(self, truth: Any) -> bool:
        """Whether a trajectory (ticks,) lies within the band at every tick."""
        given = np.asarray(truth, dtype=np.float64)
        return bool(((self.low <= given) & (given <= self.high)).all())


def band(treated: Any, control: Any, *, level: float = 0.95, draws: int = DRAWS, seed: int = 0) -> Band:
    """The effect at every tick with a simultaneous band; arrays are (replicates, ticks), paired by replicate.

    Ticks at which no replicate differs from another (those before treatment, as a rule) have a band without width.
    Raises ScenarioError for arms that are not paired and for fewer than five replicates.
    """
    first, second = trajectories(treated, "treated"), trajectories(control, "control")
    same_shape(first, second)
    return band_of(first - second, level, draws, seed)


def band_of(between: Floats, level: float, draws: int = DRAWS, seed: int = 0) -> Band:
    """`band` of paired differences (replicates, columns)."""
    chance(level, "level")
    if len(between) < FEWEST_TO_RESAMPLE:
        raise ScenarioError(f"{len(between)} replicates: a band needs {FEWEST_TO_RESAMPLE} or more")
    means, errors = between.mean(axis=0), standard_errors(between)
    moving = errors > 0.0
    critical = 0.0
    if moving.any():
        largest = np.abs(resampled_t(between[:, moving], resample_counts(len(between), draws, seed))).max(axis=1)
        critical = float(np.quantile(largest, level, method="higher"))
    narrow_low, narrow_high = t_ends(between, level)
    return Band(means, means - critical * errors, means + critical * errors, narrow_low, narrow_high, critical, level)
