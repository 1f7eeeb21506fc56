"""Looks at an experiment that goes on until it is clear: anytime-valid intervals after each replicate. Shell: tables.

Whatever is seen and whenever one stops, all intervals of a sequence hold the mean at once with its chance, so an
experiment may end because of what it shows. Intervals of a fixed number of replicates have no part in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from populace.core.errors import ScenarioError
from populace.experiments.design import Design
from populace.experiments.inference.multiplicity import holm
from populace.experiments.inference.sequential import ConfidenceSequence, anytime_p, confidence_sequence
from populace.experiments.schedule import Schedule
from populace.experiments.stopping import Stopping, Why
from populace.experiments.values import Floats

if TYPE_CHECKING:
    from populace.experiments.results import Results

Says = Literal["above", "below", "negligible", "narrow", "open"]


@dataclass(frozen=True, eq=False)
class Course:
    """The sequence of one arm and outcome: of its pairs, in the order of the replicates; `p` after each pair.

    `pairs` has how many of the first so many complete replicates have values in both arms.
    """

    arm: str
    outcome: str
    sequence: ConfidenceSequence
    p: Floats
    pairs: tuple[int, ...]

    def after(self, replicates: int) -> tuple[float, float, float]:
        """Low and high end and p after so many complete replicates; the whole range before any pair."""
        at = self.pairs[replicates - 1] - 1
        if at < 0:
            return -np.inf, np.inf, 1.0
        return float(self.sequence.low[at]), float(self.sequence.high[at]), float(self.p[at])


@dataclass(frozen=True)
class Look:
    """One arm's interval at a look after `replicates`, p adjusted over all arms and outcomes, and what they say."""

    replicates: int
    arm: str
    outcome: str
    estimate: float
    low: float
    high: float
    p_adjusted: float
    says: Says


@dataclass(frozen=True, eq=False)
class Looked:
    """All looks at an experiment, those at its stopping outcome by arm. `replicates` are those complete by now."""

    stopping: Stopping
    outcome: str
    replicates: int
    courses: tuple[Course, ...]
    looks: tuple[Look, ...]

    @property
    def decided(self) -> bool:
        """Whether at the last look every arm was decided."""
        last = [one.says for one in self.looks if one.replicates == self.replicates]
        return bool(last) and "open" not in last

    def now(self) -> dict[tuple[str, str], tuple[float, float, float]]:
        """Low and high end and adjusted p by (arm, outcome), of all outcomes with bounds, at the last look."""
        return _at(self.courses, self.replicates)


def looked_at(results: Results, level: float | None = None) -> Looked | None:
    """The looks at an experiment with a stopping rule; None without one, and before a replicate is complete.

    Raises ScenarioError, naming arm and outcome, for values outside of the outcome's bounds.
    """
    design, complete = results.design, results.complete
    rule = design.stopping
    if rule is None or not complete:
        return None
    at = rule.level if level is None else level
    outcome = rule.outcome or design.primary
    courses = tuple(
        _course(results, arm.name, one.name, one.bounds, at)
        for arm in design.treatments for one in design.outcomes if one.bounds is not None
    )  # fmt: skip
    many = len(complete)
    steps = [*range(rule.batch, many, rule.batch), many]
    looks = [look for n in steps for look in _look(courses, n, outcome, rule, at)]
    return Looked(rule, outcome, many, courses, tuple(looks))


def _course(results: Results, arm: str, outcome: str, bounds: tuple[float, float], level: float) -> Course:
    pairs = results.paired(outcome, arm)
    there = np.isfinite(pairs)
    width = bounds[1] - bounds[0]
    if not there.any():
        none = ConfidenceSequence(np.empty(0), np.empty(0), np.empty(0), level)
        return Course(arm, outcome, none, np.empty(0), (0,) * len(pairs))
    try:
        sequence = confidence_sequence(pairs[there], -width, width, level)
    except ScenarioError as error:
        raise ScenarioError(
            f"outcome {outcome!r} of arm {arm!r} has declared bounds {bounds[0]:g} to {bounds[1]:g}: {error}"
        ) from None
    p = anytime_p(pairs[there], -width, width, level)
    return Course(arm, outcome, sequence, p, tuple(np.cumsum(there).tolist()))


def _at(courses: tuple[Course, ...], replicates: int) -> dict[tuple[str, str], tuple[float, float, float]]:
    ends = [one.after(replicates) for one in courses]
    p = holm([one[2] for one in ends]).tolist()
    return {
        (one.arm, one.outcome): (low, high, adjusted)
        for one, (low, high, _), adjusted in zip(courses, ends, p, strict=True)
    }


def _look(courses: tuple[Course, ...], replicates: int, outcome: str, rule: Stopping, level: float) -> list[Look]:
    ends = _at(courses, replicates)
    found = []
    for one in courses:
        if one.outcome == outcome:
            low, high, p = ends[one.arm, outcome]
            pairs = one.pairs[replicates - 1]
            estimate = float(one.sequence.estimates[pairs - 1]) if pairs else float("nan")
            says = _says(low, high, p, rule, level)
            found.append(Look(replicates, one.arm, outcome, estimate, low, high, p, says))
    return found


def _says(low: float, high: float, p: float, rule: Stopping, level: float) -> Says:
    if p <= 1.0 - level and not low <= 0.0 <= high:
        return "above" if low > 0.0 else "below"
    if rule.margin > 0.0 and -rule.margin <= low and high <= rule.margin:
        return "negligible"
    return "narrow" if rule.width is not None and high - low <= rule.width else "open"


def next_replicates(looked: Looked | None, schedule: Schedule) -> tuple[int, Why]:
    """How many replicates to have played next; where no more are to be, those there are and what ended it."""
    design, rule = schedule.design, schedule.design.stopping
    assert rule is not None
    if looked is not None and looked.decided:
        return design.replicates, "decided"
    if design.replicates >= rule.most:
        return design.replicates, "replicates"
    more = min(rule.most, design.replicates + rule.batch) - design.replicates
    ceiling = design.read_settings().budget.experiment_usd
    if ceiling is not None and schedule.cost_usd * (1.0 + more / design.replicates) > ceiling:
        return design.replicates, "money"
    return design.replicates + more, ""


def why_never(design: Design) -> str:
    """Why the most replicates can decide nothing, whatever they show; empty where they can."""
    rule = design.stopping
    if rule is None or rule.width is not None or rule.margin:
        return ""
    tests = len(design.treatments) * sum(one.bounds is not None for one in design.outcomes)
    wanted, most = (1.0 - rule.level) / max(1, tests), max(rule.most, 1)
    p = anytime_p(np.ones(max(most, 200)), -1.0, 1.0, rule.level)
    if p[most - 1] <= wanted:
        return ""
    fewest = int(np.argmax(p <= wanted)) + 1 if (p <= wanted).any() else None
    return (
        f"{most} replicates cannot decide, not even if all of them differ as much as can be: with {tests} arms times "
        f"outcomes with bounds it takes {'over 200' if fewest is None else f'at least {fewest}'}. Ask for more "
        "replicates, or give bounds to fewer outcomes"
    )


def in_words(looked: Looked) -> str:
    """The last look in a line."""
    last = [one for one in looked.looks if one.replicates == looked.replicates]
    ends = "; ".join(f"{one.arm} {one.low:.3g} to {one.high:.3g} ({one.says})" for one in last)
    return f"after {looked.replicates} replicates, {looked.outcome}: {ends}"
