"""A society whose world asks: a moderator judges all posts of a tick at once, and a panel has the last word."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from populace import Abstained, Agent, Consultation, Context, Parameters, Population, Public, Society, World
from populace.core.draws import Stream
from populace.core.records import Ask
from populace.env import Batch, Opening, Part, action

JUDGE = "Is this fit to be read? {text}"


class Verdict(msgspec.Struct):
    """What a moderator says of a post."""

    fit: bool
    why: str


class Dials(Parameters):
    """Posts of agents below `spared` are not judged."""

    spared: int = 0
    chatty: float = 0.7


class Moderator(Part):
    """Judges every post, then asks about one of the refused ones alone; strikes make an agent hear of it."""

    name = "moderator"

    def open(self, opening: Opening) -> None:
        self.strikes = np.zeros(opening.agents, np.int64)
        self.posts: list[list[Any]] = []
        self.unjudged = 0

    @action
    def post(self, tick: int, batch: Batch) -> None:
        for agent, args in zip(batch.agents.tolist(), batch.args, strict=True):
            self.posts.append([agent, args["text"]])

    async def consult(self, ctx: Consultation) -> list[tuple[int, Any]]:
        judged = [(agent, text) for agent, text in self.posts if agent >= ctx.parameters.spared]
        asks = [ctx.ask(JUDGE, Verdict, facts={"text": text}, purpose="moderate") for _, text in judged]
        refused = []
        for (agent, text), verdict in zip(judged, await ctx.ask_all(asks), strict=True):
            if isinstance(verdict, Abstained):
                self.unjudged += 1
            elif not verdict.fit:
                self.strikes[agent] += 1
                refused.append((agent, text))
        self.posts = []
        if not refused:
            return []
        agent, text = ctx.draw("appeal").choice(refused)
        said = await ctx.ask(f"Appeal of {agent} in tick {ctx.tick}: {text}", str, purpose="appeal")
        if isinstance(said, Abstained):
            return []
        return [(one, {"strike": int(self.strikes[one]), "said": said}) for one, _ in refused]

    def state(self) -> dict[str, Any]:
        return {"strikes": self.strikes, "unjudged": self.unjudged, "posts": self.posts}

    def restore(self, state: dict[str, Any]) -> None:
        self.strikes = state["strikes"].copy()
        self.unjudged, self.posts = state["unjudged"], [list(one) for one in state["posts"]]


class Panel(Part):
    """Asks what to make of the moderator's tick, one question after another."""

    name = "panel"

    def open(self, opening: Opening) -> None:
        self.words: list[str] = []

    async def consult(self, ctx: Consultation) -> None:
        for nth in range(2):
            strikes = int(self.world.moderator.strikes.sum())
            said = await ctx.ask(f"{strikes} strikes, question {nth}", str, purpose="panel")
            self.words = [*self.words[-3:], str(said) if not isinstance(said, Abstained) else said.reason]

    def state(self) -> dict[str, Any]:
        return {"words": self.words}

    def restore(self, state: dict[str, Any]) -> None:
        self.words = list(state["words"])


class Writer(Agent):
    """Posts what the model gives it; strikes make it quiet for a while."""

    strikes: Public[int] = 0
    said: Public[str] = ""

    async def turn(self, ctx: Context) -> None:
        for message in ctx.inbox:
            self.strikes, self.said = message.body["strike"], message.body["said"]
        if ctx.draw("write").random() < ctx.parameters.chatty:
            text = await ctx.ask(f"{self.said} {self.strikes}: write", str, purpose="write")
            if not isinstance(text, Abstained):
                ctx.act("moderator.post", text=text)


def scripted(ask: Ask, draw: Stream) -> object:
    if draw.random() < 0.1:
        return Abstained("refusal", "would rather not")
    if ask.purpose == "moderate":
        return Verdict(fit=draw.random() < 0.5, why="as it reads")
    return f"{ask.purpose} {draw.integer(1000)}"


society = Society(
    name="moderated",
    agent=Writer,
    population=lambda setup: Population({"strikes": [0] * setup.agents}),
    world=lambda setup, people: World(Moderator(), Panel()),
    parameters=Dials(),
    outcomes={"strikes": lambda world: float(world.moderator.strikes.sum())},
    scripted=scripted,
    size=20,
    ticks=6,
)
