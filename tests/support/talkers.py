"""A society that talks within its ticks or a turn a tick by the same code; some abstain, raise, whisper or retire."""

from __future__ import annotations

from typing import Any

from populace import Abstained, Agent, Context, OnMail, Parameters, Population, Public, Setup, Society, World
from populace.core.draws import Stream
from populace.core.records import Ask
from populace.env.talk import Phase, Talk, converse


class Dials(Parameters):
    """`break_off` is the chance that a turn raises when it has the floor, `retire` the agent that leaves, if any."""

    by: str = "rounds"
    break_off: float = 0.05
    retire: int = -1


class Retiring(Talk):
    """Lets one agent go as the second tick ends."""

    def advance(self, tick: int) -> Any:
        if tick == 1 and self.world.parameters.retire >= 0:
            self.world.retire(self.world.parameters.retire)
        return super().advance(tick)


class Talker(Agent):
    """Says what the model gives it, at times to one alone; raises a hand; opens conversations of its own."""

    heard: Public[int] = 0
    over: Public[str] = ""

    async def turn(self, ctx: Context) -> None:
        async def speak(now: dict[str, Any]) -> dict[str, Any] | None:
            if ctx.draw("breaks").random() < ctx.parameters.break_off:
                raise RuntimeError("this one broke amid a conversation")
            said = await ctx.ask(f"{now['topic']} {len(now['lines'])} {len(now['notes'])}: what do you say?", str)
            if isinstance(said, Abstained):
                return None
            others = [one for one in now["present"] if one != ctx.id]
            to = [ctx.draw("whisper").choice(others)] if ctx.draw("private").random() < 0.2 else None
            return {"say": said, "note": said[-3:], "agree": said.endswith("7")} | ({"to": to} if to else {})

        def listen(now: dict[str, Any]) -> dict[str, Any] | None:
            return {"raise_hand": True} if ctx.draw("hand").random() < 0.6 else None

        now = await converse(ctx, speak, listen)
        self.heard, self.over = len(now["lines"]), now["over"]
        if ctx.draw("begin").random() < 0.3:
            ctx.act("talk.begin", members=[(ctx.id + 1 + ctx.draw("whom").integer(5)) % 7], topic="rent")


def scripted(ask: Ask, draw: Stream) -> object:
    return Abstained("refusal", "would rather not") if draw.random() < 0.1 else f"word {draw.integer(100)}"


def world(setup: Setup, people: Population) -> World:
    phases = [Phase("round_robin", 3), Phase("raise_hand", 4), Phase("manager")]
    return World(Retiring(3, by=setup.parameters.by, protocol=phases, cap=9, keep=40))


society = Society(
    name="talkers",
    agent=Talker,
    population=lambda setup: Population({"heard": [0] * setup.agents}),
    world=world,
    parameters=Dials(),
    outcomes={
        "lines": lambda world: float(world.talk.spoken.sum()),
        "left": lambda world: float(world.talk.reasons.get("left", 0)),
        "ended": lambda world: float(sum(world.talk.reasons.values())),
    },
    scripted=scripted,
    size=10,
    ticks=6,
)

on_mail = Society(
    name="talkers on mail",
    agent=Talker,
    population=lambda setup: Population({"heard": [0] * setup.agents}),
    world=lambda setup, people: World(Talk(2, by="acts", cap=3)),
    parameters=Dials(by="acts"),
    activation=OnMail(),
    outcomes={"lines": lambda world: float(world.talk.spoken.sum())},
    scripted=scripted,
    size=10,
    ticks=6,
)
