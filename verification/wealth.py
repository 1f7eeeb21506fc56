"""Money that changes hands: the exponential law, and Mesa's model of wealth side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from verification.running import compared, mesa, outcomes
from verification.verdicts import Verdict, check

MESA = """
class MoneyAgent(mesa.Agent):
    def __init__(self, model):
        super().__init__(model)
        self.wealth = 1

    def step(self):
        if self.wealth > 0:
            other = self.random.choice(self.model.people)
            other.wealth += 1
            self.wealth -= 1

class MoneyModel(mesa.Model):
    def __init__(self, n, seed):
        super().__init__(seed=seed)
        MoneyAgent.create_agents(self, n)
        self.people = list(self.agents)

    def step(self):
        self.agents.shuffle_do("step")

def measure(seed, agents, steps):
    model = MoneyModel(agents, seed)
    for _ in range(steps):
        model.step()
    owned = sorted(one.wealth for one in model.agents)
    n, total = len(owned), sum(owned)
    gini = sum((2 * rank - n - 1) * one for rank, one in enumerate(owned, 1)) / (n * total)
    return {"gini": gini, "nothing": owned.count(0) / n, "over_two": sum(one > 2 for one in owned) / n}
"""
"""The model of Mesa's tutorial (and of `benchmarks/wealth.py`), without a grid."""


def exponential(agents: int, ticks: int, seed: int, **given: Any) -> list[Verdict]:
    """One run of the exchange by pairs, whose shares of money are exponential with the mean that there is."""
    found = outcomes("wealth", agents=agents, ticks=ticks, seed=seed, parameters={"people": agents, **given})
    root, over = float(np.sqrt(agents)), float(np.exp(-2))
    law = "exp(-m/T)/T, Dragulescu and Yakovenko (2000)"
    return [
        Verdict(f"distance from the law, {agents:,} agents", found["distance"], 0.0, 1.63 / root, f"{law}: 1% of KS"),
        Verdict("Gini coefficient", found["gini"], 0.5, 4 * 0.289 / root, f"{law}: 1/2"),
        Verdict("share with more than twice the mean", found["over_two"], over, 4 * 0.342 / root, f"{law}: exp(-2)"),
        Verdict("money in all, relative", found["total"] / agents, 1.0, 1e-9, "conservation"),
    ]


@check("wealth by pairs is exponential")
def exponential_law(full: bool) -> list[Verdict]:
    """After enough trades for each."""
    return exponential(50_000, 40, 5) if full else exponential(4_000, 25, 5)


def giving(seeds: Sequence[int], *, agents: int, ticks: int) -> list[dict[str, float]]:
    """The same figures as Mesa's model gives, for each seed."""
    given = {"rule": "give", "people": agents}
    return [outcomes("wealth", agents=agents, ticks=ticks, seed=seed, parameters=given) for seed in seeds]


NAMES = {"gini": "Gini coefficient", "nothing": "share that owns nothing", "over_two": "share with more than two"}


@check("wealth, a unit at a time, beside Mesa's model")
def beside_mesa(full: bool) -> list[Verdict]:
    """Means over seeds."""
    agents, ticks, seeds = (500, 100, range(20)) if full else (200, 30, range(8))
    theirs, version = mesa(MESA, seeds, agents=agents, steps=ticks)
    return compared(giving(seeds, agents=agents, ticks=ticks), theirs, NAMES, f"{version}, {len(seeds)} seeds each")
