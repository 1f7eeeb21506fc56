"""A society of two types that ask for the same, with rules for all: citizens by the model, officers by rules."""

from __future__ import annotations

from typing import Any

import msgspec

from populace import Abstained, Agent, Choice, Chosen, Population, Public, Society, World
from populace.core.draws import Stream
from populace.core.records import Ask

BANDS = ("young", "grown", "old")


class Opinion(msgspec.Struct):
    """What somebody thinks."""

    support: float


class Person(Agent):
    """Asks whether to vote, and what to think of what it heard; tells the next."""

    age: Public[int] = 30
    votes: Public[int] = 0
    support: Public[float] = 0.0

    async def turn(self, ctx: Any) -> None:
        """See the class."""
        facts = {"band": BANDS[min(2, self.age // 30)], "heard": min(2, len(ctx.inbox))}
        plea = "You are {band} and heard {heard}. Vote?"
        vote = await ctx.ask(plea, Choice("yes", "no"), facts=facts, purpose="vote")
        if vote == "yes":
            self.votes += 1
            ctx.send(int(ctx.draw("friend").integer(20)), self.votes)
        opinion = await ctx.ask("After {votes} votes?", Opinion, facts={"votes": self.votes % 4}, purpose="opinion")
        if not isinstance(opinion, Abstained):
            self.support = opinion.support
        if self.age % 5 == 0:
            again = await ctx.ask(plea, Choice("yes", "no"), facts=facts, purpose="vote")
            self.votes += again == "yes"


class Citizen(Person):
    """Asks the model unless the settings say otherwise."""


class Officer(Person):
    """Goes by rules unless the settings say otherwise."""

    mind = "rules"


def vote(facts: dict[str, Any], draw: Stream) -> Chosen:
    """The old vote, the more so the more they heard."""
    p = 0.1 + 0.3 * BANDS.index(facts["band"]) + 0.1 * facts["heard"]
    return Chosen("yes" if draw.bernoulli(p) else "no", {"yes": p, "no": 1 - p})


def opinion(facts: dict[str, Any], draw: Stream) -> Opinion:
    """Voting makes support."""
    return Opinion(round(facts["votes"] / 4 + draw.random() / 8, 6))


def scripted(ask: Ask, draw: Stream) -> Any:
    """Another society's mind: the young vote; one in twelve refuses."""
    if draw.bernoulli(1 / 12):
        return Abstained("refusal")
    if ask.purpose == "vote":
        return Chosen("yes", {"yes": 0.7, "no": 0.3}) if "young" in ask.messages[-1][1] else "no"
    return Opinion(round(draw.random(), 3))


def people(setup: Any) -> dict[str, Population]:
    """People of all ages, in both types."""
    return {name: Population({"age": [18 + 7 * at % 70 for at in range(setup.count(name))]}) for name in setup.counts}


society = Society(
    name="mixed", types={"citizen": Citizen, "officer": Officer}, population=people, scripted=scripted,
    world=lambda setup, people: World(), rules={"vote": vote, "opinion": opinion},
    outcomes={"votes": lambda world: float(world.columns["citizen"]["votes"].sum())},
    size={"citizen": 14, "officer": 6}, ticks=5,
)  # fmt: skip
