"""Schelling's segregation beside Mesa's example: the same rule and parameters, means over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from verification.running import compared, mean_and_error, mesa, outcomes
from verification.verdicts import Verdict, check

MESA = """
from mesa.examples.basic.schelling.model import Schelling

def measure(seed, side, density, wanted, steps):
    model = Schelling(height=side, width=side, density=density, minority_pc=0.5, homophily=wanted, radius=1, seed=seed)
    for _ in range(steps):
        model.step()
    shares = []
    for one in model.agents:
        near = list(one.cell.get_neighborhood(radius=1).agents)
        if near:
            shares.append(sum(other.type == one.type for other in near) / len(near))
    return {"like": sum(shares) / len(shares), "happy": model.happy / len(model.agents)}
"""
"""Mesa's own example, as it ships."""

SIDE, DENSITY, WANTED = 20, 0.8, 0.4
NAMES = {"like": "mean share of like neighbours", "happy": "share that stays"}


def segregated(seeds: Sequence[int], ticks: int, **given: Any) -> list[dict[str, float]]:
    """Our figures for each seed; as in Mesa's example each cell is taken at first with the same probability."""
    found = []
    for seed in seeds:
        agents = int(np.random.default_rng(seed).binomial(SIDE * SIDE, DENSITY))
        parameters = {"side": SIDE, "wanted": WANTED, **given}
        found.append(outcomes("segregation", agents=agents, ticks=ticks, seed=seed, parameters=parameters))
    return found


@check("segregation beside Mesa's Schelling")
def beside_mesa(full: bool) -> list[Verdict]:
    """On the way, and once hardly anybody moves any more."""
    verdicts = []
    seeds = range(40) if full else range(8)
    for ticks in (2, 30) if full else (2,):
        theirs, version = mesa(MESA, seeds, side=SIDE, density=DENSITY, wanted=WANTED, steps=ticks)
        names = {name: f"{what} after {ticks} steps" for name, what in NAMES.items()}
        verdicts += compared(segregated(seeds, ticks), theirs, names, f"{version}, {len(seeds)} seeds each")
    return verdicts


@check("segregation: mixed by a coin at first, and nobody moves at last")
def ends(full: bool) -> list[Verdict]:
    """Each neighbour is like with probability one half; a state in which all stay is where the rule comes to rest."""
    seeds = range(10) if full else range(2)
    began, error = mean_and_error([one["like"] for one in segregated(seeds, 1, goes="nowhere")])
    ended, _ = mean_and_error([one["happy"] for one in segregated(seeds, 50)])
    return [
        Verdict("share of like neighbours at first", began, 0.5, 4 * max(error, 0.005), "kinds by a coin"),
        Verdict("share that stays at last", ended, 1.0, 0.01, "Schelling (1971): a state at rest"),
    ]
