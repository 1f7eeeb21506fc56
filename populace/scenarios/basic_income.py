"""Households work, spend and save, month by month; from some month on the state pays all of them. After AgentSociety.

Households are tax units of the Current Population Survey, their skill is what they earned. In each month a household
says how much it works and what it spends; twice a year it answers the CES-D, and at the end it says what it thinks of
the policy. The paper is arXiv:2502.08691. Arms are levers on the part, such as
`at=96, set={"world.economy.transfer_cents"=100000, "world.economy.transfer_funding"="flat"}`.

The check is of theory: saving for a buffer, an income effect on hours, distress by strain and the loss of work. Prices
follow excess demand, so that they may eat what a transfer gives: no rule is told the policy.
"""

from typing import Any

import numpy as np

from populace import (
    Abstained,
    Agent,
    Choice,
    Context,
    Parameters,
    Population,
    Public,
    Setup,
    Society,
    World,
    read_table,
)
from populace.env import Economy
from populace.probes import CESD10
from populace.scenarios import _basic_income_rules as rules
from populace.scenarios._data import Count, prompts

TEXTS = prompts("basic_income")
SYSTEM = TEXTS["system"].strip()
ITEMS = "\n".join(f"{item.name}: {item.text}" for item in CESD10.items)
FULL_HOURS, MOST_HOURS = 168.0, 300.0
"""What firms count as full time in a month, and the most that one can work."""


class Dials(Parameters, frozen=True):
    """`firms` act by the part's rules. The CES-D is asked every `mood_every` months, the interview is in `interview`.

    A household gets used to another income in about `memory_months`. Skills are as unequal as wages, between
    `least_skill` and `most_skill` of the mean. It begins with `months_saved` months of a full wage on its account.
    """

    firms: Count = 5
    mood_every: Count = 6
    interview: int = 119
    memory_months: float = 12.0
    months_saved: float = 1.5
    least_skill: float = 0.3
    most_skill: float = 4.0


class Household(Agent):
    """A tax unit; `distress` is its score of the CES-D with ten items (0 to 30, -1: not asked yet)."""

    profile: str
    temper: float
    households: int
    usual_usd: float = -1.0
    distress: Public[float] = -1.0
    opinion: Public[str] = ""

    async def turn(self, ctx: Context) -> None:
        """Work and spend; be asked."""
        seen = {name.removeprefix("economy."): ctx.seen[name] for name in ctx.seen}
        has_job, wage = seen["employer"] >= 0, seen["wage_cents"] / 100.0
        income = seen["income_cents"] / 100.0
        if self.usual_usd < 0.0:
            income = self.usual_usd = FULL_HOURS * wage if has_job else 1_000.0
        elif ctx.tick > 0:
            self.usual_usd += (income - self.usual_usd) / ctx.parameters.memory_months
        wealth = (seen["wallet_cents"] + seen["savings_cents"]) / 100.0
        inflation = round(100.0 * seen["inflation_year"], 1)
        about = {
            "profile": self.profile, "job": "employed" if has_job else "none", "usual_usd": round(self.usual_usd, 2),
            "wealth_usd": round(wealth, 2),
        }  # fmt: skip
        await self.live(ctx, about, seen, income, inflation)
        if (ctx.tick + 1) % ctx.parameters.mood_every == 0:
            facts = {**about, "temper": self.temper, "items": ITEMS}
            answer = await ctx.ask(TEXTS["mood"], rules.Mood, facts=facts, system=SYSTEM, purpose="mood")
            if not isinstance(answer, Abstained):
                said = {name: getattr(answer, name) for name in CESD10.item_names}
                self.distress = float(CESD10.score(said)["depression"][0])
        if ctx.tick == ctx.parameters.interview:
            await self.say(ctx, inflation)

    async def live(
        self, ctx: Context, about: dict[str, Any], seen: dict[str, Any], income: float, inflation: float
    ) -> None:
        """A month of work and of spending; who has no job looks for one."""
        has_job, wage = about["job"] == "employed", seen["wage_cents"] / 100.0
        facts = {
            **about, "wage_usd": round(wage, 2), "hours": round(seen["hours"], 1), "full": FULL_HOURS,
            "income_usd": round(income, 2), "unearned_usd": round(max(0.0, income - wage * seen["hours"]), 2),
            "price_usd": round(seen["price_cents"] / 100.0, 4), "inflation": inflation,
        }  # fmt: skip
        if ctx.tick == 0:
            facts["unearned_usd"] = 0.0
        answer = await ctx.ask(TEXTS["month"], rules.Month, facts=facts, system=SYSTEM, purpose="month")
        if not isinstance(answer, Abstained):
            if has_job:
                ctx.act("economy.work", hours=float(min(MOST_HOURS, max(0.0, answer.hours))))
            ctx.act("economy.consume", cents=round(100.0 * min(1e9, max(0.0, answer.spend_usd))))
        if not has_job:
            ctx.act("economy.apply", firm=-1)

    async def say(self, ctx: Context, inflation: float) -> None:
        """What it thinks of the policy."""
        figures = await ctx.look("economy.figures")
        mean = (figures["disposable_income_cents"] or 0.0) / 100.0 / self.households
        facts = {
            "profile": self.profile, "usual_usd": round(self.usual_usd, 2), "mean_usd": round(mean, 2),
            "inflation": inflation, "transfer_usd": round(ctx.seen["economy.transfer_cents"] / 100.0, 2),
        }  # fmt: skip
        labels = Choice("support", "oppose")
        answer = await ctx.ask(TEXTS["opinion"], labels, facts=facts, system=SYSTEM, purpose="opinion")
        self.opinion = "" if isinstance(answer, Abstained) else answer.label


