"""Neighbours talk politics: do they drift apart? People are respondents of the American National Election Study 1996.

In each tick a citizen hears what neighbours said, is asked whether it agrees with the statement, moves towards the
answer, and tells one neighbour why it stands where it stands.
"""

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
from populace.scenarios._data import anes96, prompts

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
    people = Population.sample(anes96(), setup.agents, setup.draw("respondents"))
    rows = [dict(zip(people.columns, row, strict=True)) for row in zip(*people.columns.values(), strict=True)]
    profiles = [
        TEXTS["profile"].strip().format(
            **row, school=TEXTS["schools"][int(row["educ"]) - 1], party=TEXTS["parties"][int(row["PID"])]
        )
        for row in rows
    ]  # fmt: skip
    attitudes = [10.0 * (7.0 - row["selfLR"]) / 6.0 for row in rows]
    return Population({**people.columns, "profile": profiles, "attitude": attitudes})


def world(setup: Setup, people: Population) -> World:
    """A network in which ties fall with distance in age, education, income and party."""
    dials = setup.parameters
    alike = {name: np.array(people[name]) for name in ("age", "educ", "income", "PID")}
    degree = min(dials.mean_degree, setup.agents - 1)
    network = Network.homophily(setup, alike, mean_degree=degree, strength=dials.homophily)
    return World(Clock(start="1996-09-01T00:00"), network)


def off_centre(attitudes: measures.Column) -> measures.Column:
    """How far attitudes are from the middle of the scale, 0 to 5."""
    return np.abs(attitudes - 5.0)


def moved_to_extremes(w: World) -> float:
    """The share within one point of an end of the scale that did not start there."""
    return measures.share((off_centre(w.columns["attitude"]) >= 4.0) & (off_centre(w.start["attitude"]) < 4.0))


def moderated(w: World) -> float:
    """The share that came at least half a point nearer to the middle."""
    return measures.share(off_centre(w.columns["attitude"]) < off_centre(w.start["attitude"]) - 0.5)


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
        "variance": lambda w: measures.variance(w.columns["attitude"]),
        "bimodality": lambda w: measures.bimodality(w.columns["attitude"]),
        "moved_to_extremes": moved_to_extremes,
        "moderated": moderated,
    },
)
