"""One of two proposes how to split ten dollars; the other takes what it is offered, or neither gets anything.

After the ultimatum game of the Turing Experiments (arXiv:2208.10264), in which a model answers as many people, each
with an offer that the experimenter sets. People are respondents of the American National Election Study 1996. Arms, by
`--set society.`: `offer`, in dollars, or -1: proposers choose; `tastes=none`: nobody minds who gets more.

The check is of theory, and nearly a parameter: a rule mind averse to inequity turns low offers down by how averse it
is. So the society measures that, too: `least_accepted` is what those who answer say they would take, whatever mind
says it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace import Abstained, Agent, Choice, Chosen, Context, Parameters, Population, Public, Setup, Society, World
from populace.env import Games
from populace.env.games import play, ultimatum
from populace.scenarios import _ultimatum_rules as rules
from populace.scenarios._data import respondents

TEXTS = rules.TEXTS
SYSTEM = TEXTS["system"].strip()
PIE = rules.PIE


class Dials(Parameters, frozen=True):
    """`offer` is what every proposer offers, in dollars; -1: what it chooses.

    `tastes` are those of the published distribution, or none: nobody minds having less or more than the other.
    """

    offer: Annotated[int, msgspec.Meta(ge=-1, le=PIE)] = -1
    tastes: Literal["published", "none"] = "published"


class Person(Agent):
    """`envy` and `guilt` say how it takes to having less, and more; `least` is the least it says it would take."""

    profile: str
    envy: Public[str]
    guilt: Public[str]
    least: Public[int] = -1

    async def turn(self, ctx: Context) -> None:
        """Propose, or say what one would take and then answer."""
        seen = ctx.seen
        if seen["game.role"] == "responder" and seen["game.stage"] == "offer":
            said = await self.asked(ctx, "least", rules.Amount)
            self.least = -1 if isinstance(said, Abstained) else said.dollars

        async def move(now: dict[str, Any]) -> int | str | None:
            if now["stage"] == "offer":
                if ctx.parameters.offer >= 0:
                    return int(ctx.parameters.offer)
                said = await self.asked(ctx, "offer", rules.Amount)
                return None if isinstance(said, Abstained) else int(said.dollars)
            offer = now["so_far"]["offer"][0]
            said = await self.asked(ctx, "answer", Choice("accept", "reject"), offer=offer, keeps=PIE - offer)
            return str(said.label) if isinstance(said, Chosen) else None

        await play(ctx, move)

    async def asked(self, ctx: Context, purpose: str, answer: Any, **more: Any) -> Any:
        """Ask as this person, by facts."""
        facts = {"profile": self.profile, "pie": PIE, "envy": self.envy, "guilt": self.guilt, **more}
        prompt = TEXTS["rules"] + TEXTS[purpose].lstrip("\n")
        return await ctx.ask(prompt, answer, facts=facts, system=SYSTEM, purpose=purpose, max_tokens=40)


def population(setup: Setup) -> Population:
    """Respondents drawn with replacement, with tastes by lot in their published frequencies."""

    def taste(name: str, shares: dict[float, float]) -> list[str]:
        lot = setup.draw(name)
        drawn = [lot.weighted(list(shares), list(shares.values())) for _ in range(setup.agents)]
        return [TEXTS[name][str(one if setup.parameters.tastes == "published" else 0.0)] for one in drawn]

    people = respondents(setup, TEXTS["profile"].strip())
    columns = {**people.columns, "envy": taste("envy", rules.ENVY), "guilt": taste("guilt", rules.GUILT)}
    return Population(columns, extra=people.extra)


def plays(world: World) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of plays that nobody forfeited: the offer, as a share, and 1.0 where it was accepted."""
    table = world.game.plays()
    moves = table["moves"][~table["forfeited"].any(axis=1)]
    moved = world.game.game.moved(moves)
    return moved["offer"][:, 0] / PIE, (moved["answer"][:, 0] == 0).astype(np.float64)


def mean(values: NDArray[Any]) -> float:
    """The mean; NaN of nothing."""
    return float(values.mean()) if len(values) else float("nan")


def least_accepted(world: World) -> float:
    """The least that those who answer say they would take, as a share; NaN before anybody has said."""
    said = world.columns["least"]
    return mean(said[said >= 0] / PIE)


society = Society(
    name="ultimatum",
    about="Pairs play the ultimatum game once: offers, and which of them are accepted.",
    agent=Person,
    population=population,
    world=lambda setup, people: World(Games(ultimatum(PIE), matching="random", memory=1, shown=0)),
    parameters=Dials(),
    rules=rules.RULES,
    outcomes={
        "accepted": lambda world: mean(plays(world)[1]),
        "offer": lambda world: mean(plays(world)[0]),
        "least_accepted": least_accepted,
    },
    size=40,
    ticks=2,
)
