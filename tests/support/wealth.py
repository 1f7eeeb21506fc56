"""Boltzmann wealth twice: each agent who owns something gives a unit to another, as coroutines and in columns.

The exchanges are actions on a part. Both draw by (seed, tick, purpose, id) alike, so what becomes of it is the same.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace import Agent, ColumnarAgent, Parameters, Population, Society, World
from populace.env import Batch, Opening, Part, RowDigests, action


class Dials(Parameters):
    """How many there are to give to."""

    people: int = 60


class Bank(Part):
    """What each owns."""

    def open(self, opening: Opening) -> None:
        """Everybody begins with one unit."""
        self.owned = np.ones(opening.agents, np.int64)
        self._digests = RowDigests("owned", "owned")
        self._digests.put(np.arange(opening.agents), np.arange(opening.agents), self.owned)

    unsaved = ("_digests",)

    def observe(self, tick: int, agents: NDArray[np.int32]) -> dict[str, Any]:
        """One's own wealth."""
        return {"owned": self.owned[agents]}

    @action
    def give(self, tick: int, batch: Batch) -> None:
        """Each gives one unit; who gives had it as the tick began, and gives once."""
        change = np.bincount(batch.column("to"), minlength=len(self.owned))
        change[batch.agents] -= 1
        rows = np.flatnonzero(change)
        self.owned[rows] += change[rows]
        self._digests.put(rows, rows, self.owned[rows])

    def state(self) -> dict[str, Any]:
        """All of it."""
        return {"owned": self.owned}

    def restore(self, state: dict[str, Any]) -> None:
        """All of it."""
        self.owned = state["owned"].copy()
        self._digests.put(np.arange(len(self.owned)), np.arange(len(self.owned)), self.owned)

    def digest(self) -> bytes:
        """As rows."""
        return self._digests.digest()


class Person(Agent):
    """One by one."""

    async def turn(self, ctx: Any) -> None:
        """See the module."""
        if ctx.seen["bank.owned"] > 0:
            drawn = ctx.draw.column("partner", np.array([ctx.id]))[0]
            ctx.act("bank.give", to=int(drawn * ctx.parameters.people))


class Trader(ColumnarAgent):
    """All as one."""

    def turns(self, ctx: Any) -> None:
        """See the module."""
        partner = ctx.draw("partner").integer(ctx.parameters.people)
        ctx.act("bank.give", who=ctx.seen["bank.owned"] > 0, to=partner)


def gini(world: World) -> float:
    """How unequal it is, 0 to 1."""
    owned = np.sort(world.bank.owned)
    return float(2 * (owned * np.arange(1, len(owned) + 1)).sum() / (len(owned) * owned.sum()) - 1 - 1 / len(owned))


def richest(world: World) -> float:
    """What the richest owns."""
    return float(world.bank.owned.max())


def fingerprint(world: World) -> float:
    """Another number for other columns."""
    return float((world.bank.owned * np.arange(1, len(world.bank.owned) + 1) ** 2).sum())


def people(setup: Any) -> Population:
    """All alike."""
    return Population.of_defaults(setup.agents)


def world(setup: Any, _people: Any) -> World:
    """The bank."""
    return World(Bank())


OUTCOMES = {"gini": gini, "richest": richest, "fingerprint": fingerprint}
coroutines = Society(name="coroutines", agent=Person, population=people, world=world, outcomes=OUTCOMES,
                     parameters=Dials(), size=60, ticks=12)  # fmt: skip
columns = Society(name="columns", agent=Trader, population=people, world=world, outcomes=OUTCOMES,
                  parameters=Dials(), size=60, ticks=12)  # fmt: skip
