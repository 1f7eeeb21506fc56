"""A society that plays trust games within its ticks and by acts, with the same code; some abstain, raise or retire."""

from __future__ import annotations

from typing import Any

from populace import Abstained, Agent, Context, Parameters, Population, Public, Setup, Society, World
from populace.core.draws import Stream
from populace.core.records import Ask
from populace.env import Games
from populace.env.games import play, trust


class Dials(Parameters):
    """`break_off` is the chance that a turn raises amid a play, `retire` the agent that leaves for good, if any."""

    by: str = "rounds"
    repetitions: int = 2
    break_off: float = 0.1
    retire: int = -1


class Retiring(Games):
    """Lets one agent go as the second tick ends."""

    def advance(self, tick: int) -> Any:
        if tick == 1 and self.world.parameters.retire >= 0:
            self.world.retire(self.world.parameters.retire)
        return super().advance(tick)


class Player(Agent):
    """Moves by what the model says; keeps its score."""

    total: Public[float] = 0.0
    ends: Public[str] = ""

    async def turn(self, ctx: Context) -> None:
        async def choose(now: dict[str, Any]) -> int | None:
            if ctx.draw("breaks").random() < ctx.parameters.break_off:
                raise RuntimeError("this one broke amid a play")
            said = await ctx.ask(f"{now['role']} {now['so_far']} {len(now['history'])}: how much?", str)
            return None if isinstance(said, Abstained) else min(int(said), int(now["moves"]["high"]))

        now = await play(ctx, choose)
        self.total, self.ends = now["score"], f"{self.ends} {now.get('over', '-')}"[-60:]


def scripted(ask: Ask, draw: Stream) -> object:
    return Abstained("refusal", "would rather not") if draw.random() < 0.1 else str(draw.integer(11))


def world(setup: Setup, people: Population) -> World:
    dials = setup.parameters
    repetitions = dials.repetitions if dials.by == "rounds" else 1
    return World(Retiring(trust(), by=dials.by, repetitions=repetitions, matching="fixed", memory=3, keep=20))


society = Society(
    name="players",
    agent=Player,
    population=lambda setup: Population({"total": [0.0] * setup.agents}),
    world=world,
    parameters=Dials(),
    outcomes={
        "missing": lambda world: float(world.game.counts["missing"]),
        "plays": lambda world: float(world.game.table.ended),
        "score": lambda world: float(world.game.score.sum()),
    },
    scripted=scripted,
    size=9,
    ticks=4,
)
