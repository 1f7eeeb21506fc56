"""Neighbours talk politics: do they drift apart? People are respondents of the American National Election Study 1996.

In each tick a citizen hears what neighbours said, is asked whether it agrees with the statement, moves towards the
answer, and tells one neighbour why it stands where it stands.
"""

from collections.abc import Callable

import numpy as np

from populace import (
    Abstained,
    Agent,
    Choice,
    Chosen,
    Context,
    Parameters,
    Population,
    Public,
    Setup,
    Society,
    World,
    fence,
)
from populace.env import Clock, Network, measures
from populace.scenarios._data import prompts, respondents

TEXTS = prompts("polarization")
SYSTEM = TEXTS["system"].strip()


class Dials(Parameters, frozen=True):
    """`openness`: how far an attitude moves towards an answer (0 to 1); `homophily`: how alike neighbours are."""

    issue: str = "The government should provide many more services, even if it means more spending."
    openness: float = 0.3
    homophily: float = 4.0
    mean_degree: float = 6.0


class Citizen(Agent):
    """A respondent; `attitude` runs from 0 (wholly against) to 10 (wholly in favour)."""

    profile: str
    attitude: Public[float]

    async def turn(self, ctx: Context) -> None:
        """Hear, revise, tell."""
        dials = ctx.parameters
        about = {"profile": self.profile, "issue": dials.issue}
        if ctx.inbox:
            heard = "\n".join(fence(message.body, f"neighbour {message.sender}") for message in ctx.inbox)
            prompt = TEXTS["verdict"].format(**about, attitude=self.attitude, heard=heard)
            verdict = await ctx.ask(prompt, Choice("agree", "disagree"), system=SYSTEM, purpose="verdict")
            if isinstance(verdict, Chosen):
                agrees = (verdict.probabilities or {verdict.label: 1.0}).get("agree", 0.0)
                self.attitude += dials.openness * (10.0 * agrees - self.attitude)
        if friends := await ctx.look("network.neighbors"):
            prompt = TEXTS["reason"].format(**about, attitude=self.attitude)
            reason = await ctx.ask(prompt, str, system=SYSTEM, purpose="reason", max_tokens=40)
            if not isinstance(reason, Abstained):
                ctx.send(ctx.draw("friend").choice(friends), reason)


def population(setup: Setup) -> Population:
    """Respondents drawn with replacement; the liberal end of their self-placement starts in favour."""
    return respondents(setup, TEXTS["profile"].strip()).adding(
        attitude=lambda row: 10.0 * (7.0 - row["selfLR"]) / 6.0,
    )


def world(setup: Setup, people: Population) -> World:
    """A network in which ties fall with distance in age, education, income and party."""
    dials = setup.parameters
    alike = {name: np.array(people[name]) for name in ("age", "educ", "income", "PID")}
    degree = min(dials.mean_degree, setup.agents - 1)
    network = Network.homophily(setup, alike, mean_degree=degree, strength=dials.homophily)
    return World(Clock(start="1996-09-01T00:00"), network)


def outcome(measure: Callable[..., float], *scale: float) -> Callable[[World], float]:
    """A measure of attitudes now, or, given the scale's ends, of attitudes now against those at the start."""

    def measured(world: World) -> float:
        now, start = world.columns["attitude"], world.start["attitude"]
        return measure(now, start, *scale) if scale else measure(now)

    return measured  # fmt: skip


society = Society(
    name="polarization",
    about="Neighbours from the 1996 election study talk about an issue and revise their attitudes.",
    agent=Citizen,
    population=population,
    world=world,
    parameters=Dials(),
    size=20,
    ticks=4,
    outcomes={
        "variance": outcome(measures.variance),
        "bimodality": outcome(measures.bimodality),
        "moved_to_extremes": outcome(measures.moved_to_extremes, 0.0, 10.0),
        "moderated": outcome(measures.moderated, 0.0, 10.0),
    },
)
