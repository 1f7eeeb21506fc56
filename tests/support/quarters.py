"""A society of citizens, who ask each for itself and by archetype, beside agents in columns who ask by archetype, and
where all are influenced by whom they follow alone.

Nobody influences the `press`; the `crowd` follows some citizens and the press; citizens follow all three. Loaded in
tests as a file.
"""

from __future__ import annotations

import numpy as np

from populace import Agent, Choice, ColumnarAgent, Context, Parameters, Population, Public, Society
from populace.agents.columnar_context import ColumnarContext
from populace.core.draws import WORLD, Draws
from populace.core.records import Abstained
from populace.env import Network, Part, World, action

CITIZENS, CROWD, PRESS = 16, 10, 5


class Dials(Parameters):
    asks: int = 1
    stray: int = -1


class Ledger(Part):
    """Takes what agents pay, and shows nobody anything."""

    def open(self, opening) -> None:
        self.paid = np.zeros(opening.agents)

    @action
    def pay(self, tick: int, batch) -> None:
        for agent, args in zip(batch.agents.tolist(), batch.args, strict=True):
            self.paid[agent] = 0.5 * self.paid[agent] + args["amount"]

    def state(self):
        return {"paid": self.paid}

    def restore(self, state) -> None:
        self.paid = state["paid"].copy()


class Citizen(Agent):
    mood: Public[float] = 0.0
    heard: list[int] = []

    async def turn(self, ctx: Context) -> None:
        draw = ctx.draw("what")
        for message in ctx.inbox:
            self.mood = 0.9 * self.mood + 0.1 * message.body
            self.heard = [*self.heard[-3:], message.sender]
        if draw.bernoulli(0.5):
            ties = await ctx.look("network.ties")
            read = await ctx.look("columns.of", agents=[*ties["agents"], ctx.id], fields=["mood"])
            self.mood += 0.01 * sum(read["mood"])
        for at in range(draw.integer(ctx.parameters.asks + 1)):
            answer = await ctx.ask(f"{ctx.id} {self.mood:.6f} {at}", Choice("up", "down"), purpose="own")
            if not isinstance(answer, Abstained):
                self.mood += 0.1 if answer.label == "up" else -0.1
        if draw.bernoulli(0.7):
            facts = {"mood": int(self.mood * 2)}
            answer = await ctx.ask("all of {mood}", Choice("up", "down"), facts=facts, purpose="all", archetype=True)
            if not isinstance(answer, Abstained):
                self.mood += 0.2 if answer.label == "up" else -0.2
        if draw.bernoulli(0.08):
            raise RuntimeError("a bad day")
        followers = await ctx.look("network.followers")
        ctx.send([one for one in followers if draw.bernoulli(0.6)], self.mood)
        ctx.act("ledger.pay", amount=draw.random())
        if draw.bernoulli(0.3):
            ctx.wake_at(ctx.tick + 1 + draw.integer(3))


class Crowd(ColumnarAgent):
    mood: Public[float] = 0.0
    friend: int = 0

    async def turns(self, ctx: ColumnarContext) -> None:
        self.mood = 0.8 * self.mood + 0.1 * ctx.inbox.sums() + 0.01 * ctx.inbox.counts()
        facts = {"at": (self.mood * 3).astype(int)}
        told = await ctx.ask("crowd {at}", Choice("up", "down"), facts=facts, purpose="crowd")
        self.mood = self.mood + np.where(told.chose("up"), 0.1, -0.1)
        again = await ctx.ask("again {at}", Choice("up", "down"), facts=facts, who=told.chose("up"), purpose="crowd")
        self.mood += 0.05 * again.chose("up")
        ctx.send(self.friend, self.mood, who=ctx.draw("sends").bernoulli(0.7))
        ctx.act("ledger.pay", who=ctx.draw("pays").bernoulli(0.5), amount=self.mood)
        ctx.wake_at(ctx.tick + 2, who=ctx.draw("wakes").bernoulli(0.3))
        if ctx.parameters.stray == ctx.tick:
            ctx.send(ctx.ids[-1] - 1, 1.0, who=ctx.ids == ctx.ids[-1])


class Press(ColumnarAgent):
    mood: Public[float] = 0.0
    friend: int = 0

    def turns(self, ctx: ColumnarContext) -> None:
        self.mood = self.mood * 0.5 + ctx.draw("news").uniform(-1.0, 1.0)
        ctx.send(self.friend, self.mood)


class Quiet:
    """Due by lot."""

    def due(self, seed: int, tick: int, ids):
        return Draws(seed, WORLD, tick).column("due", ids) < 0.6


def population(setup) -> dict[str, Population]:
    return {
        "citizen": Population({"mood": [one / CITIZENS for one in range(CITIZENS)]}),
        "crowd": Population(
            {"mood": [one / CROWD for one in range(CROWD)], "friend": [5 + one for one in range(CROWD)]}
        ),
        "press": Population({"friend": [3 + 5 * one for one in range(PRESS)]}),
    }


def ties(draw) -> list[tuple[int, int]]:
    """Who follows whom: the first citizens follow one another alone, and the crowd follows these."""
    first, crowd, press = 5, range(CITIZENS, CITIZENS + CROWD), range(CITIZENS + CROWD, CITIZENS + CROWD + PRESS)
    found = [(one, draw.integer(first)) for one in range(CITIZENS) for _ in range(2)]
    found += [(one, draw.integer(CITIZENS)) for one in range(first, CITIZENS)]
    found += [(5 + at, one) for at, one in enumerate(crowd)]
    found += [(one, draw.integer(first)) for one in crowd]
    found += [(3 + 5 * at, one) for at, one in enumerate(press)]
    return sorted(dict.fromkeys((one, other) for one, other in found if one != other))


def world(setup, people) -> World:
    source, target = zip(*ties(setup.draw("ties")), strict=True)
    return World(Network(source, target, size=CITIZENS + CROWD + PRESS), Ledger())


society = Society(
    name="quarters",
    types={"citizen": Citizen, "crowd": Crowd, "press": Press},
    population=population,
    world=world,
    outcomes={
        "mood": lambda world: float(np.mean(world.columns["citizen"]["mood"])),
        "crowd": lambda world: float(np.mean(world.columns["crowd"]["mood"])),
        "paid": lambda world: float(world.ledger.paid.sum()),
    },
    parameters=Dials(),
    activation={"citizen": Quiet(), "crowd": Quiet()},
    influence="network",
    size={"citizen": CITIZENS, "crowd": CROWD, "press": PRESS},
    ticks=10,
)
