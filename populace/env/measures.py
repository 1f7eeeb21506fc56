"""Outcomes that many societies share: functions of a column of attitudes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]


def variance(values: Column) -> float:
    """The population variance, in the square of the column's unit."""
    return float(np.var(values))


def bimodality(values: Column) -> float:
    """Sarle's coefficient, (skewness**2 + 1) / kurtosis: 1/3 for a normal spread, 5/9 uniform, 1 for two camps.

    Population moments; 0 where all values are equal. Source: Pfister et al. 2013, doi:10.3389/fpsyg.2013.00700.
    """
    z = values - values.mean()
    spread = float(np.mean(z**2))
    if spread <= 0.0:
        return 0.0
    skewness = float(np.mean(z**3)) / spread**1.5
    return float((skewness**2 + 1.0) * spread**2 / float(np.mean(z**4)))


def moved_to_extremes(now: Column, start: Column, low: float, high: float, margin: float = 0.1) -> float:
    """The share, 0 to 1, that is within `margin` of the scale's length from an end of it and did not start there."""
    edge = margin * (high - low)
    extreme = [(values <= low + edge) | (values >= high - edge) for values in (now, start)]
    return share(extreme[0] & ~extreme[1])


def moderated(now: Column, start: Column, low: float, high: float, margin: float = 0.05) -> float:
    """The share, 0 to 1, that came nearer to the middle of the scale by more than `margin` of its length."""
    middle = (low + high) / 2.0
    return share(np.abs(start - middle) - np.abs(now - middle) > margin * (high - low))


def share(mask: NDArray[Any]) -> float:
    """The share of True in a mask, 0 to 1."""
    return float(np.mean(mask))
