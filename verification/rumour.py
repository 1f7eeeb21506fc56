"""A rumour as an epidemic on a random graph: whom it reaches in the end, against the final-size equation."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from verification.running import mean_and_error, outcomes
from verification.verdicts import Verdict, check

SOURCE = "final size: r = 1 - (1 - s) exp(-R r), Kermack and McKendrick (1927)"


def final_size(reproduction: float, sources: float) -> float:
    """The share that is reached where `sources` of all know it at first and each tells `reproduction` on average."""
    return float(brentq(lambda r: r - 1 + (1 - sources) * np.exp(-reproduction * r), sources / 2, 1.0))


def reached(
    reproduction: float, *, agents: int, seeds: range, friends: float = 6.0, told: float | None = None, ticks: int = 60
) -> Verdict:
    """The mean share that is reached over some seeds, within four standard errors.

    A run's standard deviation is that of an epidemic's size about its mean (von Bahr and Martin-Loef 1980).
    """
    sources = max(1, agents // 100)
    given = {"friends": friends, "told": reproduction / friends if told is None else told, "sources": sources}
    found = [outcomes("rumour", agents=agents, ticks=ticks, seed=seed, parameters=given)["reached"] for seed in seeds]
    share = final_size(reproduction, sources / agents)
    deviation = np.sqrt(share * (1 - share) / agents) / abs(1 - reproduction * (1 - share))
    within = 4 * float(deviation) / np.sqrt(len(seeds))
    mean = float(np.mean(found)) if len(seeds) == 1 else mean_and_error(found)[0]
    return Verdict(f"share reached at R = {reproduction}", mean, share, within, SOURCE)


@check("rumour: the share that is reached at last")
def final_sizes(full: bool) -> list[Verdict]:
    """Below the threshold, above it, and far above."""
    if full:
        return [reached(rate, agents=10_000, seeds=range(4)) for rate in (0.7, 1.5, 2.5)]
    return [reached(rate, agents=1_500, seeds=range(1)) for rate in (0.7, 2.5)]
