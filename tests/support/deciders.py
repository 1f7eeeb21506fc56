"""A society whose answers are known: everybody decides, by a probability that facts give and tone turns round."""

from __future__ import annotations

from typing import Any

import msgspec

from populace import Abstained, Agent, Choice, Parameters, Population, Public, Society, World
from populace.core.draws import Stream
from populace.core.records import Ask


class Dials(Parameters):
    """With `tone` "loud" the model answers the other way round; friends are drawn below `reach`."""

    reach: int = 1_000
    tone: str = "plain"


class Mood(msgspec.Struct):
    """How somebody feels, in words of the model's."""

    word: str


class Decider(Agent):
    """Decides by a band and what it heard; some say how they feel."""

    mind = {"decide": "surrogate"}
    band: int = 0
    yes: Public[int] = 0
    mood: Public[str] = ""

    async def turn(self, ctx: Any) -> None:
        """See the class."""
        facts = {"band": self.band, "heard": len(ctx.inbox) > 0, "tone": ctx.parameters.tone}
        decided = await ctx.ask("Of band {band}, heard {heard}, {tone}: yes?", Choice("yes", "no"), facts=facts,
                                purpose="decide")  # fmt: skip
        if decided == "yes":
            self.yes += 1
            ctx.send(int(ctx.draw("friend").integer(ctx.parameters.reach) % 24), 1)
        if ctx.id % 6 == 0:
            mood = await ctx.ask("How is band {band}?", Mood, facts={"band": self.band}, purpose="mood")
            self.mood = self.mood if isinstance(mood, Abstained) else mood.word


def chance(band: int, heard: bool) -> float:
    """With what probability the model says yes."""
    return (0.1, 0.9, 0.3)[band] if not heard else (0.8, 0.2, 0.6)[band]


def scripted(ask: Ask, draw: Stream) -> Any:
    """The known answer function; one in twenty refuses."""
    if draw.bernoulli(0.05):
        return Abstained("refusal")
    facts = msgspec.json.decode(ask.facts)
    if ask.purpose == "mood":
        return Mood(("calm", "gay", "sad")[facts["band"]])
    p = chance(facts["band"], facts["heard"])
    return "yes" if draw.bernoulli(1 - p if facts["tone"] == "loud" else p) else "no"


society = Society(
    name="deciders", agent=Decider, scripted=scripted, parameters=Dials(), world=lambda setup, people: World(),
    population=lambda setup: Population({"band": [at % 3 for at in range(setup.agents)]}),
    outcomes={"yes": lambda world: float(world.columns["yes"].sum())}, size=24, ticks=14,
)  # fmt: skip
