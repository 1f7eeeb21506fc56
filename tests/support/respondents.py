"""A society whose agents are probed: moods that move, mail, looks and draws; and agents that probes try to change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from populace import Agent, Choice, Chosen, Context, Population, Public, Setup, Society, World
from populace.core.draws import Stream
from populace.env import Network
from populace.mind import Memory
from populace.probes import Instrument, Item, MultipleChoice, OpenText, Probe, Ranking, Scale, matrix, single_choice

HOW = {0.0: "never", 1.0: "now and then", 2.0: "often", 3.0: "always"}
MOODS = Instrument(
    name="moods",
    title="Moods",
    source="tests",
    status="tests",
    instruction="Think of today.",
    items=[Item("glad", "How often were you glad?", 0, 3, HOW), Item("low", "How often were you low?", 0, 3, HOW)],
    scales=[Scale("gladness", {"glad": 1, "low": -1}, "sum")],
)
EVERY = Instrument(
    name="every",
    title="Every kind of question",
    source="tests",
    status="tests",
    items=[
        single_choice("dish", "Which dish?", ["soup", "rice", "stew"]),
        Item("glad", "How glad?", 0, 3, HOW),
        Item("warm", "How warm?", 0, 100),
        Item("stars", "How many stars?", 1, 5, {1.0: "poor", 5.0: "superb"}, whole=True),
        *matrix("week", {"mon": "On Monday?", "tue": "On Tuesday?"}, ["bad", "fair", "good"]),
        Item("age", "How old are you?", 0, float("inf"), whole=True),
        MultipleChoice("news", "Which of these do you read?", ["paper", "web", "wall"], 1, 2),
        Ranking("order", "Which comes first?", ["bread", "peace", "song"]),
        OpenText("why", "Why?"),
    ],
)


class Respondent(Agent):
    """Its mood moves with an answer, a draw and its mail. A probe of it writes all over it."""

    mood: Public[int] = 1
    weight: float = 1.0
    heard: list[int] = []
    memory: Memory = msgspec.field(default_factory=Memory)

    async def turn(self, ctx: Context) -> None:
        said = await ctx.ask(f"Tick {ctx.tick}, mood {self.mood}: better?", Choice("yes", "no"), purpose="mood")
        step = 1 if isinstance(said, Chosen) and said == "yes" else -1
        self.mood = min(3, max(0, self.mood + step * ctx.draw("step").integer(2)))
        self.heard = [*self.heard[-3:], len(ctx.inbox)]
        self.memory.note(ctx.tick, f"tick {ctx.tick} went {'up' if step > 0 else 'down'}")
        ctx.send(await ctx.look("network.neighbors"), self.mood)
        if ctx.draw("nap").bernoulli(0.2):
            ctx.wake_at(ctx.tick + 2)

    def interviewed(self, probe: Probe) -> Mapping[str, Any]:
        facts = {"mood": self.mood, "heard": list(self.heard), "told": list(self.memory.recent(2))}
        self.mood, self.weight = 99, -5.0
        self.heard.append(probe.tick)
        self.memory.note(probe.tick, "I was asked", 10)
        return facts


def population(setup: Setup) -> Population:
    return Population(
        {"mood": [at % 4 for at in range(setup.agents)], "weight": [1.0 + at for at in range(setup.agents)]}
    )


def world(setup: Setup, people: Population) -> World:
    return World(Network.watts_strogatz(setup, neighbours=4, rewire=0.1))


def survey_rule(facts: dict[str, Any], draw: Stream) -> Any:
    """Says the mood; of options the first that it is shown, of several the first two, of a number the middle."""
    mood = facts["self"]["mood"]
    if facts["item"] in ("glad", "low"):
        return list(HOW.values())[mood if facts["item"] == "glad" else 3 - mood]
    if facts["item"] == "news":
        return facts["options"][:2]
    if facts["item"] == "order":
        return facts["options"]
    if facts["item"] == "why":
        return f"because of {mood}"
    if facts["options"]:
        return facts["options"][0]
    return facts["low"] if facts["high"] is None else int((facts["low"] + facts["high"]) // 2)


def interview_rule(facts: dict[str, Any], draw: Stream) -> str:
    return f"{len(facts['transcript'])} before; my mood is {facts['self']['mood']}: {facts['question']}"


RULES = {
    "mood": lambda facts, draw: "yes" if draw.bernoulli(0.6) else "no",
    "survey": survey_rule,
    "interview": interview_rule,
}

society = Society(
    name="respondents", agent=Respondent, population=population, world=world, rules=RULES,
    size=12, ticks=6,
)  # fmt: skip
