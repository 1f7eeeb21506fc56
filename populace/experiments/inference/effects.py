"""Effects of arms against a control, paired by replicate: how large, how sure, and what the pairing bought."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from populace.core.errors import ScenarioError
from populace.experiments.inference.arrays import Floats, Summary, all_equal, one_each, same_shape
from populace.experiments.inference.intervals import FEWEST_TO_RESAMPLE, Interval, interval
from populace.experiments.inference.libraries import library
from populace.experiments.inference.multiplicity import holm
from populace.experiments.inference.randomisation import sign_flip_p
from populace.experiments.inference.resampling import DRAWS

ENDLESS: Final = 1e6
"""Standard errors beyond which an end of a bootstrap is none: too few of the differences differ from each other."""


@dataclass(frozen=True)
class Effect:
    """What one arm did to one outcome, against the control of the same replicates.

    `difference` is the mean of treated less control, in the outcome's unit, with intervals (`studentised` is None below
    five replicates; `interval_of` says which to quote). `d_z` is that mean over the standard deviation of the
    differences, `hedges_g` over that of the arms with Hedges' correction; `d_z` grows with the pairing, `hedges_g` does
    not, so it is the one to compare with other studies. `p_t` and `p_sign_flip` are two-sided, `p_adjusted` is by Holm
    over the family.
    `variance_ratio` is what the variance of the difference would be without pairing, over what it is: 4 means that
    unpaired runs would need about four times as many replicates. NaN stands for what cannot be had (0 over 0).
    """

    arm: str
    outcome: str
    replicates: int
    mean_treated: float
    mean_control: float
    difference: float
    t: Interval
    studentised: Interval | None
    d_z: float
    hedges_g: float
    p_t: float
    p_sign_flip: float
    p_adjusted: float
    variance_ratio: float


def effect(
    treated: Any,
    control: Any,
    *,
    arm: str = "treated",
    outcome: str = "outcome",
    summary: Summary = "last",
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Effect:
    """The effect of one arm on one outcome; arrays are (replicates,) or (replicates, ticks), paired by replicate.

    Of trajectories `summary` is taken. Raises ScenarioError for arms that are not paired or hold what is not finite.
    """
    what = f"{outcome} of arm "
    first, second = one_each(treated, f"{what}{arm}", summary), one_each(control, f"{what}control", summary)
    same_shape(first, second, outcome)
    between = first - second
    enough = len(between) >= FEWEST_TO_RESAMPLE
    p = paired_t_p(between)
    return Effect(
        arm=arm,
        outcome=outcome,
        replicates=len(between),
        mean_treated=float(first.mean()),
        mean_control=float(second.mean()),
        difference=float(between.mean()),
        t=interval(between, "t", level),
        studentised=interval(between, "studentised", level, draws, seed) if enough else None,
        d_z=_over(between.mean(), between.std(ddof=1)),
        hedges_g=hedges_g(first, second),
        p_t=p,
        p_sign_flip=sign_flip_p(between, seed),
        p_adjusted=p,
        variance_ratio=_over(first.var(ddof=1) + second.var(ddof=1), between.var(ddof=1)),
    )


def compare(
    arms: Mapping[str, Mapping[str, Any]],
    control: str = "control",
    *,
    summary: Summary = "last",
    level: float = 0.95,
    test: Literal["t", "sign_flip"] = "t",
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[Effect, ...]:
    """The effect of each arm on each outcome against `control`: `arms[arm][outcome]` is (replicates[, ticks]).

    `p_adjusted` is Holm's, of the `test` named, over all arms and outcomes together. Raises ScenarioError for a control
    that is no arm, and for an outcome that one arm has and another has not.
    """
    if control not in arms:
        raise ScenarioError(f"control={control!r}: the arms are {', '.join(arms)}")
    outcomes = list(arms[control])
    for arm, columns in arms.items():
        if set(columns) != set(outcomes):
            raise ScenarioError(f"arm {arm!r} has outcomes {sorted(columns)}, and {control!r} has {sorted(outcomes)}")
    found = [
        effect(columns[outcome], arms[control][outcome], arm=arm, outcome=outcome, summary=summary, level=level,
               draws=draws, seed=seed)
        for arm, columns in arms.items() if arm != control
        for outcome in outcomes
    ]  # fmt: skip
    return adjusted(found, test)


def adjusted(effects: list[Effect], test: Literal["t", "sign_flip"] = "t") -> tuple[Effect, ...]:
    """The same effects with `p_adjusted` by Holm over all of them, of the test named."""
    p = holm([one.p_t if test == "t" else one.p_sign_flip for one in effects])
    return tuple(replace(one, p_adjusted=float(value)) for one, value in zip(effects, p, strict=True))


def interval_of(one: Effect) -> Interval:
    """The interval to quote: studentised where it has ends, else Student's."""
    made = one.studentised
    scale = max(abs(one.difference), one.t.width)
    if made is None or not np.isfinite(made.width) or made.width > ENDLESS * scale:
        return one.t
    return made


def paired_t_p(differences: Floats) -> float:
    """The two-sided p-value of Student's paired test; where all differences are equal, that of the sign flips."""
    if all_equal(differences):
        return sign_flip_p(np.full_like(differences, differences[0]))
    error = differences.std(ddof=1) / math.sqrt(len(differences))
    return float(2.0 * library("scipy.stats").t.sf(abs(differences.mean() / error), len(differences) - 1))


def hedges_g(treated: Floats, control: Floats) -> float:
    """The difference of means in standard deviations of the arms, corrected for few replicates (Hedges 1981)."""
    freedom = 2 * (len(treated) - 1)
    spread = math.sqrt((treated.var(ddof=1) + control.var(ddof=1)) / 2.0)
    return _over(treated.mean() - control.mean(), spread) * (1.0 - 3.0 / (4.0 * freedom - 1.0))


def _over(above: float, below: float) -> float:
    if below == 0.0:
        return math.nan if above == 0.0 else math.copysign(math.inf, above)
    return float(above / below)


def as_rows(effects: tuple[Effect, ...]) -> list[dict[str, float | int | str]]:
    """A plain row for each effect, for a table: ends of intervals under `t_low`, `t_high` and so on; NaN for none."""
    rows = []
    for one in effects:
        row: dict[str, float | int | str] = {}
        for name in one.__dataclass_fields__:
            value = getattr(one, name)
            if isinstance(value, Interval) or value is None:
                row[f"{name}_low"] = np.nan if value is None else value.low
                row[f"{name}_high"] = np.nan if value is None else value.high
            else:
                row[name] = value
        rows.append(row)
    return rows
