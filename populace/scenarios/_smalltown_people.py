"""The people and places of `smalltown`: who lives, works and spends evenings where, and who knows what at the start."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from populace import Context, Population, Setup, World
from populace.env import City, Clock, Master, Network, Places, Stage
from populace.mind import Plan, Routine, Step
from populace.scenarios import _smalltown_rules as rules

TEXTS = rules.TEXTS
OF_KIND = {
    kind: [one["name"] for one in TEXTS["places"] if one["kind"] == kind] for kind in ("home", "work", "leisure")
}


def name_of(agent: int) -> str:
    """A villager's name."""
    names = TEXTS["names"]
    return str(names[agent]) if agent < len(names) else f"{names[agent % len(names)]} {agent // len(names) + 1}"


def id_of(name: str) -> int:
    """The villager of a name that `name_of` gave."""
    first, last, *nth = name.split()
    at = TEXTS["names"].index(f"{first} {last}")
    return int(at) + (int(nth[0]) - 1) * len(TEXTS["names"]) if nth else int(at)


def population(setup: Setup) -> Population:
    """Five share a home, by lot; work, evenings and the two with news of their own are drawn.

    `seeds` - 1 others have heard each piece of news already.
    """
    n, draw, p = setup.agents, setup.draw("villagers"), setup.parameters
    homes = [OF_KIND["home"][at // 5 % len(OF_KIND["home"])] for at in range(n)]
    draw.shuffle(homes)
    host, candidate = draw.sample(range(n), 2) if n > 1 else (0, 0)
    news = {
        host: TEXTS["party"].format(name=name_of(host), hour=rules.PARTY_HOUR),
        candidate: TEXTS["candidacy"].format(name=name_of(candidate)),
    }
    early = {who: draw.sample([at for at in range(n) if at != who], min(p.seeds, n) - 1) for who in news}
    truth = {"party": str(rules.PARTY_HOUR), "candidate": name_of(candidate)}

    def villager(at: int) -> dict[str, Any]:
        work, evening, trait = (draw.choice(some) for some in (OF_KIND["work"], OF_KIND["leisure"], TEXTS["traits"]))
        about = {"name": name_of(at), "trait": trait, "home": homes[at], "work": work, "evening": evening}
        return {
            "name": name_of(at),
            "persona": TEXTS["persona"].format(**about),
            "aim": news.get(at, ""),
            "told": [[name_of(who), text] for who, text in news.items() if at in early[who]],
            "routine": msgspec.to_builtins(Routine(usual(homes[at], work, evening, draw.choice([0.0, 1.0])))),
            "sociable": round(draw.random(), 2),
            "talkative": p.talkative,
            "truth": truth,
            "home_name": homes[at],
        }

    rows = [villager(at) for at in range(n)]
    return Population({name: [row[name] for row in rows] for name in rows[0]}, extra=["home_name"])


def usual(home: str, work: str, evening: str, late: float) -> list[Step]:
    """A day: to work at 9 or 10, lunch at the Cafe, and an evening out."""
    return [
        Step(0.0, 9.0 + late, "sleep", home), Step(9.0 + late, 12.0 + late, "work", work),
        Step(12.0 + late, 13.0 + late, "lunch", "Cafe"), Step(13.0 + late, 16.0 + late, "work", work),
        Step(16.0 + late, 20.0, "rest", evening), Step(20.0, 24.0, "sleep", home),
    ]  # fmt: skip


def world(setup: Setup, people: Population) -> World:
    """A clock, the places, and who knows whom: at first those of one home; with a master also a stage of things."""
    p, names = setup.parameters, list(people["home_name"])
    homes = np.array([rules.PLACES.index(one) for one in names], np.int32)
    pairs = [(a, b) for a in range(setup.agents) for b in range(a) if names[a] == names[b]]
    known = Network.edges(setup, [a for a, _ in pairs], [b for _, b in pairs], mutual=True)
    parts: list[Any] = [Clock("2023-02-13T08:00"), known]
    if not p.master:
        return World(*parts, City(Places.of(TEXTS["places"]), assigned={"home": homes}))
    ways = {one: [other for other in rules.PLACES if other != one] for one in rules.PLACES}
    stage = Stage(ways, TEXTS["goods"], agents={"conflicts": 0.0}, start="Park")
    return World(*parts, Master(stage, rules.verbs(plausible=p.plausible), names=list(people["name"])))


async def around(ctx: Context) -> tuple[str, list[int]]:
    """Where an agent is, and who is there too, by id."""
    if "master.place" in ctx.seen:
        return ctx.seen["master.place"], [id_of(one) for one in ctx.seen["master.people"]]
    return ctx.seen["city.name"], await ctx.look("city.here")


def plan_of(day: rules.Day) -> Plan:
    """A plan of the steps that can be, a later one in the place of an earlier."""
    plan = Plan()
    for one in day.steps[:20]:
        if 0 <= one.start < one.end <= 24 and one.where in rules.PLACES:
            plan.put(Step(float(one.start), float(one.end), one.what[:80], one.where))
    return plan


def density(world: World) -> float:
    """The share of pairs who know each other: both have heard the other, or share a home."""
    out = world.network.out
    n, source = world.network.size, np.repeat(np.arange(world.network.size), np.diff(out.offsets))
    pairs = set(zip(source.tolist(), out.targets.tolist(), strict=True))
    return len([1 for a, b in pairs if (b, a) in pairs]) / float(max(n * (n - 1), 1))


def of_master(world: World, what: str) -> float:
    """Attempts refused so far, or conflicts of state; NaN without a master."""
    if "master" not in world.parts:
        return float("nan")
    stage = world.master.stage
    return float(sum(world.master.refused.values()) if what == "refused" else stage.numbers["conflicts"].sum())
