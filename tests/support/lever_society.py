"""A society in which every effect of a lever shows in public fields."""

from __future__ import annotations

from typing import Any

import numpy as np

from populace import Agent, Context, Parameters, Population, Public, Setup, Society, World
from populace.core.errors import ScenarioError
from populace.env import Clock, Network, Part, action


class Resident(Agent):
    party: str
    age: int
    trust: Public[float] = 1.0
    dial: Public[float] = -1.0
    rate: Public[float] = -1.0
    read: Public[str] = ""
    pages: Public[int] = 0
    notes: list[str] = []

    async def turn(self, ctx: Context) -> None:
        self.dial = ctx.parameters.dial
        self.rate = ctx.seen["fund.rate"]
        assert ctx.seen["fund.dial"] == self.dial, "the world's parameters are not those of turns"
        (own,) = (await ctx.look("columns.of", agents=[ctx.id], fields=["trust"]))["trust"]
        assert own == self.trust, "the world's snapshot is not what the agent is"
        self.read = " ".join(f"{message.sender}:{message.body}" for message in ctx.inbox)
        self.notes.append("was here")
        self.pages = len(self.notes)
        for step in (1, 2, 7):
            ctx.send((ctx.id + step) % ctx.parameters.size, "hello")
        if ctx.draw("follow").bernoulli(0.5):
            ctx.act("network.unfollow", target=ctx.draw("whom").integer(ctx.parameters.size))
        ctx.act("fund.pay")


class Fund(Part):
    """It thanks those that pay, so that the world itself sends, too."""

    settable = {"rate": float}

    def __init__(self) -> None:
        super().__init__()
        self.rate = 0.5
        self.total = 0.0

    def observe(self, tick: int, agents: Any) -> dict[str, Any]:
        return {"rate": [self.rate] * len(agents), "dial": [self.world.parameters.dial] * len(agents)}

    def set_parameter(self, name: str, value: Any) -> None:
        if value < 0:
            raise ScenarioError("a rate is not below zero")
        super().set_parameter(name, value)

    @action
    def pay(self, tick: int, batch: Any) -> Any:
        self.total += self.rate * len(batch)
        return [(agent, "thanks") for agent in batch.agents.tolist() if agent % 5 == 0]

    def state(self) -> dict[str, Any]:
        return {"total": self.total}

    def restore(self, state: dict[str, Any]) -> None:
        self.total = state["total"]


class Dials(Parameters):
    dial: float = 1.0
    size: int = 40
    word: str = "x"


def population(setup: Setup) -> Population:
    n = setup.agents
    return Population(
        {
            "party": ["RD"[i % 2] for i in range(n)],
            "age": [20 + i for i in range(n)],
            "wealth": [None if i == 0 else float(i) for i in range(n)],
            "odd": [[i] for i in range(n)],
        },
        extra=("party", "age", "wealth", "odd"),
    )


def world(setup: Setup, people: Population) -> World:
    return World(Clock(), Network.watts_strogatz(setup, neighbours=4, rewire=0.1), Fund())


society = Society(
    name="residents",
    agent=Resident,
    population=population,
    world=world,
    parameters=Dials(),
    outcomes={"trust": lambda w: np.mean(w.columns["trust"]), "total": lambda w: w.fund.total},
    size=40,
    ticks=5,
)
