"""Twenty-five villagers live two days: does word of a party and of a candidacy spread, and who comes to the party.

After Generative Agents (Park et al. 2023, arXiv:2304.03442): villagers remember in a stream, reflect, plan their day
and talk to whom they meet. Arms, by `--set society.`: `memory`, `planning` and `reflection` remove a faculty each;
`seeds` is how many know each piece of news at first. With `master=true` places and things are a game master's
(Concordia, Vezhnevets et al. 2023, arXiv:2312.03664): villagers try things in their own words, and what cannot be is
refused, or, with `plausible=false`, done all the same, and counted as a conflict.

The check is of theory: telling needs remembering, coming needs a plan or a timely thought, so each faculty that is gone
breaks a link. The rule mind reads what came to mind and never which faculties there are.
"""

from typing import Any

import numpy as np

from populace import Abstained, Context, Parameters, Society
from populace.scenarios import _smalltown_people as people
from populace.scenarios import _smalltown_rules as rules
from populace.scenarios._data import Count, Share
from populace.scenarios._smalltown_minds import SYSTEM, TEXTS, Remembering


class Dials(Parameters, frozen=True):
    """`recalled` is how many memories come to mind at once; `limit` the sum of importance past which one reflects.

    `slip` is the share of hours that are passed on wrong, `talkative` how often one who knows of news passes it on.
    `seeds` villagers know each piece of news at the start.
    """

    memory: bool = True
    planning: bool = True
    reflection: bool = True
    seeds: Count = 1
    recalled: Count = 3
    limit: float = 30.0
    slip: Share = 0.02
    talkative: Share = 0.2
    master: bool = False
    plausible: bool = True


class Villager(Remembering):
    """Lives by a routine, a plan and what comes to mind."""

    async def turn(self, ctx: Context) -> None:
        """Take in what was said, and by day plan, go, talk, reflect and be interviewed."""
        p, hour = ctx.parameters, ctx.seen["clock.hour"]
        said = [one for one in ctx.inbox if one.sender >= 0]
        heard = [*(self.told if ctx.tick == 0 else []), *((one.body["who"], one.body["say"]) for one in said)]
        place, here = await people.around(ctx)
        if p.memory:
            new = [one for one in dict.fromkeys(one.sender for one in said) if one not in self.met]
            self.met = [*self.met, *new]
            for one in new:
                ctx.act("network.follow", target=one)
        struck = await self.note(ctx, heard, place, here) if p.memory else False
        self.came = self.came or (place == "Barn" and ctx.seen["clock.weekday"] == "Tuesday" and 17 <= hour < 20)
        if 8 <= hour < 22:
            if hour in (8, 20):
                await self.answer(ctx, heard)
            await self.move(ctx, place, heard, replan=struck)
            if here:
                await self.talk(ctx, place, ctx.draw("partner").choice(here), heard)
            if p.reflection and p.memory and self.memory.reflection_due(p.limit):
                noted = await self.memory.reflect(ctx, who=self.persona, questions=1, insights=1)
                self.reflections += 0 if isinstance(noted, Abstained) else len(noted)

    async def move(self, ctx: Context, place: str, heard: list[tuple[str, str]], *, replan: bool) -> None:
        """Go where the plan says, or, without one, where one thinks of going."""
        p, hour, to = ctx.parameters, ctx.seen["clock.hour"], None
        if p.planning:
            if replan or self.planned != ctx.seen["clock.day"]:
                query = f"What is there to do on {ctx.seen['clock.weekday']}?"
                facts = {**self.facts(ctx, query, heard), **self.today(ctx), "sociable": self.sociable}
                wanted: dict[str, Any] = {"facts": facts, "system": SYSTEM, "purpose": "plan", "max_tokens": 300}
                day = await ctx.ask(TEXTS["plan"], rules.Day, **wanted)
                if not isinstance(day, Abstained):
                    self.plan, self.planned = people.plan_of(day), ctx.seen["clock.day"]
            step = self.plan.at(hour + 1.0)
            to = step.where if step else None
        else:
            facts = {**self.facts(ctx, f"I am at the {place}. What now?", heard), **self.today(ctx, place)}
            facts |= {"hour": hour + 1, "sociable": self.sociable}
            one = await ctx.ask(TEXTS["next"], rules.Next, facts=facts, system=SYSTEM, purpose="next")
            to = None if isinstance(one, Abstained) else one.where
        if to in rules.PLACES and to != place:
            ctx.act("master.attempt", text=f"go to the {to}") if p.master else ctx.act("city.go", place=to)
        elif p.master:
            facts = {name: ctx.seen[f"master.{name}"] for name in ("place", "things", "holds", "people")}
            facts |= {"persona": self.persona, "goods": list(TEXTS["goods"])}
            text = await ctx.ask(TEXTS["try"], facts=facts, system=SYSTEM, purpose="try")
            if not isinstance(text, Abstained) and text.strip():
                ctx.act("master.attempt", text=text[:500])

    async def talk(self, ctx: Context, place: str, other: int, heard: list[tuple[str, str]]) -> None:
        """Say something to somebody who is here."""
        partner = people.name_of(other)
        facts = self.facts(ctx, f"What can I tell {partner}?", heard)
        now = {name: ctx.seen[f"clock.{name}"] for name in ("weekday", "hour")}
        facts |= {**now, "place": place, "partner": partner, "slip": ctx.parameters.slip, "talkative": self.talkative}
        said = await ctx.ask(TEXTS["say"], facts=facts, system=SYSTEM, purpose="say", max_tokens=60)
        if not isinstance(said, Abstained) and said.strip():
            ctx.send(other, {"who": self.name, "say": said[:300]})


def share(field: str) -> Any:
    """An outcome: the share of villagers of whom a public field is true."""
    return lambda world: float(np.mean(world.columns[field]))


society = Society(
    name="smalltown",
    about="Villagers remember, reflect, plan and talk; word of a party and of a candidacy spreads, and some come.",
    agent=Villager,
    population=people.population,
    world=people.world,
    parameters=Dials(),
    rules=rules.RULES,
    size=25,
    ticks=37,
    tick_seconds=3600.0,
    outcomes={
        "knows_party": share("knows_party"),
        "knows_candidate": share("knows_candidate"),
        "came": share("came"),
        "density": people.density,
        "made_up": lambda world: float(np.sum(world.columns["made_up"]) / max(np.sum(world.columns["answers"]), 1)),
        "refused": lambda world: people.of_master(world, "refused"),
        "conflicts": lambda world: people.of_master(world, "conflicts"),
    },
)