def population(setup: Setup) -> Population:
    """Tax units with a head of working age who earns, drawn by their weights; temper by lot."""
    table = read_table("cps_tax_units")
    fits = [18 <= age < 65 and wages > 0 for age, wages in zip(table["age"], table["wages_usd"], strict=True)]
    units = {name: [one for one, fit in zip(column, fits, strict=True) if fit] for name, column in table.items()}
    lot = setup.draw("temper")
    drawn = Population.sample(units, setup.agents, setup.draw("households"), weights="weight", extra=units)
    return drawn.adding(
        profile=lambda row: (
            TEXTS["profile"].strip().format(**{key: row[key] for key in ("people", "age", "wages_usd")})
        ),
        temper=lambda row: round(min(1.0, max(0.0, lot.normal(0.5, 0.2))), 2),
        households=lambda row: setup.agents,
    )


def world(setup: Setup, people: Population) -> World:
    """An economy in which skill is what a unit earned, relative to the mean."""
    dials, wages = setup.parameters, np.array(people["wages_usd"], float)
    skill = np.clip(wages / wages.mean(), dials.least_skill, dials.most_skill)
    wallets = np.round(dials.months_saved * FULL_HOURS * 2_000.0 * skill).astype(np.int64)
    return World(Economy(dials.firms, wallet_cents=wallets, skill=skill, full_hours=FULL_HOURS, most_hours=MOST_HOURS))


def distress(world: World) -> float:
    """The mean score of those who were asked; NaN before."""
    scores = world.columns["distress"]
    return float(scores[scores >= 0.0].mean()) if (scores >= 0.0).any() else float("nan")


def support(world: World) -> float:
    """The share who support the policy, of those asked; NaN before the interview."""
    said = np.array(world.columns["opinion"])
    return float(np.mean(said[said != ""] == "support")) if (said != "").any() else float("nan")


society = Society(
    name="basic_income",
    about="Households work, spend and save in an economy with five firms; from some month on the state pays them.",
    agent=Household,
    population=population,
    world=world,
    parameters=Dials(),
    rules=rules.RULES,
    outcomes={
        "consumption_units": lambda world: world.economy.last("consumption_units"),
        "consumption_two_years": lambda world: world.economy.last("consumption_units", over=24),
        "output_two_years": lambda world: world.economy.last("output_units", over=24),
        "hours": lambda world: world.economy.last("hours", over=24),
        "price_index": lambda world: world.economy.last("price_index"),
        "saving_rate": lambda world: world.economy.last("saving_rate", over=24),
        "jobless_share": lambda world: world.economy.last("jobless_share", over=24),
        "distress": distress,
        "support": support,
        "wealth_gini": lambda world: world.economy.gini(),
    },
    size=100,
    ticks=120,
    tick_seconds=30.4375 * 86_400.0,
)
