"""A society whose agents ask two models: one what they say, another, by its role, what is to be thought of it."""

from __future__ import annotations

from populace import Abstained, Agent, Choice, Consultation, Context, Population, Public, Setup, Society, World
from populace.env import Opening, Part


class Debater(Agent):
    """Says something, has it judged, and tells two others that it did."""

    verdict: Public[str] = ""
    heard: Public[int] = 0

    async def turn(self, ctx: Context) -> None:
        self.heard += len(ctx.inbox)
        who = f"You are agent {ctx.id} in tick {ctx.tick}; {self.heard} have spoken to you."
        said = await ctx.ask(f"{who} What do you say?", str, purpose="say")
        asked = f"{who} Is it fair to say: {said}"
        verdict = await ctx.ask(asked, Choice("fair", "unfair"), purpose="verdict", model_role="judge")
        self.verdict = verdict.reason if isinstance(verdict, Abstained) else verdict.label
        ctx.send([self.heard % 7, ctx.id // 2], {"spoke": ctx.id})


def population(setup: Setup) -> Population:
    return Population({"heard": [0] * setup.agents})


class Umpire(Part):
    """Asks the judge, of every third agent, as a tick ends; and the default model once."""

    def open(self, opening: Opening) -> None:
        self.agents = opening.agents
        self.fouls = 0

    async def consult(self, ctx: Consultation) -> list[tuple[int, str]]:
        asks = [
            ctx.ask(f"Did agent {agent} play foul in tick {ctx.tick}?", Choice("yes", "no"), purpose="umpire",
                    model_role="judge" if agent else "")
            for agent in range(0, self.agents, 3)
        ]  # fmt: skip
        said = await ctx.ask_all(asks)
        self.fouls += sum(not isinstance(one, Abstained) and one.label == "yes" for one in said)
        return [(self.fouls % self.agents, "foul")]

    def state(self) -> dict[str, int]:
        return {"fouls": self.fouls}

    def restore(self, state: dict[str, int]) -> None:
        self.fouls = state["fouls"]


society = Society(name="debate", agent=Debater, population=population, size=7, ticks=5)
umpired = Society(
    name="umpired debate", agent=Debater, population=population, size=7, ticks=5, world=lambda _, __: World(Umpire())
)
