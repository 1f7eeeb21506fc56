"""Looking as often as one likes: confidence sequences for the mean of bounded values by betting, and when to stop.

Waudby-Smith and Ramdas (2024), Estimating means of bounded random variables by betting, Journal of the Royal
Statistical Society B 86, 1-27: the hedged capital process with predictable plug-in bets (their theorem 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from populace.core.errors import ScenarioError
from populace.experiments.inference.arrays import Floats, chance

TRUNCATION: Final = 0.5
"""The share of its capital that a bet may lose at most, which keeps capital above 0."""
_HALVINGS: Final = 50


@dataclass(frozen=True, eq=False)
class ConfidenceSequence:
    """An interval for the mean after each value: arrays (looks,), in the unit of the values.

    All of them hold the mean at once with the chance `level`, whatever made one look or stop. `estimates` are running
    means.
    """

    low: Floats
    high: Floats
    estimates: Floats
    level: float


@dataclass(frozen=True)
class Stopped:
    """Where a rule stopped: after `replicates` values, with the interval there and what it says.

    `verdict` is 'above' or 'below' (0), 'negligible' (the interval lies within the margin), or 'open' (not yet).
    """

    replicates: int
    low: float
    high: float
    verdict: Literal["above", "below", "negligible", "open"]


def confidence_sequence(values: Any, low: float, high: float, level: float = 0.95) -> ConfidenceSequence:
    """The confidence sequence for the mean of `values` (looks,), which must lie between `low` and `high`.

    Of paired differences of an outcome that lies between a and b the bounds are a - b and b - a; they are those of the
    outcome, known beforehand, and never the least and the largest value that was seen. Order is that in which the
    replicates were made. Raises ScenarioError for values outside the bounds.
    """
    given = np.asarray(values, dtype=np.float64)
    chance(level, "level")
    if given.ndim != 1 or not len(given):
        raise ScenarioError(f"values of shape {given.shape}: a sequence takes (looks,), one or more")
    if not low < high:
        raise ScenarioError(f"bounds {low!r} and {high!r}: the lower comes first")
    outside = np.flatnonzero(~((given >= low) & (given <= high)))
    if len(outside):
        raise ScenarioError(
            f"value {outside[0]}, {given[outside[0]]:g}, lies outside {low:g} to {high:g}: bounds are those that the "
            "outcome cannot leave, and without them no interval by betting can be had"
        )
    unit = ((given - low) / (high - low))[:, None]
    ends = sequence_ends(unit, level)
    lows, highs = (low + (high - low) * one[:, 0] for one in ends)
    return ConfidenceSequence(lows, highs, given.cumsum() / np.arange(1, len(given) + 1), level)


def anytime_p(values: Any, low: float, high: float, level: float = 0.95) -> Floats:
    """The p-value of a mean of 0 after each value, (looks,): it never grows, and holds at every look however one stops.

    It is 2 over the most capital that a bet against 0 has had, with the bets of the confidence sequence of this level:
    it is at most 1 - `level` exactly where that sequence leaves 0 out. Values and bounds are as for that.
    """
    return _anytime_p(np.asarray(values, dtype=np.float64)[:, None], low, high, level)[:, 0]


def looks_to_clear(
    pilot: Any, difference: float, low: float, high: float, *, level: float = 0.95, tests: int = 1, most: int = 1000
) -> tuple[int | None, int | None]:
    """After how many looks p is at most (1 - level) / tests: in half of the series, and in 80 of a hundred.

    The 200 series are drawn, with replacement, from the pilot's pairs, moved so that their mean is `difference` and
    kept within the bounds. None where `most` looks do not do. The draws are the same each time.
    """
    pairs = np.asarray(pilot, dtype=np.float64)
    moved = np.clip(pairs - pairs.mean() + difference, low, high)
    drawn = np.random.default_rng(0).choice(moved, size=(most, 200))
    clear = _anytime_p(drawn, low, high, level) <= (1.0 - level) / tests
    first = np.sort(np.where(clear.any(axis=0), clear.argmax(axis=0) + 1, most + 1))
    half, more = (int(first[at]) for at in (99, 159))
    return (half if half <= most else None), (more if more <= most else None)


def _anytime_p(given: Floats, low: float, high: float, level: float) -> Floats:
    """`anytime_p` of columns (looks, columns)."""
    unit = (given - low) / (high - low)
    nothing = np.full(given.shape[1], (0.0 - low) / (high - low))
    ways = (unit, nothing), (1.0 - unit, 1.0 - nothing)
    sides = [log_capital(one, bets(one, level), mean, 1) for one, mean in ways]
    most = np.maximum.accumulate(np.maximum(*sides), axis=0)
    p: Floats = np.minimum(1.0, 2.0 * np.exp(-most))
    return p


def bets(unit: Floats, level: float) -> Floats:
    """What is bet before each value, of columns (looks, columns) in 0 to 1: it goes by the values before it only."""
    looks = np.arange(1, len(unit) + 1, dtype=np.float64)[:, None]
    means = (0.5 + unit.cumsum(axis=0)) / (looks + 1.0)
    variances = (0.25 + ((unit - means) ** 2).cumsum(axis=0)) / (looks + 1.0)
    before = np.concatenate((np.full((1, unit.shape[1]), 0.25), variances[:-1]))
    made: Floats = np.sqrt(2.0 * np.log(2.0 / (1.0 - level)) / (before * looks * np.log(looks + 1.0)))
    return made


def log_capital(unit: Floats, bet: Floats, mean: Floats, side: Literal[1, -1]) -> Floats:
    """The logarithm of the capital after each value of who bets that the mean is above (1) or below (-1) `mean`.

    `unit` and `bet` are (looks, columns), `mean` (columns,) in 0 to 1. Under that mean the capital is a martingale.
    """
    room = mean if side == 1 else 1.0 - mean
    with np.errstate(divide="ignore"):
        most = TRUNCATION / room
    growth: Floats = np.log1p(np.minimum(bet, most) * side * (unit - mean)).cumsum(axis=0)
    return growth


def sequence_ends(unit: Floats, level: float) -> tuple[Floats, Floats]:
    """Lower and upper ends, (looks, columns) each, of columns of values in 0 to 1; they never widen.

    A mean is left out once a bet against it has grown to 2 / (1 - level), from half the money on each side. Capital of
    the bet that the mean is above m falls as m grows, so what is left out at any look is all below one number: the
    lower end is found by halving, over the largest capital so far; the upper one by mirroring.
    """
    lower = _lower_ends(unit, level)
    return lower, 1.0 - _lower_ends(1.0 - unit, level)


def _lower_ends(unit: Floats, level: float) -> Floats:
    bet, reach = bets(unit, level), np.log(2.0 / (1.0 - level))
    ends = np.zeros_like(unit)
    found = np.zeros(unit.shape[1])
    for look in range(1, len(unit) + 1):
        low, high = found.copy(), np.ones_like(found)
        seen, placed = unit[:look], bet[:look]
        if look > 1 and not (_final(seen, placed, low) >= reach).any():
            ends[look - 1] = found
            continue
        for _ in range(_HALVINGS):
            middle = (low + high) / 2.0
            out = _final(seen, placed, middle) >= reach
            low, high = np.where(out, middle, low), np.where(out, high, middle)
        found = np.where(_final(seen, placed, low) >= reach, low, found)
        ends[look - 1] = found
    return ends


def _final(seen: Floats, placed: Floats, mean: Floats) -> Floats:
    final: Floats = log_capital(seen, placed, mean, 1)[-1]
    return final


def stop(values: Any, low: float, high: float, *, margin: float = 0.0, level: float = 0.95, fewest: int = 2) -> Stopped:
    """The first look, from `fewest` on, at which the confidence sequence decides; the last one where none does.

    It decides where the interval leaves 0 out, or with a `margin` where it lies within plus and minus that margin. As
    the sequence holds at every look, stopping there costs nothing.
    """
    sequence = confidence_sequence(values, low, high, level)
    for look in range(max(fewest, 1) - 1, len(sequence.low)):
        verdict = _verdict(float(sequence.low[look]), float(sequence.high[look]), margin)
        if verdict != "open":
            return Stopped(look + 1, float(sequence.low[look]), float(sequence.high[look]), verdict)
    return Stopped(len(sequence.low), float(sequence.low[-1]), float(sequence.high[-1]), "open")


def _verdict(low: float, high: float, margin: float) -> Literal["above", "below", "negligible", "open"]:
    if low > 0.0:
        return "above"
    if high < 0.0:
        return "below"
    return "negligible" if margin > 0.0 and -margin <= low and high <= margin else "open"
