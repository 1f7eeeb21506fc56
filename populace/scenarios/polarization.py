"""Neighbours talk politics: do they drift apart? People are respondents of the American National Election Study 1996.

In each tick a citizen hears what neighbours said, is asked whether it agrees with the statement, moves towards the
answer, and tells one neighbour why it stands where it stands. With `arguments` it knows that many at first, and keeps
those that it hears in mind. With `persuaders` the last two agents speak for and against (AgentSociety,
arXiv:2502.08691). Arms, by `--set society.`: `contact` friends, like_minded or opposing.

The check is of theory: persuasive arguments and social judgement (`_polarization_rules`). No rule is told the arm.
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec
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
from populace.core.errors import ScenarioError
from populace.env import Clock, Network, measures
from populace.scenarios import _polarization_rules as rules
from populace.scenarios._data import prompts, respondents

TEXTS = prompts("polarization")
SYSTEM = TEXTS["system"].strip()
REMEMBERS = 40
"""How many arguments a citizen remembers, the newest."""


class Dials(Parameters, frozen=True):
    """`openness`: how far an attitude moves towards an answer (0 to 1); `homophily`: how alike neighbours are.

    `arguments`: how many each knows at first (0: nobody keeps any in mind). `persuaders`: the last two agents speak,
    one in favour and one against, in each tick to those who listen to them: nobody where `contact` is friends, those
    who start on their side of the middle (like_minded), or those on the other one (opposing); then no friends talk.
    With persuaders everybody is asked in each tick, who heard nothing too, so that arms differ in what is heard alone.
    `start`: attitudes by self-placement, or at 3 for the more conservative half and at 7 for the other (halves).
    """

    issue: str = "The government should provide many more services, even if it means more spending."
    openness: float = 0.3
    homophily: float = 4.0
    mean_degree: float = 6.0
    arguments: int = 0
    persuaders: bool = False
    contact: Literal["friends", "like_minded", "opposing"] = "friends"
    start: Literal["respondents", "halves"] = "respondents"


class Citizen(Agent):
    """A respondent; `attitude` runs from 0 (wholly against) to 10 (wholly in favour).

    It takes in what is within `acceptance` points. `speaks` is for or against where it is a persuader.
    """

    profile: str
    attitude: Public[float]
    acceptance: float = 5.0
    known: list[str] = msgspec.field(default_factory=list)
    speaks: str = ""

    async def turn(self, ctx: Context) -> None:
        """Hear, revise, tell."""
        if self.speaks:
            return await self.persuade(ctx)
        if ctx.inbox or ctx.parameters.persuaders:
            heard = "\n".join(fence(message.body, f"neighbour {message.sender}") for message in ctx.inbox)
            await self.revise(ctx, heard or "(nothing)")
            if ctx.parameters.arguments:
                new = [message.body for message in ctx.inbox if isinstance(message.body, str)]
                self.known = list(dict.fromkeys([*self.known, *new]))[-REMEMBERS:]
        if friends := await ctx.look("network.neighbors"):
            prompt = TEXTS["reason"]
            reason = await self.asked(ctx, prompt, str, purpose="reason", max_tokens=40)
            if not isinstance(reason, Abstained):
                ctx.send(ctx.draw("friend").choice(friends), reason)
        return None

    async def revise(self, ctx: Context, heard: str) -> None:
        """Move towards the answer; with arguments in mind from where it was told that it stands."""
        labels, openness = Choice("agree", "disagree"), ctx.parameters.openness
        verdict = await self.asked(ctx, TEXTS["verdict"], labels, purpose="verdict", heard=heard)
        if isinstance(verdict, Chosen):
            agrees = (verdict.probabilities or {verdict.label: 1.0}).get("agree", 0.0)
            stood = round(self.attitude, 1) if ctx.parameters.arguments else self.attitude
            self.attitude += openness * (10.0 * agrees - stood)
            if ctx.parameters.arguments:
                self.attitude = min(10.0, max(0.0, self.attitude))

    async def asked(self, ctx: Context, prompt: str, answer: Any, *, purpose: str, heard: str = "", **how: Any) -> Any:
        """Ask about the issue, by facts."""
        facts: dict[str, Any] = {"profile": self.profile, "issue": ctx.parameters.issue}
        facts |= {"attitude": round(self.attitude, 1)} | ({"heard": heard} if heard else {})
        if ctx.parameters.arguments:
            prompt += TEXTS["knows"]
            facts |= {"known": self.known, "acceptance": self.acceptance}
        prompt = prompt.replace("{attitude:.1f}", "{attitude}")
        return await ctx.ask(prompt, answer, facts=facts, system=SYSTEM, purpose=purpose, **how)

    async def persuade(self, ctx: Context) -> None:
        """Say one argument to all who listen."""
        if audience := await ctx.look("network.neighbors"):
            facts = {"issue": ctx.parameters.issue, "side": self.speaks}
            said = await ctx.ask(TEXTS["persuade"], str, facts=facts, system=SYSTEM, purpose="persuade", max_tokens=40)
            if not isinstance(said, Abstained):
                ctx.send(audience, said)


def population(setup: Setup) -> Population:
    """Respondents drawn with replacement; the liberal end of their self-placement starts in favour.

    Who is a stronger partisan takes less in (Sherif and Hovland 1961: involvement narrows the latitude of acceptance).
    Of the arguments that one knows as many are in favour, on average, as its attitude says.
    """
    dials = setup.parameters
    people = respondents(setup, TEXTS["profile"].strip()).adding(
        attitude=lambda row: 10.0 * (7.0 - row["selfLR"]) / 6.0,
    )
    if dials.persuaders and setup.agents < 3:
        raise ScenarioError("polarization: with persuaders the last two agents speak, and there is nobody to listen")
    if dials.start == "halves":
        lots = [(-left, setup.draw("halves").random()) for left in people["selfLR"]]
        order = sorted(range(setup.agents), key=lots.__getitem__)
        against = set(order[: setup.agents // 2])
        attitudes = [3.0 if at in against else 7.0 for at in range(setup.agents)]
        people = Population({**people.columns, "attitude": attitudes}, extra=people.extra)
    if dials.arguments:
        lot = setup.draw("arguments")
        people = people.adding(
            acceptance=lambda row: 3.5 - 0.5 * abs(row["PID"] - 3.0),
            known=lambda row: first_known(lot, row["attitude"] / 10.0, dials.arguments),
        )
    if dials.persuaders:
        said, ends = ["for", "against"], [10.0, 0.0]
        columns = {**people.columns, "speaks": [""] * (setup.agents - 2) + said}
        columns["attitude"] = [*people["attitude"][:-2], *ends]
        people = Population(columns, extra=people.extra)
    return people


def first_known(lot: Any, share: float, count: int) -> list[str]:
    """So many arguments by lot, each in favour with probability `share`."""
    sides = {sign: [text for text, at in rules.POSITIONS.items() if sign * at > 0.0] for sign in (1.0, -1.0)}
    picked = [lot.choice(sides[1.0 if lot.bernoulli(share) else -1.0]) for _ in range(count)]
    return list(dict.fromkeys(picked))


def world(setup: Setup, people: Population) -> World:
    """A network in which ties fall with distance in age, education, income and party; or persuaders and who listens."""
    dials = setup.parameters
    clock = Clock(start="1996-09-01T00:00")
    if dials.persuaders:
        return World(clock, audience(setup, people) if dials.contact != "friends" else friends(setup, people, last=2))
    if dials.contact != "friends":
        raise ScenarioError(f"polarization: contact {dials.contact!r} is with persuaders: set society.persuaders=true")
    return World(clock, friends(setup, people))


def friends(setup: Setup, people: Population, last: int = 0) -> Network:
    """Ties among those who are alike; the `last` agents have none."""
    dials, citizens = setup.parameters, setup.agents - last
    alike = {name: np.array(people[name][:citizens]) for name in ("age", "educ", "income", "PID")}
    degree = min(dials.mean_degree, citizens - 1)
    some = Setup(citizens, setup.seed, dials, setup.tick_seconds) if last else setup
    network = Network.homophily(some, alike, mean_degree=degree, strength=dials.homophily)
    return Network.edges(setup, network.out.sources(), network.out.targets) if last else network


def audience(setup: Setup, people: Population) -> Network:
    """From each persuader to the citizens on its own side of the middle, or on the other one."""
    citizens, like = setup.agents - 2, setup.parameters.contact == "like_minded"
    attitudes = people["attitude"][:citizens]
    source = [citizens + int((attitude >= 5.0) != like) for attitude in attitudes]
    return Network.edges(setup, source, np.arange(citizens))


def outcome(measure: Callable[..., float], *scale: float) -> Callable[[World], float]:
    """A measure of attitudes now, or, given the scale's ends, of attitudes now against those at the start."""

    def measured(world: World) -> float:
        citizens = slice(None, -2 if world.parameters.persuaders else None)
        now, start = world.columns["attitude"][citizens], world.start["attitude"][citizens]
        return measure(now, start, *scale) if scale else measure(now)

    return measured  # fmt: skip


def more_extreme(now: Any, start: Any, low: float, high: float) -> float:
    """The share that went further from the middle by more than a twentieth of the scale, as `moderated` nearer."""
    return measures.moderated(start, now, low, high)


def crossed(now: Any, start: Any, low: float, high: float) -> float:
    """The share that is on the other side of the middle than at the start."""
    middle = (low + high) / 2.0
    return measures.share((now - middle) * (start - middle) < 0.0)


society = Society(
    name="polarization",
    about="Neighbours from the 1996 election study talk about an issue and revise their attitudes.",
    agent=Citizen,
    population=population,
    world=world,
    parameters=Dials(),
    rules=rules.RULES,
    size=20,
    ticks=4,
    outcomes={
        "variance": outcome(measures.variance),
        "bimodality": outcome(measures.bimodality),
        "moved_to_extremes": outcome(measures.moved_to_extremes, 0.0, 10.0),
        "moderated": outcome(measures.moderated, 0.0, 10.0),
        "more_extreme": outcome(more_extreme, 0.0, 10.0),
        "crossed": outcome(crossed, 0.0, 10.0),
    },
)
