"""Power of a paired design, and the replicates that it needs, from a pilot.

Noncentral t by statsmodels; the pilot's standard deviation is taken at its upper confidence limit too, since a pilot of
few replicates finds one that is too small as often as not (Browne 1995, Statistics in Medicine 14, 1933-1940).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from populace.core.errors import ScenarioError
from populace.experiments.inference.arrays import Floats, chance, one_each
from populace.experiments.inference.libraries import library

MOST: Final = 100_000
"""Replicates beyond which a design is called out of reach."""


@dataclass(frozen=True)
class Needed:
    """What a design needs to find an effect of `difference` (in the outcome's unit) with the chance `power`.

    `deviation` is the standard deviation of paired differences in the pilot, `replicates` what it asks for;
    `safe_deviation` is its upper limit with the chance `assurance`, `safe_replicates` what that asks for. `detectable`
    is the smallest difference that as many replicates as the pilot has would find. None: over 100,000.
    """

    difference: float
    power: float
    level: float
    pilot: int
    deviation: float
    replicates: int | None
    assurance: float
    safe_deviation: float
    safe_replicates: int | None
    detectable: float

    def __str__(self) -> str:
        said, safe = (f"over {MOST:,}" if n is None else f"{n:,}" for n in (self.replicates, self.safe_replicates))
        rows = [
            ("difference to find", f"{self.difference:g}"),
            ("with the chance (power)", f"{self.power:g}"),
            ("at the level", f"{self.level:g}"),
            ("replicates needed", said),
            (f"to be safe ({self.assurance:g})", safe),
            ("pairs of the pilot", f"{self.pilot:,}"),
            ("their standard deviation", f"{self.deviation:.3g}"),
            (f"its upper limit ({self.assurance:g})", f"{self.safe_deviation:.3g}"),
            ("they would find", f"{self.detectable:.3g}"),
        ]
        return "\n".join(f"{name:<26}{value:>10}" for name, value in rows)


def power_of(difference: float, deviation: float, replicates: int, level: float = 0.95, tests: int = 1) -> float:
    """The chance that Student's paired test finds `difference`, with `tests` outcomes at Bonferroni's level."""
    if deviation == 0.0:
        return float(difference != 0.0)
    size, alpha = difference / deviation, (1.0 - level) / tests
    found = float(library("statsmodels.stats.power").TTestPower().power(size, replicates, alpha))
    return found if math.isfinite(found) else integrated_power(size, replicates, alpha)


def integrated_power(size: float, replicates: int, alpha: float) -> float:
    """The power of Student's two-sided paired test for an effect of `size` standard deviations, by quadrature.

    scipy's noncentral t has no value for many large effects. Given the deviation found, the test's power is a normal
    one; this is its mean over the deviations that may be found (chi-squared).
    """
    stats = library("scipy.stats")
    freedom = replicates - 1
    nodes, weights = _nodes()
    spread = np.sqrt(stats.chi2.ppf((nodes + 1.0) / 2.0, freedom) / freedom)
    reach, centre = stats.t.ppf(1.0 - alpha / 2.0, freedom) * spread, abs(size) * math.sqrt(replicates)
    return float((stats.norm.cdf(centre - reach) + stats.norm.cdf(-centre - reach)) @ weights / 2.0)


@lru_cache(maxsize=1)
def _nodes() -> tuple[Floats, Floats]:
    return np.polynomial.legendre.leggauss(400)


def replicates_for(
    difference: float, deviation: float, power: float = 0.8, level: float = 0.95, tests: int = 1
) -> int | None:
    """The fewest replicates with that power (two at least), or None where over 100,000."""
    low, high = 1, 2
    while power_of(difference, deviation, high, level, tests) < power:
        low, high = high, 2 * high
        if low >= MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        enough = power_of(difference, deviation, middle, level, tests) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def needed(
    pilot: Any, difference: float, *, power: float = 0.8, level: float = 0.95, tests: int = 1, assurance: float = 0.8
) -> Needed:
    """The replicates needed to find `difference`, from a pilot's paired differences (replicates,).

    `difference` is the smallest effect that matters: not the pilot's own, which is too large where a pilot looks
    promising. With `tests` outcomes it is reckoned at Bonferroni's level, the worst case of Holm's. Raises
    ScenarioError for an effect of 0 and for chances that are none.
    """
    values = one_each(pilot, "pilot")
    for name, value in (("power", power), ("level", level), ("assurance", assurance)):
        chance(value, name)
    if not math.isfinite(difference) or difference == 0.0:
        raise ScenarioError(f"difference={difference!r}: name the smallest effect that matters, and not 0")
    if tests < 1:
        raise ScenarioError(f"tests={tests!r}: one outcome or more")
    deviation = float(values.std(ddof=1))
    freedom = len(values) - 1
    safe = deviation * math.sqrt(freedom / float(library("scipy.stats").chi2.ppf(1.0 - assurance, freedom)))
    return Needed(
        difference=difference,
        power=power,
        level=level,
        pilot=len(values),
        deviation=deviation,
        replicates=replicates_for(difference, deviation, power, level, tests),
        assurance=assurance,
        safe_deviation=safe,
        safe_replicates=replicates_for(difference, safe, power, level, tests),
        detectable=_detectable(deviation, len(values), power, level, tests),
    )


def _detectable(deviation: float, replicates: int, power: float, level: float, tests: int) -> float:
    if deviation == 0.0:
        return 0.0
    low, high = 0.0, 0.1 * deviation
    while power_of(high, deviation, replicates, level, tests) < power:
        low, high = high, 1.5 * high
    for _ in range(60):
        middle = (low + high) / 2.0
        enough = power_of(middle, deviation, replicates, level, tests) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high
