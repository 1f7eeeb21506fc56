"""A town in the days of a hurricane: who goes out, when do people stay in, when are they back? After AgentSociety.

Nine days in steps of three hours: three calm ones, three of storm with the landfall in the middle of the second, three
calm ones. A resident sees the wind, hears warnings and friends, and decides where to go by its needs and by the danger.
People are respondents of the American National Election Study 1996; their free days differ, so that no weekday counts.
The paper is arXiv:2502.08691. Arms: `--set society.storm=false`; levers that warn, in tick 16,
`at=16, send={to="all", body={warning=0.8, source="news"}}`, or "official"; and an order to leave,
`at=24, until=48, set={"world.city.evacuation"={level=20}}`.

The check is of theory: needs against danger, and warnings that act through trust. No rule is told the arm.
"""

from typing import Any

import msgspec
import numpy as np

from populace import Abstained, Agent, Choice, Context, Parameters, Population, Public, Setup, Society, World
from populace.env import City, Clock, Network, Storm
from populace.env.city.grid import Kind
from populace.mind import Need, Needs, Risk
from populace.scenarios import _hurricane_rules as rules
from populace.scenarios._data import Share, prompts, respondents

TEXTS = prompts("hurricane")
SYSTEM = TEXTS["system"].strip()
HOURS = 3.0
TRIPS = ("work", "shop", "leisure")
KINDS = {
    "home": Kind(2.5),
    "work": Kind(20.0, opens="06:00", closes="21:00", attraction_sd=1.0),
    "shop": Kind(25.0, opens="06:00", closes="21:00", attraction_sd=0.5),
    "leisure": Kind(25.0, opens="06:00", closes="23:00", attraction_sd=0.5),
    "shelter": Kind(500.0),
}
"""No place has a limit of people, so that who stays in is who chose to."""
HURRICANE_M_S = 33.0
"""From here on a wind is held to be as dangerous as can be: the least of a hurricane on the Saffir-Simpson scale."""


class Dials(Parameters, frozen=True):
    """`storm` or none; at its closest the wind is `wind_m_s`, at `radius_km` from the centre, which passes there.

    `severity` is how bad a hurricane is held to be; of the danger that is seen a share `keeps` is left after three
    hours without news. Friends' fears are trusted at `friends_trust`. `people_per_km2` says how wide the town is.
    """

    storm: bool = True
    wind_m_s: float = 40.0
    radius_km: float = 60.0
    severity: Share = 0.9
    keeps: Share = 0.8
    friends_trust: Share = 0.3
    mean_degree: float = 6.0
    homophily: float = 4.0
    people_per_km2: float = 4_000.0


def wants() -> Needs:
    """Food for three days in the house; a wish to go out that comes back in two. Round figures."""
    needs = {"food": Need(fall_per_h=1.0 / 72.0), "leisure": Need(fall_per_h=1.0 / 48.0)}
    return Needs(needs=needs, sources={"shop": {"food": 1.0}, "leisure": {"leisure": 0.5}})


class Resident(Agent):
    """`danger` is what it perceives, 0 to 1; `free` are its two free days of the week."""

    profile: str
    free: list[str]
    news_trust: float
    official_trust: float
    needs: Needs = msgspec.field(default_factory=wants)
    risk: Risk = msgspec.field(default_factory=Risk)
    heard: list[str] = msgspec.field(default_factory=list)
    danger: Public[float] = 0.0
    out: Public[bool] = False

    async def turn(self, ctx: Context) -> None:
        """Take in what there is to see and hear; go, or stay."""
        seen = ctx.seen
        at, hour = seen["city.kind"] or "home", int(seen["clock.hour"])
        self.out = at in TRIPS
        self.needs.pass_time(HOURS)
        if at in self.needs.sources:
            self.needs.use(at)
        self.perceive(ctx, seen.get("city.hazard", 0.0))
        if hour < 6 or hour >= 21:
            if at in TRIPS:
                ctx.act("city.go", kind="home")
            return
        works = seen["clock.weekday"] not in self.free
        facts = {
            "profile": self.profile, "hour": hour, "at": at, "works": "yes" if works else "no",
            "food": round(self.needs.needs["food"].level, 2), "leisure": round(self.needs.needs["leisure"].level, 2),
            "wind": round(seen.get("city.hazard", 0.0), 1), "heard": "; ".join(self.heard) or "nothing",
            "danger": self.danger, "trust": self.official_trust,
            "order": TEXTS["order" if seen["city.ordered"] else "no_order"],
        }  # fmt: skip
        answer = await ctx.ask(TEXTS["go"], Choice(*rules.PLACES), facts=facts, system=SYSTEM, purpose="go")
        if not isinstance(answer, Abstained) and answer != at and seen["city.status"] == "there":
            ctx.act("city.go", kind=answer.label, choice="gravity")
        if self.danger >= self.risk.threshold and (friends := await ctx.look("network.neighbors")):
            ctx.send(ctx.draw("friend").choice(friends), {"fears": round(self.risk.probability, 2)})

    def perceive(self, ctx: Context, wind: float) -> None:
        """See the wind, hear warnings and friends: each moves the belief as far as its source is trusted."""
        self.risk.severity, self.risk.keep = ctx.parameters.severity, ctx.parameters.keeps
        self.risk.pass_tick()
        for message in ctx.inbox:
            body = message.body if isinstance(message.body, dict) else {}
            if "warning" in body:
                official = body.get("source") == "official"
                self.heard = [*self.heard, f"{body.get('source')}: a hurricane is on its way"][-3:]
                self.risk.warn(float(body["warning"]), self.official_trust if official else self.news_trust)
            elif "fears" in body:
                self.risk.warn(float(body["fears"]), ctx.parameters.friends_trust)
        if wind > 0.0:
            self.risk.warn(max(self.risk.probability, min(1.0, wind / HURRICANE_M_S)))
        self.danger = round(self.risk.perceived(), 2)


