"""Taxes on a month's earned income: marginal brackets in whole cents and basis points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError

Bracket = tuple[float, float]

US_2019: Final[tuple[Bracket, ...]] = tuple(
    (year / 12, rate)
    for year, rate in (
        (0, 0.10), (970_000, 0.12), (3_947_500, 0.22), (8_420_000, 0.24),
        (16_072_500, 0.32), (20_410_000, 0.35), (51_030_000, 0.37),
    )
)  # fmt: skip
"""Federal income tax of a single filer in the United States in 2019: a twelfth of a year's thresholds, in cents."""


class Schedule:
    """A progressive schedule: each bracket (from_cents a month, rate 0 to 1) taxes what lies between it and the next.

    Rates count in basis points, 0.0001; the tax is rounded down to a whole cent, once for the sum of all brackets.
    """

    def __init__(self, brackets: Iterable[Sequence[float]]) -> None:
        """Raises ScenarioError for brackets that do not rise, and for rates outside 0 to 1."""
        rows = [tuple(one) for one in brackets]
        if any(len(one) != 2 for one in rows):
            raise ScenarioError(f"brackets {rows}: each is (from_cents, rate), for example (0, 0.1)")
        starts, rates = [float(one[0]) for one in rows], [float(one[1]) for one in rows]
        rising = all(low < high for low, high in pairwise(starts))
        if not rising or any(not 0 <= start < 1e13 for start in starts) or any(not 0 <= rate <= 1 for rate in rates):
            raise ScenarioError(
                f"brackets {rows}: thresholds, in cents of a month, rise from 0 or more, and rates are from 0 to 1"
            )
        self.brackets = [(float(one[0]), float(one[1])) for one in rows]
        self.starts = np.array([round(start) for start in starts], np.int64)
        self.points = np.array([round(10_000 * rate) for rate in rates], np.int64)

    def tax(self, incomes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The tax in cents on each month's income in cents, int64 both."""
        hundredths = np.zeros(len(incomes), np.int64)
        steps = np.diff(self.points, prepend=0)
        for start, step in zip(self.starts.tolist(), steps.tolist(), strict=True):
            hundredths += step * np.maximum(incomes - start, 0)
        return hundredths // 10_000


def flat(incomes: NDArray[np.int64], rate: float) -> NDArray[np.int64]:
    """A flat tax of `rate` (0 to 1, counted in basis points) on each income, rounded down to a whole cent."""
    return incomes * round(10_000 * rate) // 10_000
