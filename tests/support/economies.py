"""A small society on the economy: households who save against bad times, with firms by rule or as agents."""

from __future__ import annotations

from typing import Any

import msgspec

from populace import Abstained, Agent, ColumnarAgent, Parameters, Population, Public, Setup, Society, World
from populace.env import Economy


class Dials(Parameters):
    """`buffer`: months of income that a household wants in its wallet; `transfer_cents` from the first month on."""

    buffer: float = 3.0
    transfer_cents: int = 0


class Plan(msgspec.Struct):
    hours: int
    spend_cents: int


class Household(Agent):
    """Asks how much to work and to spend, once a month."""

    wallet: Public[int] = 0
    spent: Public[int] = 0
    strain: Public[float] = 0.0

    async def turn(self, ctx: Any) -> None:
        seen = {name.partition(".")[2]: value for name, value in ctx.seen.items()}
        self.wallet, self.spent = seen["wallet_cents"], seen["spent_cents"]
        self.strain = float(seen["months_jobless"] > 0) + float(self.wallet < seen["price_cents"] * 1_000)
        facts = {"wallet": seen["wallet_cents"], "wage": round(seen["wage_cents"]), "income": seen["income_cents"],
                 "price": round(seen["price_cents"], 2), "months": ctx.parameters.buffer}  # fmt: skip
        prompt = (
            "You own {wallet} cents and earn {wage} an hour; last month you had {income}, and goods cost {price}. You "
            "want {months} months of income as a buffer. How many hours do you work, and how much do you spend?"
        )
        plan = await ctx.ask(prompt, Plan, facts=facts, purpose="month")
        if isinstance(plan, Abstained):
            return
        if seen["employer"] >= 0:
            ctx.act("economy.work", hours=max(0, min(plan.hours, 200)))
        else:
            ctx.act("economy.apply", firm=-1)
        ctx.act("economy.consume", cents=max(0, min(plan.spend_cents, 10**9)))


class Firm(Agent):
    """Raises its price by what was asked for beyond its stock, and hires for what it sells."""

    async def turn(self, ctx: Any) -> None:
        seen = {name.partition(".")[2]: value for name, value in ctx.seen.items()}
        demand, stock = seen["demand_units"], max(seen["stock_units"], 1)
        if ctx.tick:
            step = 1.05 if demand > seen["sold_units"] else 0.97 if stock > demand else 1.0
            ctx.act("economy.set_price", cents=max(1.0, seen["own_price_cents"] * step))
        wanted = int(demand / (20 * 168)) + 1
        ctx.act("economy.post_vacancies", count=max(0, wanted - seen["workers"]))
        ctx.act("economy.set_wage", cents=1_500.0)


class Saver(ColumnarAgent):
    """The household's rule in columns."""

    spent: Public[int] = 0

    def turns(self, ctx: Any) -> None:
        self.spent = ctx.seen["economy.spent_cents"]
        wallet, income = ctx.seen["economy.wallet_cents"], ctx.seen["economy.income_cents"]
        spend = (income + 0.2 * (wallet - 3 * income)).clip(0, 10**9).astype("int64")
        jobless = ctx.seen["economy.employer"] < 0
        ctx.act("economy.month", hours=168.0, consume_cents=spend, save_cents=0, search=jobless.astype("int64"))


def buffer_stock(facts: dict[str, Any], draw: Any) -> Plan:
    """Carroll (1997), in whole cents: spend income, and a fifth of what the wallet holds beyond the buffer."""
    income = facts["income"] or 200_000
    beyond = facts["wallet"] - facts["months"] * income
    spend = max(0, min(facts["wallet"], int(income + 0.2 * beyond)))
    return Plan(hours=168 if facts["wallet"] < 20 * income else 84, spend_cents=spend)


def figure(name: str) -> Any:
    return lambda world: world.economy.last(name)


OUTCOMES = {
    "output": figure("real_output"),
    "consumption": figure("consumption_units"),
    "price": figure("price_index"),
    "jobless": figure("jobless_share"),
    "hours": figure("hours"),
    "money": figure("money_cents"),
    "transfer": figure("transfer_cents"),
    "gini": lambda world: world.economy.gini(),
    "sum_of_accounts": lambda world: float(world.economy.accounts.cents.sum()),
}


def world(setup: Setup, people: Any) -> World:
    return World(Economy(firms=5, transfer_cents=setup.parameters.transfer_cents))


def played_world(setup: Setup, people: Any) -> World:
    return World(Economy(firms="firm", households="household", wage_cents=1_500.0))


ruled = Society(
    name="ruled_economy", agent=Household, population=lambda setup: Population({"wallet": [0] * setup.agents}),
    world=world, parameters=Dials(), rules={"month": buffer_stock}, outcomes=OUTCOMES, size=20, ticks=8,
)  # fmt: skip
played = Society(
    name="played_economy", types={"household": Household, "firm": Firm}, population=lambda setup: {},
    world=played_world, parameters=Dials(), rules={"month": buffer_stock}, outcomes=OUTCOMES,
    size={"household": 20, "firm": 3}, ticks=8,
)  # fmt: skip
columns = Society(
    name="economy_in_columns", agent=Saver, population=lambda setup: Population.of_defaults(setup.agents), world=world,
    parameters=Dials(), outcomes=OUTCOMES, size=60, ticks=6,
)  # fmt: skip
