"""A society whose agents hear from the two whom they follow alone, and whose prompts say their tick.

Loaded in tests as a file, and as a module for those who arm it.
"""

from __future__ import annotations

from populace import Abstained, Agent, Choice, Context, Population, Public, Society
from populace.env import Network, World


class Gossip(Agent):
    mood: Public[float] = 0.0
    heard: list[int] = []

    async def turn(self, ctx: Context) -> None:
        self.heard = [*self.heard[-3:], *(message.body for message in ctx.inbox)]
        ties = await ctx.look("network.ties")
        read = await ctx.look("columns.of", agents=ties["agents"], fields=["mood"])
        text = f"tick {ctx.tick}: agent {ctx.id}, {self.heard}, {[round(one, 3) for one in read['mood']]}"
        answer = await ctx.ask(text, Choice("up", "down"), purpose="mood")
        if not isinstance(answer, Abstained):
            self.mood += 0.1 if answer.label == "up" else -0.1
        ctx.send(await ctx.look("network.followers"), ctx.id + int(100 * self.mood))


def population(setup) -> Population:
    return Population({"mood": [one / setup.agents for one in range(setup.agents)]})


def world(setup, people) -> World:
    ties = [(one, (one + step) % setup.agents) for one in range(setup.agents) for step in (1, 5)]
    return World(Network(*zip(*ties, strict=True), size=setup.agents))


society = Society(
    name="gossips", agent=Gossip, population=population, world=world, influence="network", size=24, ticks=8
)
