"""Two ways in which money changes hands.

`rule = "split"`: everybody trades with one other a tick, by lot, and the two part what they own at random (Dragulescu
and Yakovenko 2000, doi:10.1007/s100510070114). `rule = "give"`: one after another, in random order, who owns something
gives a unit to somebody, as the model of Mesa's tutorial does.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kstest

from populace import ColumnarAgent, Parameters, Population, Society, World
from populace.env import Batch, Opening, Part, action


class Dials(Parameters):
    """By which `rule` money changes hands, and how many there are to give to."""

    rule: Literal["split", "give"] = "split"
    people: int = 1000


class Bank(Part):
    """What each owns: 1.0 at first. Actions come in the fair order of the tick, which is a random one."""

    def open(self, opening: Opening) -> None:
        """Everybody begins with one unit."""
        self.owned = np.ones(opening.agents)

    @action
    def trade(self, tick: int, batch: Batch) -> None:
        """Each two who come one after the other trade."""
        half = len(batch) // 2
        one, other = batch.agents[0 : 2 * half : 2], batch.agents[1 : 2 * half : 2]
        together = self.owned[one] + self.owned[other]
        self.owned[one] = together * self.world.draw.column("bank.split", one)
        self.owned[other] = together - self.owned[one]

    @action
    def give(self, tick: int, batch: Batch) -> None:
        """A unit to somebody, maybe oneself; who owns nothing by then gives nothing."""
        for i, (agent, to) in enumerate(zip(batch.agents.tolist(), batch.column("to").tolist(), strict=True)):
            if self.owned[agent] <= 0:
                batch.refuse(i, "nothing_to_give")
                continue
            self.owned[to] += 1
            self.owned[agent] -= 1

    def state(self) -> dict[str, Any]:
        """All of it."""
        return {"owned": self.owned}

    def restore(self, state: dict[str, Any]) -> None:
        """All of it."""
        self.owned = state["owned"].copy()


class Person(ColumnarAgent):
    """Trades, or gives, in each tick."""

    def turns(self, ctx: Any) -> None:
        """One action of each."""
        if ctx.parameters.rule == "split":
            ctx.act("bank.trade")
        else:
            ctx.act("bank.give", to=ctx.draw("to").integer(ctx.parameters.people))


def gini(owned: NDArray[np.float64]) -> float:
    """The Gini coefficient: mean absolute difference over twice the mean."""
    ranks = np.arange(1, len(owned) + 1)
    return float((2 * ranks - len(owned) - 1) @ np.sort(owned) / (len(owned) * owned.sum()))


society = Society(
    name="wealth",
    agent=Person,
    population=lambda setup: Population.of_defaults(setup.agents),
    world=lambda setup, people: World(Bank()),
    parameters=Dials(),
    outcomes={
        "total": lambda world: float(world.bank.owned.sum()),
        "gini": lambda world: gini(world.bank.owned),
        "nothing": lambda world: float((world.bank.owned <= 0).mean()),
        "over_two": lambda world: float((world.bank.owned > 2).mean()),
        "distance": lambda world: float(kstest(world.bank.owned, "expon").statistic),
    },
    size=1000,
    ticks=30,
)
