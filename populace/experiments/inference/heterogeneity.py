"""Who gains and who loses: effects by subgroup and by quantile, with multiplicity. The replicate is the unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from populace.core.errors import ScenarioError
from populace.experiments.inference.arrays import Floats, same_shape, trajectories
from populace.experiments.inference.bands import Band, band_of
from populace.experiments.inference.effects import Effect, adjusted, effect, paired_t_p
from populace.experiments.inference.intervals import FEWEST_TO_RESAMPLE
from populace.experiments.inference.multiplicity import holm
from populace.experiments.inference.resampling import DRAWS

QUANTILES: Final = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class GroupEffect:
    """The effect within one subgroup (its `outcome` is the group's name), and whether it is unlike the others'.

    `effect.p_adjusted` is by Holm over groups. `unlike_others` is the group's effect less the mean of the other
    groups', `p_unlike` its p-value by Holm over groups (`p_unlike_alone` before that): a difference between two groups
    is shown by this, and not by one of them being significant (Gelman and Stern 2006, The American Statistician 60,
    328-331).
    """

    effect: Effect
    unlike_others: float
    p_unlike: float
    p_unlike_alone: float


def by_group(
    treated: Mapping[str, Any], control: Mapping[str, Any], *, arm: str = "treated", level: float = 0.95, seed: int = 0
) -> tuple[GroupEffect, ...]:
    """Effects by subgroup: of each group the mean outcome of its members by replicate, (replicates[, ticks]).

    Groups are those of before treatment, or they select on what treatment did. Raises ScenarioError for a group that
    one arm has and the other has not, and for fewer than two groups.
    """
    if set(treated) != set(control) or len(treated) < 2:
        raise ScenarioError(f"groups: {sorted(treated)} and {sorted(control)}: two or more, the same in both arms")
    effects = adjusted(
        [effect(treated[name], control[name], arm=arm, outcome=name, level=level, seed=seed) for name in treated]
    )
    between = _differences(treated, control)
    others = (between.sum(axis=1, keepdims=True) - between) / (between.shape[1] - 1)
    unlike = between - others
    alone = [paired_t_p(unlike[:, at]) for at in range(unlike.shape[1])]
    p = holm(alone)
    return tuple(
        GroupEffect(one, float(unlike[:, at].mean()), float(p[at]), alone[at]) for at, one in enumerate(effects)
    )


def _differences(treated: Mapping[str, Any], control: Mapping[str, Any]) -> Floats:
    columns = []
    for name in treated:
        first, second = (np.asarray(arm[name], dtype=np.float64) for arm in (treated, control))
        columns.append((first - second)[:, -1] if first.ndim == 2 else first - second)
    return np.stack(columns, axis=1)


@dataclass(frozen=True, eq=False)
class QuantileEffects:
    """How far each quantile of agents' outcomes moves: `effects` by quantile, and a band that holds all at once.

    The quantile of the treated less that of the controls is what became of the distribution: agents may have changed
    places in it. `effects[i].p_adjusted` is by Holm over quantiles. Below five replicates there is no band.
    """

    quantiles: tuple[float, ...]
    effects: tuple[Effect, ...]
    band: Band | None


def by_quantile(
    treated: Any,
    control: Any,
    quantiles: Sequence[float] = QUANTILES,
    *,
    arm: str = "treated",
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> QuantileEffects:
    """Effects on quantiles of agents' outcomes, (replicates, agents) or a row a replicate, paired by replicate.

    Agents without a value are NaN. Raises ScenarioError for quantiles outside 0 to 1, for arms that are not paired, and
    for a replicate in which no agent has a value.
    """
    if not quantiles or not all(0.0 <= one <= 1.0 for one in quantiles):
        raise ScenarioError(f"quantiles={quantiles!r}: they lie between 0 and 1")
    ours, theirs = (_quantiles(one, quantiles, what) for one, what in ((treated, "treated"), (control, "control")))
    same_shape(ours, theirs)
    effects = adjusted(
        [
            effect(
                ours[:, at], theirs[:, at], arm=arm, outcome=f"quantile {one:g}", level=level, draws=draws, seed=seed
            )
            for at, one in enumerate(quantiles)
        ]
    )
    enough = len(ours) >= FEWEST_TO_RESAMPLE
    return QuantileEffects(tuple(quantiles), effects, band_of(ours - theirs, level, draws, seed) if enough else None)


def _quantiles(rows: Any, quantiles: Sequence[float], what: str) -> Floats:
    """Quantiles over the agents of each replicate that have a value: (replicates, quantiles)."""
    found = []
    for at, row in enumerate(rows):
        values = np.asarray(row, np.float64)
        there = values[~np.isnan(values)]
        if values.ndim != 1 or not len(there) or not np.isfinite(there).all():
            raise ScenarioError(f"{what}: replicate {at} is no (agents,) of which some have a finite value")
        found.append(np.quantile(there, list(quantiles)))
    return trajectories(found, what)
