"""A society of few agents that each ask three things a turn: a struct, a choice and free text."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from populace import Abstained, Agent, Choice, Context, Population, Public, Setup, Society


class View(msgspec.Struct):
    attitude: Annotated[int, msgspec.Meta(ge=0, le=10)]
    mood: Literal["calm", "angry"]
    weight: float
    why: str


class Asker(Agent):
    """Counts its answers by kind."""

    views: Public[int] = 0
    votes: Public[int] = 0
    words: Public[int] = 0
    missed: Public[int] = 0

    async def turn(self, ctx: Context) -> None:
        who = f"You are agent {ctx.id} in tick {ctx.tick}."
        view = await ctx.ask(f"{who} What is your view?", View, purpose="view")
        vote = await ctx.ask(f"{who} How do you vote?", Choice("agree", "disagree"), purpose="vote")
        said = await ctx.ask(f"{who} What do you say?", str, purpose="say")
        self.views += isinstance(view, View)
        self.votes += not isinstance(vote, Abstained)
        self.words += isinstance(said, str)
        self.missed += sum(isinstance(answer, Abstained) for answer in (view, vote, said))


def population(setup: Setup) -> Population:
    return Population({"missed": [0] * setup.agents})


society = Society(name="three_asks", agent=Asker, population=population, size=6, ticks=3)
