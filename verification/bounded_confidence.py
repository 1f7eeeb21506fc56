"""Bounded confidence: how many clusters of opinion are left, against about one half over the confidence bound."""

from __future__ import annotations

import numpy as np

from verification.running import outcomes
from verification.verdicts import Verdict, check

SOURCE = "Deffuant et al. (2000): the whole part of 1 / (2 d)"


def deffuant(confidence: float, *, agents: int, ticks: int, seeds: range, within: float, move: float = 0.5) -> Verdict:
    """The mean number of clusters over some seeds."""
    given = {"confidence": confidence, "move": move}
    found = [
        outcomes("bounded_confidence", agents=agents, ticks=ticks, seed=seed, parameters=given)["clusters"]
        for seed in seeds
    ]
    return Verdict(
        f"clusters at d = {confidence}", float(np.mean(found)), float(int(1 / (2 * confidence))), within, SOURCE
    )


@check("bounded confidence: the number of clusters")
def cluster_counts(full: bool) -> list[Verdict]:
    """At five bounds; the number is of clusters with at least 3% of all.

    The law is a rule of thumb: the more clusters, the more often a run leaves one fewer or one more.
    """
    if full:
        size = {"agents": 5_000, "ticks": 120, "seeds": range(4)}
        within = {0.4: 0.5, 0.3: 0.5, 0.2: 0.5, 0.15: 0.5, 0.1: 1.0}
        return [deffuant(bound, **size, within=near) for bound, near in within.items()]
    return [deffuant(bound, agents=600, ticks=60, seeds=range(1), within=0.5) for bound in (0.4, 0.2)]
