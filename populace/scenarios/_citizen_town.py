"""Where the citizens of `citizen` live: a population of respondents, a generated town, its market, and ties."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from populace import Population, Setup, World
from populace.env import City, Clock, Economy, Network, measures
from populace.scenarios._citizen_day import WORK_HOURS
from populace.scenarios._data import prompts, respondents


def _mean(column: str) -> Callable[[World], float]:
    return lambda world: float(np.mean(world.columns[column]))


OUTCOMES: Mapping[str, Callable[[World], float]] = {
    **{name: _mean(name) for name in ("fed", "company", "mood")},
    "attitude_variance": lambda world: measures.variance(world.columns["stance"]),
    "alike": lambda world: world.network.assortativity(world.columns["stance"]),
    "at_work": lambda world: world.city.share_at("work"),
    "shop_visits": lambda world: world.city.visits("shop"),
    "leisure_visits": lambda world: world.city.visits("leisure"),
    "unemployment": lambda world: world.economy.last("unemployment_rate"),
    "consumption_units": lambda world: world.economy.last("consumption_units", over=7) / world.agents,
}
"""Visits are of the day so far; consumption is a day's and a citizen's, on average over a week."""

ALIKE = ("age", "educ", "income", "PID")
RETIRED_AGE = 67
PEOPLE_A_FIRM = 50
TEXTS = prompts("citizen")


def population(setup: Setup) -> Population:
    """Respondents drawn with replacement; the liberal end starts in favour, the young rise late, some are retired."""
    return respondents(setup, TEXTS["profile"].strip()).adding(
        stance=lambda row: (4.0 - row["selfLR"]) / 3.0,
        rises=lambda row: 5 + int(row["age"] < 60) + int(row["age"] < 35) + int(row["educ"]) % 2,
        retired=lambda row: row["age"] >= RETIRED_AGE,
    )


def world(setup: Setup, people: Population) -> World:
    """A generated town, a market that clears at midnight, and ties among those who are alike.

    Amounts are of a plausible town and fitted to none; skill grows with schooling, what the wallet holds with income.
    """
    dials, alike = setup.parameters, {name: np.array(people[name]) for name in ALIKE}
    economy = Economy(
        firms=setup.agents // PEOPLE_A_FIRM + 1, month_ticks=24, full_hours=WORK_HOURS, most_hours=16.0,
        skill=0.6 + 0.1 * alike["educ"], wallet_cents=(20_000 + 4_000 * alike["income"]).astype(int),
        firm_cents=600_000, stock_units=4_000, inventory_months=2.0, brackets=[(0, 0.1)], interest_rate=0.0,
        loan_rate=0.0, separation_rate=0.001, dividend_share=0.3, transfer_to="retired",
        transfer_cents=dials.pension_cents, transfer_funding="flat",
    )  # fmt: skip
    degree = min(dials.mean_degree, setup.agents - 1)
    ties = Network.homophily(setup, alike, mean_degree=degree, strength=dials.homophily)
    return World(Clock(start="1996-09-02T00:00"), City.grid(setup, sees=("kind", "status")), economy, ties)
