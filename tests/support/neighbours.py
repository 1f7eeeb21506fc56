"""A society whose agents are influenced by whom they follow alone: they are sent mail by these, and read their fields.

Loaded in tests as a file.
"""

from __future__ import annotations

import numpy as np

from populace import Agent, Choice, Context, OrderedSet, Parameters, Population, Public, Society
from populace.core.draws import WORLD, Draws
from populace.core.records import Abstained
from populace.env import Network, Part, World, action


class Dials(Parameters):
    due: float = 0.8
    asks: int = 2


class Ledger(Part):
    """Takes what agents pay, and shows nobody anything."""

    def open(self, opening) -> None:
        self.paid = np.zeros(opening.agents)

    @action
    def pay(self, tick: int, batch) -> None:
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            if args["amount"] < 0.1:
                batch.refuse(i, "too_little")
            else:
                self.paid[agent] += args["amount"]

    def state(self):
        return {"paid": self.paid}

    def restore(self, state) -> None:
        self.paid = state["paid"].copy()


class Neighbour(Agent):
    mood: Public[float] = 0.0
    word: Public[str] = "none"
    heard: list[int] = []
    known: set[str] = set()

    async def turn(self, ctx: Context) -> None:
        draw = ctx.draw("what")
        self.heard = [*self.heard[-3:], *(message.sender for message in ctx.inbox)]
        for message in ctx.inbox:
            self.mood = 0.9 * self.mood + 0.1 * message.body["mood"]
            self.known = OrderedSet(sorted(OrderedSet([*self.known, message.body["word"]]))[-4:])
        if draw.bernoulli(0.3):
            ties = await ctx.look("network.ties")
            read = await ctx.look("columns.of", agents=[*ties["agents"], ctx.id], fields=["mood", "word"])
            self.mood += 0.01 * sum(read["mood"]) + 0.001 * len("".join(read["word"]))
        for at in range(draw.integer(ctx.parameters.asks + 1)):
            answer = await ctx.ask(f"{ctx.id} {self.mood:.6f} {at}", Choice("up", "down"), purpose="mood")
            if not isinstance(answer, Abstained):
                self.mood += 0.1 if answer.label == "up" else -0.1
                self.word = f"{answer.label}{ctx.tick}"
        if draw.bernoulli(0.1):
            raise RuntimeError("a bad day")
        followers = await ctx.look("network.followers")
        ctx.send([one for one in followers if draw.bernoulli(0.6)], {"mood": self.mood, "word": self.word})
        ctx.act("ledger.pay", amount=draw.random())
        ctx.act("network.follow", target=(ctx.id + 7) % 11)
        if draw.bernoulli(0.3):
            ctx.wake_at(ctx.tick + 1 + draw.integer(3))


class Quiet:
    """Due by lot, as the society's parameters have it no say in."""

    def due(self, seed: int, tick: int, ids):
        return Draws(seed, WORLD, tick).column("due", ids) < 0.6


def population(setup) -> Population:
    return Population({"mood": [one / setup.agents for one in range(setup.agents)]})


def world(setup, people) -> World:
    draw = setup.draw("ties")
    drawn = [(one, draw.integer(setup.agents)) for one in range(setup.agents) for _ in range(3)]
    source, target = zip(*sorted(dict.fromkeys((one, other) for one, other in drawn if one != other)), strict=True)
    return World(Network(source, target, size=setup.agents), Ledger())


society = Society(
    name="neighbours",
    agent=Neighbour,
    population=population,
    world=world,
    outcomes={
        "mood": lambda world: float(np.mean(world.columns["mood"])),
        "paid": lambda w: float(w.ledger.paid.sum()),
    },
    parameters=Dials(),
    activation=Quiet(),
    influence="network",
    size=24,
    ticks=12,
)