def population(setup: Setup) -> Population:
    """Respondents drawn with replacement; what is in the house, free days, and whom one trusts, by lot."""
    lot = setup.draw("residents")
    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

    def first_needs(row: dict[str, Any]) -> Needs:
        needs = wants()
        for need in needs.needs.values():
            need.level = round(lot.random(), 2)
        return needs

    return respondents(setup, TEXTS["profile"].strip()).adding(
        free=lambda row: lot.sample(days, 2),
        news_trust=lambda row: round(lot.uniform(0.3, 0.7), 2),
        official_trust=lambda row: round(lot.uniform(0.5, 1.0), 2),
        needs=first_needs,
    )


def world(setup: Setup, people: Population) -> World:
    """A generated town, friends who are alike, and a storm that passes from west to east in the fourth to sixth day."""
    dials = setup.parameters
    degree = min(dials.mean_degree, setup.agents - 1)
    alike = {name: np.array(people[name]) for name in ("age", "educ", "PID")}
    network = Network.homophily(setup, alike, mean_degree=degree, strength=dials.homophily)
    city = City.grid(setup, kinds=KINDS, people_per_km2=dials.people_per_km2, hazard=storm(dials))
    return World(Clock("2019-08-28T00:00"), city, network)


def storm(dials: Dials) -> Storm:
    """From hour 72 to 144 its centre passes `radius_km` off the town, 300 km from it at the first and last hour."""
    hours = np.arange(72.0, 145.0, 6.0)
    east = np.linspace(-300_000.0, 300_000.0, len(hours))
    wind = dials.wind_m_s if dials.storm else 0.0
    radius, same = 1_000.0 * dials.radius_km, np.ones(len(hours))
    return Storm(3_600.0 * hours, east, radius * same, wind * same, radius * same)


def daily(world: World) -> Any:
    """Visits of work places, shops and places to go out, by day so far, int64."""
    city = world.city
    return city.days.visits[:, [city.places.code_of(kind) for kind in TRIPS]].sum(axis=1)


def of_days(world: World, first: int, last: int) -> float:
    """Mean visits of some days (from 0, the last one included), divided by the highest day's; NaN before they end."""
    visits = daily(world)
    if len(visits) <= last or not visits.max():
        return float("nan")
    return float(visits[first : last + 1].mean() / visits.max())


def recovery_day(world: World) -> float:
    """The first day from the seventh on with nine tenths of the visits of the first three; 10 where none has."""
    visits = daily(world)
    if len(visits) < 9:
        return float("nan")
    back = np.flatnonzero(visits[6:9] >= 0.9 * visits[:3].mean())
    return float(back[0] + 7) if len(back) else 10.0


society = Society(
    name="hurricane",
    about="A town in the week of a hurricane: who goes out, who stays in or leaves, and when all are back.",
    agent=Resident,
    population=population,
    world=world,
    parameters=Dials(),
    rules=rules.RULES,
    outcomes={
        "visits_today": lambda world: int(daily(world)[-1]),
        "out": lambda world: float(np.mean(world.columns["out"])),
        "left_home": lambda world: world.city.left_home(),
        "danger": lambda world: float(np.mean(world.columns["danger"])),
        "sheltered": lambda world: world.city.share_at("shelter"),
        "before": lambda world: of_days(world, 0, 2),
        "eve": lambda world: of_days(world, 2, 2),
        "at_landfall": lambda world: of_days(world, 4, 4),
        "after": lambda world: of_days(world, 6, 8),
        "recovery_day": recovery_day,
    },
    size=100,
    ticks=72,
    tick_seconds=3_600.0 * HOURS,
)
