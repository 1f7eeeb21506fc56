"""A society that asks two models by role and embeds what was said: who is most like whom decides who hears of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from populace import Abstained, Agent, Choice, Consultation, Context, Population, Public, Setup, Society, World
from populace.env import Opening, Part


class Writer(Agent):
    """Writes a line, has it judged, and sends it to somebody drawn by how like it is to what was heard."""

    alike: Public[float] = 0.0
    vector: list[float] = []
    missed: Public[int] = 0

    async def turn(self, ctx: Context) -> None:
        heard = [message.body["said"] for message in ctx.inbox if isinstance(message.body, dict)]
        said = await ctx.ask(f"You are {ctx.id} in tick {ctx.tick}. Say something.", str, purpose="say")
        asked = f"Agent {ctx.id} said in tick {ctx.tick}: {said}. Is it fair?"
        verdict = await ctx.ask(asked, Choice("fair", "unfair"), purpose="verdict", model_role="judge")
        vectors = await ctx.embed([f"{ctx.id}: {said}", *(f"{ctx.id} hears: {text}" for text in heard)])
        if isinstance(vectors, Abstained):
            self.missed += 1
            return
        assert vectors.dtype == np.float32
        assert len(vectors) == 1 + len(heard)
        self.vector = vectors[0].tolist()
        self.alike = float(vectors[1:] @ vectors[0] @ np.ones(len(heard), np.float32)) if len(heard) == 1 else 0.0
        last = vectors[-1].tobytes()
        ctx.send([last[0] % 7, (last[4] + (verdict == "fair")) % 7], {"said": str(said)})


class Archive(Part):
    """Embeds one line as a tick ends."""

    def open(self, opening: Opening) -> None:
        self.kept: list[list[float]] = []

    async def consult(self, ctx: Consultation) -> list[tuple[int, Any]]:
        (vectors,) = await ctx.ask_all([ctx.embed([f"the archive in tick {ctx.tick}"], purpose="archive")])
        if isinstance(vectors, Abstained):
            return []
        self.kept.append(vectors[0].tolist())
        return [(int(abs(vectors[0, 0]) * 1e6) % 7, "archived")]

    def state(self) -> dict[str, Any]:
        return {"kept": self.kept}

    def restore(self, state: dict[str, Any]) -> None:
        self.kept = [list(one) for one in state["kept"]]


def population(setup: Setup) -> Population:
    return Population({"missed": [0] * setup.agents})


society = Society(
    name="embedders",
    agent=Writer,
    population=population,
    world=lambda _setup, _people: World(Archive()),
    outcomes={"alike": lambda world: float(world.columns["alike"].sum())},
    rules={"say": lambda facts, draw: f"line {draw.integer(5)}", "verdict": lambda facts, draw: "fair"},
    size=7,
    ticks=5,
)
