"""A society of three asks by facts, with a rule for each: who heard what, where the lever `nudge` pushes."""

from __future__ import annotations

from typing import Any

import msgspec

from populace import Abstained, Agent, Choice, Context, Parameters, Population, Public, Setup, Society, World
from populace.core.draws import Stream


class Opinion(msgspec.Struct):
    support: float
    why: str


class Dials(Parameters):
    """`nudge` is a fact of every ask for an opinion."""

    nudge: float = 0.0


class Theorist(Agent):
    support: Public[float]
    votes: Public[int] = 0

    async def turn(self, ctx: Context) -> None:
        heard = [message.body for message in ctx.inbox]
        opinion = await ctx.ask(
            "You are at {support}; nudged by {nudge}; neighbours said {heard}. What now?", Opinion,
            facts={"support": self.support, "nudge": ctx.parameters.nudge, "heard": heard}, purpose="opinion",
        )  # fmt: skip
        if isinstance(opinion, Abstained):
            return
        self.support = opinion.support
        vote = await ctx.ask("At {support}, for?", Choice("yes", "no"), facts={"support": self.support}, purpose="vote")
        self.votes += vote == "yes"
        said = await ctx.ask("Say something.", str, purpose="say")
        ctx.send((self.votes + ctx.id + 1) % 12, {"support": self.support, "said": str(said)})


def opinion(facts: dict[str, Any], draw: Stream) -> Opinion | Abstained:
    """Move towards what neighbours said, and by the nudge; one in ten would rather not."""
    if draw.bernoulli(0.1):
        return Abstained("refusal", "would rather not")
    others = [one["support"] for one in facts["heard"]] or [facts["support"]]
    mean = sum(others) / len(others)
    return Opinion(0.5 * (facts["support"] + mean) + facts["nudge"] + 0.1 * draw.random(), "as I heard")


def vote(facts: dict[str, Any], draw: Stream) -> str:
    return "yes" if draw.random() < facts["support"] else "no"


def population(setup: Setup) -> Population:
    draw = setup.draw("support")
    return Population({"support": [draw.random() for _ in range(setup.agents)]})


society = Society(
    name="theorists",
    agent=Theorist,
    population=population,
    parameters=Dials(),
    outcomes={"support": lambda world: world.columns["support"].mean()},
    world=lambda setup, people: World(),
    rules={"opinion": opinion, "vote": vote, "say": lambda facts, draw: f"I say {draw.integer(100)}"},
    size=12,
    ticks=6,
)
