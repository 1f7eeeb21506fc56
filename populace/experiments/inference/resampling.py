"""Bootstrap of means over replicates, for many columns at once: a resample is how often it takes each replicate."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from populace.experiments.inference.arrays import Floats

DRAWS: Final = 4_000
"""Resamples of an interval: the error that they add is a hundredth of its width or less."""


@lru_cache(maxsize=8)
def resample_counts(replicates: int, draws: int, seed: int) -> Floats:
    """Shape (draws, replicates): how often each resample takes each replicate. The same for the same arguments."""
    random = np.random.Generator(np.random.Philox(seed))
    counts = random.multinomial(replicates, np.full(replicates, 1.0 / replicates), size=draws).astype(np.float64)
    counts.setflags(write=False)
    return counts


def standard_errors(columns: Floats) -> Floats:
    """The standard error of the mean of each column of (replicates, columns)."""
    deviations = columns.std(axis=0, ddof=1)
    error: Floats = deviations / np.sqrt(len(columns))
    return error


def resampled_means(columns: Floats, counts: Floats) -> Floats:
    """The mean of each column in each resample: (draws, columns)."""
    means: Floats = counts @ columns / len(columns)
    return means


def resampled_t(columns: Floats, counts: Floats) -> Floats:
    """(mean of the resample - mean) / standard error in the resample, by column: (draws, columns).

    A resample that took one value only has no standard error; it counts as infinitely far, on the side of its mean.
    """
    centred = columns - columns.mean(axis=0)
    size = len(columns)
    means = counts @ centred / size
    variances = np.maximum(counts @ centred**2 / size - means**2, 0.0) / (size - 1)
    scale = standard_errors(columns)
    errors = np.sqrt(variances)
    none = errors <= 1e-9 * scale
    with np.errstate(divide="ignore", invalid="ignore"):
        t = means / errors
    far: Floats = np.where(none, _far(means, scale), t)
    return far


def _far(means: Floats, scale: Floats) -> Floats:
    sides = np.sign(np.where(np.abs(means) > 1e-9 * scale, means, 0.0))
    far: Floats = np.where(sides == 0.0, 0.0, sides * np.finfo(np.float64).max)
    return far
