"""A society that goes by its memories: what is found, by words and by embeddings, says who hears of it."""

from __future__ import annotations

from typing import Any

import msgspec

from populace import Abstained, Agent, Context, Population, Public, Setup, Society
from populace.mind import Memory, memory_rules

PEOPLE = ["Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus"]
PLACES = ["market", "harbour", "library", "school"]


class Rememberer(Agent):
    """Sees something, remembers what it saw and heard, and passes on what comes to mind."""

    memory: Memory = msgspec.field(default_factory=lambda: Memory(max_entries=12, max_tokens=200, decay=0.9))
    bytes_held: Public[int] = 0
    mind: Public[str] = ""

    async def turn(self, ctx: Context) -> None:
        draw = ctx.draw("seen")
        who, place = draw.choice(PEOPLE), draw.choice(PLACES)
        for message in ctx.inbox:
            self.memory.note(ctx.tick, f"I heard: {message.body}", 2.0)
        self.memory.note(ctx.tick, f"{who} was at the {place}", float(draw.integer(10)), facts={"who": who})
        found = self.memory.retrieve(ctx.tick, f"Who is at the {draw.choice(PLACES)}?", 3)
        alike = await self.memory.recall(ctx, f"news of {who}", 2)
        if self.memory.reflection_due(20.0):
            noted = await self.memory.reflect(ctx, who=f"You are {ctx.id}.", questions=1, insights=1)
            assert isinstance(noted, list | Abstained)
        if len(self.memory) > 10:
            await self.memory.summarise(ctx, 4)
        said = found[0].text + "; " + alike[0].text
        self.mind = f"{self.memory.unreflected} {self.memory.forgotten} {[one.at for one in (*found, *alike)]}"
        self.bytes_held = self.memory.nbytes()
        ctx.send((len(said) + found[0].at) % 7, said[:60])


def population(setup: Setup) -> Population:
    return Population({"mind": [""] * setup.agents})


def mean_bytes(world: Any) -> float:
    return float(world.columns["bytes_held"].mean())


society = Society(
    name="rememberers",
    agent=Rememberer,
    population=population,
    outcomes={"mean_bytes": mean_bytes},
    rules=memory_rules(),
    size=7,
    ticks=8,
)
