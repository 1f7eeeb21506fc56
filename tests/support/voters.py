"""A society whose columnar voters ask by archetype, beside writers who ask for themselves and a board that asks too."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace import Abstained, Agent, Choice, ColumnarAgent, Every, Parameters, Population, Public, Society, World
from populace.agents.answers import Chosen
from populace.core.draws import Stream
from populace.core.records import Ask
from populace.env import Opening, Part

PLEA = "You are of age band {band}, {mood}, and heard {heard}. Do you vote?"


class Dials(Parameters):
    """What voters are told."""

    tone: str = "plain"


class Plan(msgspec.Struct):
    """What somebody gives next."""

    share: float
    sure: bool


class Voter(ColumnarAgent):
    """Asks whether to vote, and who did what they give next; tells others."""

    age: Public[int] = 30
    votes: Public[int] = 0
    given: Public[float] = 0.0
    silent: Public[int] = 0

    async def turns(self, ctx: Any) -> None:  # type: ignore[override]
        """See the class."""
        heard = np.minimum(ctx.inbox.counts(), 2)
        mood = np.array(["calm", "angry"])[(self.age % 2 == 1).astype(int)]
        facts = {"band": self.age // 20, "mood": mood, "heard": heard}
        vote = await ctx.ask(PLEA, Choice("yes", "no"), facts=facts, purpose="vote", system=ctx.parameters.tone)
        yes = vote.chose("yes")
        self.votes += yes
        self.silent += vote.abstained
        plan = await ctx.ask("A {mood} voter of {votes}. Give?", Plan, facts={"mood": mood, "votes": self.votes},
                             who=yes, purpose="give")  # fmt: skip
        self.given += plan.column("share", 0.0)
        again = await ctx.ask(PLEA, Choice("yes", "no"), facts=facts, who=ctx.ids % 3 == 0, purpose="vote")
        self.given += np.where(again.chose("no"), 0.5, 0.0)
        ctx.send(ctx.draw("friend").integer(ctx.population), 1, who=yes)


class Writer(Agent):
    """Asks for itself."""

    mood: Public[str] = "fine"

    async def turn(self, ctx: Any) -> None:
        """See the class."""
        answer = await ctx.ask("You are {mood}. And now?", facts={"mood": self.mood}, purpose="write")
        if not isinstance(answer, Abstained):
            self.mood = str(answer)[:12]
        ctx.send(3 + ctx.draw("voter").integer(10), 2)


class Board(Part):
    """Has voters be born and leave, and asks the model once a tick."""

    name = "board"

    def open(self, opening: Opening) -> None:
        """Nothing was said."""
        self.said = ""

    async def consult(self, ctx: Any) -> None:
        """One ask, of the same words every tick."""
        self.said = str(await ctx.ask("What does the board say?", purpose="board"))

    def advance(self, tick: int) -> list[tuple[int, Any]]:
        """Births and exits."""
        if tick % 2 == 1:
            self.world.spawn("voter", {"age": [18, 71]})
        if tick == 2:
            self.world.retire([5, 8])
        return []

    def grow(self, ids: NDArray[np.int32]) -> None:
        """Nothing is kept of agents."""

    def state(self) -> dict[str, Any]:
        """All of it."""
        return {"said": self.said}

    def restore(self, state: dict[str, Any]) -> None:
        """All of it."""
        self.said = state["said"]


def scripted(ask: Ask, draw: Stream) -> Any:
    """Probabilities to most, a plain label to the calm, and no answer to some."""
    if ask.purpose == "vote":
        prompt = ask.messages[-1][1]
        if "band 2" in prompt:
            return Abstained("refusal")
        return "no" if "band 1, calm" in prompt else Chosen("yes", {"yes": 0.7, "no": 0.3})
    if ask.purpose == "give":
        return Plan(round(draw.random(), 3), draw.bernoulli(0.5))
    return f"{draw.integer(1000)}"


def population(setup: Any) -> dict[str, Population]:
    """Voters of all ages."""
    return {"voter": Population({"age": [18 + (7 * at) % 60 for at in range(setup.count("voter"))]})}


society = Society(
    name="voters", types={"writer": Writer, "voter": Voter}, population=population, parameters=Dials(),
    world=lambda setup, people: World(Board()), scripted=scripted, activation={"voter": Every(2, staggered=True)},
    outcomes={"votes": lambda world: float(world.columns["voter"]["votes"].sum())},
    size={"writer": 3, "voter": 40}, ticks=6,
)  # fmt: skip
