"""A society in which something is scarce: places in two inboxes, and what a part of the world has to give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from populace import Agent, Context, Population, Public, Setup, Society, World
from populace.env import Batch, Part, action

AGENTS = 12
PLACES = 3
"""Set as `bus.inbox_messages`; the stall gives as many things in a tick."""


class Stall(Part):
    """Has so many things to give in each tick; who comes too late is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[int] = []

    @action
    def take(self, tick: int, batch: Batch) -> Iterator[tuple[int, Any]]:
        for i, agent in enumerate(batch.agents.tolist()):
            if len(self.given) < PLACES * (tick + 1):
                self.given.append(agent)
                yield agent, "taken"
            else:
                batch.refuse(i, "sold_out")

    def state(self) -> dict[str, Any]:
        return {"given": list(self.given)}

    def restore(self, state: dict[str, Any]) -> None:
        self.given = list(state["given"])


class Buyer(Agent):
    taken: Public[int] = 0
    heard: Public[str] = ""

    async def turn(self, ctx: Context) -> None:
        self.taken += sum(one.sender == -1 for one in ctx.inbox)
        self.heard = " ".join(str(one.sender) for one in ctx.inbox)
        ctx.act("stall.take")
        ctx.send([0, AGENTS - 1], ctx.id)


def population(setup: Setup) -> Population:
    return Population({"taken": [0] * setup.agents})


society = Society(
    name="scarce", agent=Buyer, population=population, world=lambda setup, people: World(Stall()), size=AGENTS, ticks=8
)
