"""People estimate what they don't know, in rounds, alone or hearing the others.

After "How social influence can undermine the wisdom of crowd effect" (Lorenz and others 2011,
doi:10.1073/pnas.1008636108): sessions of twelve answer in five rounds, and hear nothing, the others' mean, or all of
their answers. Alone and in one round it is the Turing Experiments' wisdom of crowds (arXiv:2208.10264), with five of
its questions, to which 52 people's answers are known (`data/crowd.md`). Arms, by `--set society.`: `hears` nothing,
mean, all; `knows` memory, books.

Two checks. Of theory: who moves towards what it hears is nearer to the others, and no nearer to the truth for that. Of
a model artefact: models that are to answer as people know too well; in the rule mind that is what `knows` says.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from populace import Abstained, Agent, Context, Parameters, Population, Setup, Society, World
from populace.scenarios import _crowd_rules as rules
from populace.scenarios._crowd_world import Crowd
from populace.scenarios._data import Count, respondents

TEXTS = rules.TEXTS
SYSTEM = TEXTS["system"].strip()


class Dials(Parameters, frozen=True):
    """`hears`: what one is told of the others of one's session of `session` people between rounds.

    `knows`: whether people answer from memory, or look things up in books.
    """

    hears: Literal["nothing", "mean", "all"] = "nothing"
    knows: Literal["memory", "books"] = "memory"
    session: Count = 12


class Person(Agent):
    """A respondent of the American National Election Study 1996."""

    profile: str

    async def turn(self, ctx: Context) -> None:
        """Answer all questions, anew in each round."""
        before = await ctx.look("crowd.heard")
        knows = TEXTS["knows"][ctx.parameters.knows]
        facts: dict[str, Any] = {"profile": self.profile, "knows": knows, "questions": rules.QUESTIONS}
        facts |= {"before": before} if before else {}
        prompt = TEXTS["again" if before else "first"]
        said = await ctx.ask(prompt, rules.Estimates, facts=facts, system=SYSTEM, purpose="estimate", max_tokens=120)
        if not isinstance(said, Abstained):
            ctx.act("crowd.answer", estimates=list(msgspec.structs.astuple(said)))


def population(setup: Setup) -> Population:
    """Respondents drawn with replacement."""
    return respondents(setup, TEXTS["profile"].strip())


society = Society(
    name="crowd",
    about="People estimate what they don't know, in rounds, hearing nothing, the mean or all answers of others.",
    agent=Person,
    population=population,
    world=lambda setup, people: World(Crowd(setup.parameters.session)),
    parameters=Dials(),
    rules=rules.RULES,
    outcomes={
        "diversity": lambda world: world.crowd.diversity(),
        "collective_error": lambda world: world.crowd.collective_error(),
        "wisdom": lambda world: world.crowd.wisdom(),
        "spread": lambda world: world.crowd.spread(),
        "off": lambda world: world.crowd.off(),
        "exact": lambda world: world.crowd.exact(),
    },
    size=48,
    ticks=5,
)
