"""Effects that people showed against those of a simulation: correlation and error, corrected for sampling noise. Pure.

Both sides are estimates with standard errors. The observed correlation is too small and the observed error too large by
what chance put into them (Spearman 1904, American Journal of Psychology 15, 72-101).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from populace.core.errors import ScenarioError
from populace.experiments.inference.arrays import Floats
from populace.experiments.score.measures import answers, calibration, correlation

SPLITS = 200


@dataclass(frozen=True)
class EffectsScore:
    """How simulated effects stand to human ones, over `effects` of them.

    `reliability` of each side is the share of the variance of its estimates that is no noise; `r_corrected` is r over
    the root of both, at most 1 in size, NaN where a side is all noise. `rmse_corrected` leaves out what the standard
    errors explain, `signs` is the share with the human direction. `slope` and `intercept` are of human on simulated.
    """

    effects: int
    r: float
    r_corrected: float
    reliability_human: float
    reliability_simulated: float
    rmse: float
    rmse_corrected: float
    signs: float
    slope: float
    intercept: float


def score_effects(human: Any, human_error: Any, simulated: Any, simulated_error: Any) -> EffectsScore:
    """Score effects (effects,) with their standard errors, in one unit. Raises ScenarioError for unequal lengths."""
    ours, theirs = answers(simulated, "simulated effects"), answers(human, "human effects")
    our_error, their_error = answers(simulated_error, "simulated errors"), answers(human_error, "human errors")
    if not len(ours) == len(theirs) == len(our_error) == len(their_error):
        raise ScenarioError("effects and standard errors are of one length")
    trusted, own = _reliability(theirs, their_error), _reliability(ours, our_error)
    r = correlation(theirs, ours)
    both = np.sqrt(trusted * own)
    noise = float((their_error**2 + our_error**2).mean())
    square = float(((ours - theirs) ** 2).mean())
    line = calibration(theirs, ours)
    return EffectsScore(
        effects=len(ours),
        r=r,
        r_corrected=float(np.clip(r / both, -1.0, 1.0)) if both > 0.0 else float("nan"),
        reliability_human=trusted,
        reliability_simulated=own,
        rmse=float(np.sqrt(square)),
        rmse_corrected=float(np.sqrt(max(square - noise, 0.0))),
        signs=float((np.sign(ours) == np.sign(theirs)).mean()),
        slope=line.slope,
        intercept=line.intercept,
    )


def _reliability(values: Floats, errors: Floats) -> float:
    spread = float(values.var(ddof=1))
    return max(1.0 - float((errors**2).mean()) / spread, 0.0) if spread > 0.0 else 0.0


def contrast(values: Floats, first: Any, second: Any) -> tuple[float, float]:
    """The mean of `values` where `first`, less that where `second` (both bool), and its standard error."""
    one, other = values[np.asarray(first)], values[np.asarray(second)]
    if len(one) < 2 or len(other) < 2:
        return float("nan"), float("nan")
    spread = one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other)
    return float(one.mean() - other.mean()), float(np.sqrt(spread))


def split_half(table: Any, first: Any, second: Any, seed: int = 0) -> float:
    """The ceiling of r: how the effects of one half of the people go with those of the other half.

    `table` is (people, items), `first` and `second` are (people, contrasts) of bool; an effect is one contrast of one
    item. The mean correlation over 200 random halves, stepped up to all people (Spearman 1910, Brown 1910). NaN where
    halves are too small.
    """
    values, ones, others = np.asarray(table, float), np.asarray(first, bool), np.asarray(second, bool)
    random = np.random.Generator(np.random.Philox(seed))
    found = []
    for _ in range(SPLITS):
        half = random.permutation(len(values)) < len(values) // 2
        sides = [_effects(values[side], ones[side], others[side]) for side in (half, ~half)]
        both = np.isfinite(sides[0]) & np.isfinite(sides[1])
        if both.sum() >= 3:
            found.append(correlation(sides[0][both], sides[1][both]))
    if not found:
        return float("nan")
    r = float(np.nanmean(found))
    return 2.0 * r / (1.0 + r) if r > -1.0 else float("nan")


def _effects(values: Floats, ones: Any, others: Any) -> Floats:
    return np.array(
        [
            contrast(values[:, item], ones[:, at], others[:, at])[0]
            for item in range(values.shape[1])
            for at in range(ones.shape[1])
        ]
    )
