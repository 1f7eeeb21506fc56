"""Small societies for the tests of whole runs."""

from __future__ import annotations

import numpy as np

from populace import Abstained, Agent, Choice, Chosen, Context, Parameters, Population, Public, Setup, Society, World
from populace.core.draws import Stream
from populace.core.records import Ask
from populace.env import Feed, Network


class Talker(Agent):
    """Does a bit of everything: looks, asks, sends to one and to many, acts, sleeps, and goes wrong at times."""

    mood: Public[float]
    heard: Public[int] = 0
    last: Public[str] = ""
    memory: list[str] = []

    async def turn(self, ctx: Context) -> None:
        for message in ctx.inbox:
            self.heard += 1
            if message.sender >= 0:
                self.last = f"{message.sender}:{message.body['n']}"
                self.memory = [*self.memory[-4:], self.last]
        friends = await ctx.look("network.neighbors")
        if ctx.draw("rest").random() < 0.2:
            ctx.wake_at(ctx.tick + 2)
        if ctx.draw("crash").random() < 0.02:
            ctx.send(0, {"n": -1})
            raise RuntimeError("something in this agent broke")
        choice = await ctx.ask(f"{self.last} {self.mood:.3f}", Choice("up", "down"), purpose="mood")
        if isinstance(choice, Chosen):
            self.mood += 0.1 if choice.label == "up" else -0.1
        if ctx.draw("more").random() < 0.3:
            said = await ctx.ask(f"say {choice}", str, purpose="say")
            if not isinstance(said, Abstained):
                ctx.act("feed.post", text=said)
        ctx.send(friends, {"n": self.heard})
        ctx.send(int(ctx.draw("anyone").integer(ctx.parameters.reach)), {"n": self.heard, "mood": self.mood})


class Reach(Parameters):
    """Ids up to `reach` are written to; some may not exist."""

    reach: int = 60
    abstain: float = 0.1


def scripted(ask: Ask, draw: Stream) -> object:
    if draw.random() < 0.1:
        return Abstained("refusal", "would rather not")
    if ask.purpose == "mood":
        return draw.choice(("up", "down"))
    return f"I think {draw.integer(1000)}"


def population(setup: Setup) -> Population:
    draw = setup.draw("mood")
    return Population({"mood": [draw.random() for _ in range(setup.agents)]})


def world(setup: Setup, people: Population) -> World:
    return World(Network.watts_strogatz(setup, neighbours=4, rewire=0.2), Feed(keep=100, notify=True))


society = Society(
    name="talkers",
    agent=Talker,
    population=population,
    world=world,
    parameters=Reach(),
    outcomes={"mean": lambda w: w.columns["mood"].mean(), "heard": lambda w: np.sum(w.columns["heard"])},
    scripted=scripted,
    size=50,
    ticks=4,
)
