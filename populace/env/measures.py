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


def share(mask: NDArray[Any]) -> float:
    """The share of True in a mask, 0 to 1."""
    return float(np.mean(mask))
