"""A society of levers with triggers: what agents do raises their counts, and what levers do shows in public fields."""

from __future__ import annotations

from typing import Any

import numpy as np

from populace import Agent, Context, Parameters, Population, Public, Setup, Society, World
from populace.env import Part, action, signal


class Poster(Agent):
    """Posts now and then, and writes to others; what it is warned of and how often it was heard shows."""

    heat: float
    group: str
    strikes: Public[int] = 0
    warned: Public[int] = 0
    heard: Public[int] = 0
    pay: Public[float] = 0.0

    async def turn(self, ctx: Context) -> None:
        for message in ctx.inbox:
            if message.sender == -1:
                self.warned += 1
            else:
                self.heard += 1
        self.pay = ctx.parameters.transfer + ctx.seen["office.bonus"]
        if ctx.draw("post").bernoulli(self.heat):
            self.strikes += 1
            ctx.act("office.post")
        for step in (1, 3):
            ctx.send((ctx.id + step) % ctx.parameters.size, "hello")


class Office(Part):
    """Counts posts by agent, and has weather that rises and falls."""

    settable = {"bonus": float, "barred": list[int]}

    def __init__(self) -> None:
        super().__init__()
        self.bonus = 0.0
        self.barred: list[int] = []

    def open(self, opening: Any) -> None:
        self.posts = np.zeros(opening.agents, np.int64)
        self.wind = 0.0

    def observe(self, tick: int, agents: Any) -> dict[str, Any]:
        return {"bonus": [self.bonus] * len(agents)}

    @action
    def post(self, tick: int, batch: Any) -> None:
        barred = np.isin(batch.agents, self.barred)
        batch.refuse_all(barred, "barred")
        np.add.at(self.posts, batch.agents[~barred], 1)

    def advance(self, tick: int) -> None:
        self.wind = 10.0 * ((tick + 1) % 4) + self.bonus

    @signal
    def posted(self) -> Any:
        return self.posts

    @signal
    def weather(self) -> float:
        return self.wind

    @signal
    def season(self) -> str:
        return "storm" if self.wind >= 20 else "calm"

    def state(self) -> dict[str, Any]:
        return {"posts": self.posts, "wind": self.wind}

    def restore(self, state: dict[str, Any]) -> None:
        self.posts, self.wind = state["posts"].copy(), state["wind"]


class Rates(Parameters):
    """The society's parameters."""

    transfer: float = 1.0
    size: int = 20


def population(setup: Setup) -> Population:
    n = setup.agents
    return Population(
        {"heat": [(i % 5) / 5 for i in range(n)], "group": ["ab"[i % 2] for i in range(n)]}, extra=("group",)
    )


society = Society(
    name="watched",
    agent=Poster,
    population=population,
    world=lambda setup, people: World(Office()),
    parameters=Rates(),
    outcomes={"posts": lambda w: float(w.office.posts.sum()), "pay": lambda w: np.mean(w.columns["pay"])},
    size=20,
    ticks=8,
)
