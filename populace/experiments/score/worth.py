"""What simulated answers are worth in human ones: prediction-powered inference of a mean. Pure.

Angelopoulos, Bates, Fannjiang, Jordan and Zrnic (2023), Prediction-powered inference, Science 382, 669-674; the weight
of the predictions by Angelopoulos, Duchi and Zrnic (2023), PPI++, arXiv:2311.01453.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from populace.core.errors import ScenarioError
from populace.experiments.inference.arrays import chance
from populace.experiments.inference.intervals import Interval
from populace.experiments.inference.libraries import library
from populace.experiments.score.measures import answers


@dataclass(frozen=True)
class Worth:
    """A mean from `humans` people with a simulation of each, and `simulated` more simulations without their people.

    `interval` is valid however bad the simulation is; `plain` is that of the people alone. `weight` is how far the
    simulation is trusted, 0 where it is worth nothing. `worth_in_humans` people alone would give as narrow an interval,
    so `humans_saved` is how many need not be asked, in whole people: 0 says that the simulation saves none here.
    """

    estimate: float
    interval: Interval
    plain: Interval
    weight: float
    humans: int
    simulated: int
    worth_in_humans: float
    humans_saved: int


def worth(human: Any, simulated: Any, more_simulated: Any, level: float = 0.95) -> Worth:
    """The mean of human answers (n,), each beside its simulation (n,), with `more_simulated` (N,) of other people.

    The people asked are a random sample of those simulated. Intervals are normal ones, as published: 30 people or more.
    Raises ScenarioError for pairs that are none.
    """
    people, paired, more = answers(human, "human"), answers(simulated, "simulated"), answers(more_simulated, "more")
    chance(level, "level")
    if len(people) != len(paired):
        raise ScenarioError(f"{len(people)} human answers and {len(paired)} simulations of them: they are pairs")
    n, many = len(people), len(more)
    spread = float(np.concatenate((paired, more)).var(ddof=1))
    together = float(np.cov(people, paired, ddof=1)[0, 1])
    weight = min(max(together / ((1.0 + n / many) * spread), 0.0), 1.0) if spread > 0.0 else 0.0
    estimate = float(people.mean() + weight * (more.mean() - paired.mean()))
    variance = float((people - weight * paired).var(ddof=1)) / n + weight**2 * float(more.var(ddof=1)) / many
    alone = float(people.var(ddof=1)) / n
    z = float(library("scipy.stats").norm.ppf(0.5 + level / 2))
    half, plain_half = z * np.sqrt(variance), z * np.sqrt(alone)
    mean = float(people.mean())
    equal = n * alone / variance if variance > 0.0 else float(n)
    return Worth(
        estimate=estimate,
        interval=Interval(estimate - half, estimate + half, level, "prediction-powered"),
        plain=Interval(mean - plain_half, mean + plain_half, level, "humans alone"),
        weight=weight,
        humans=n,
        simulated=many,
        worth_in_humans=equal,
        humans_saved=max(int(equal - n), 0),
    )
