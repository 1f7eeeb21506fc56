"""Everybody tries to take the one lamp at once, in the words of a game master's world."""

from __future__ import annotations

from populace import Agent, Context, Population, Society, World
from populace.env import Master, Stage, words_rule


class Grabber(Agent):
    """Tries to take the lamp."""

    async def turn(self, ctx: Context) -> None:
        ctx.act("master.attempt", text="take the lamp")


def holder(world: World) -> float:
    """The id of who holds the lamp."""
    held = world.master.stage.holder("lamp")
    return -1.0 if held is None else float(held)


society = Society(
    name="grabbers",
    agent=Grabber,
    population=lambda setup: Population.of_defaults(setup.agents),
    world=lambda setup, people: World(Master(Stage({"hall": []}, {"lamp": "hall"}))),
    rules={"resolve": words_rule()},
    outcomes={"holder": holder},
    size=4,
    ticks=1,
)
