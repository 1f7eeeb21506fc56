"""How near simulated answers are to human ones: of single people, of distributions, of groups. Pure.

All take arrays of one length, an answer a person, as numbers (codes of a scale, or 0 and 1), none missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from populace.core.errors import ScenarioError
from populace.experiments.inference.arrays import Floats
from populace.experiments.inference.libraries import library

FEWEST_IN_GROUP: Final = 5
"""People without whom a group is not called worst served."""


@dataclass(frozen=True)
class Calibration:
    """Human answers regressed on simulated ones: perfect is a slope of 1 and an intercept of 0.

    A slope under 1 says that the simulation exaggerates what it tells apart; NaN where it tells nothing apart.
    """

    slope: float
    intercept: float


def answers(values: Any, what: str) -> Floats:
    """Finite float64 (people,), two or more. Raises ScenarioError, naming the first person without an answer."""
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1 or len(given) < 2:
        raise ScenarioError(f"{what}: of shape {given.shape}; it takes an answer a person, of two people or more")
    if not np.isfinite(given).all():
        raise ScenarioError(f"{what}: person {int(np.flatnonzero(~np.isfinite(given))[0])} has no answer")
    return given


def accuracy(human: Floats, simulated: Floats) -> float:
    """The share of people whose answer is hit exactly."""
    return float((human == simulated).mean())


def error(human: Floats, simulated: Floats) -> float:
    """The mean absolute error, in the answers' unit."""
    return float(np.abs(human - simulated).mean())


def over_retest(human: Floats, simulated: Floats, retest: Floats) -> float:
    """Accuracy over that of the same people asked again (Park and others 2024, arXiv:2411.10109): 1 is as good.

    `retest` are the people's answers the second time. NaN where nobody repeats an answer.
    """
    again = accuracy(human, retest)
    return accuracy(human, simulated) / again if again > 0.0 else float("nan")


def correlation(first: Floats, second: Floats) -> float:
    """Pearson's r; NaN where one of them does not vary."""
    if first.std() == 0.0 or second.std() == 0.0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def calibration(human: Floats, simulated: Floats) -> Calibration:
    """The line of human on simulated answers, by least squares."""
    spread = float(simulated.var())
    if spread == 0.0:
        return Calibration(float("nan"), float("nan"))
    slope = float(((simulated - simulated.mean()) * (human - human.mean())).mean()) / spread
    return Calibration(slope, float(human.mean() - slope * simulated.mean()))


def variance_ratio(human: Floats, simulated: Floats) -> float:
    """The variance of simulated answers over that of human ones: under 1, people are made too alike."""
    spread = float(human.var(ddof=1))
    return float(simulated.var(ddof=1)) / spread if spread > 0.0 else float("nan")


def wasserstein(human: Floats, simulated: Floats) -> float:
    """Wasserstein-1 distance of the two distributions: by how much answers would have to move, in their unit."""
    return float(library("scipy.stats").wasserstein_distance(human, simulated))


def overlap(human: Floats, simulated: Floats) -> float:
    """The share that the two distributions have in common, answer by answer: 1 where they are the same."""
    values = np.union1d(human, simulated)
    return float(sum(min((human == one).mean(), (simulated == one).mean()) for one in values))


def worst_group(human: Floats, simulated: Floats, groups: Mapping[str, Any]) -> tuple[str, float, int] | None:
    """The group with the largest mean absolute error: its name, that error and its people. None where all are small.

    `groups` holds columns (people,) of labels; a group is `column=label`, of five people or more.
    """
    found: tuple[str, float, int] | None = None
    for column, labels in groups.items():
        named = np.asarray(labels)
        for label in np.unique(named):
            of = named == label
            if of.sum() >= FEWEST_IN_GROUP:
                missed = error(human[of], simulated[of])
                if found is None or missed > found[1]:
                    found = (f"{column}={label}", missed, int(of.sum()))
    return found


def between_groups(values: Floats, labels: Any) -> float:
    """The share of the variance that lies between groups, less what chance puts there (omega squared, 0 at least)."""
    named = np.asarray(labels)
    kinds = np.unique(named)
    total = float(((values - values.mean()) ** 2).sum())
    within = float(sum(((values[named == one] - values[named == one].mean()) ** 2).sum() for one in kinds))
    freedom = len(values) - len(kinds)
    if total == 0.0 or freedom <= 0:
        return 0.0
    noise = within / freedom
    return max((total - within - (len(kinds) - 1) * noise) / (total + noise), 0.0)


def stereotyping(human: Floats, simulated: Floats, labels: Any) -> float:
    """How much more a group tells of simulated answers than of human ones: over 1, members are made too alike.

    The ratio of the shares of variance between groups. NaN where groups tell nothing of the human answers.
    """
    of_people = between_groups(human, labels)
    return between_groups(simulated, labels) / of_people if of_people > 0.0 else float("nan")
