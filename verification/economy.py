"""The economy against arithmetic and theory: conservation, taxes, interest, market clearing, fairness."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from populace.core.draws import Draws
from populace.env import Action, Economy, Opening, World
from populace.env.economy import US_2019, BooksDoNotBalance, Schedule
from populace.env.economy.accounts import ISSUES, KINDS
from verification.verdicts import Verdict, check

Row = tuple[int, str, dict[str, Any]]

HOUSEHOLDS = 12
FUNDINGS = ("issue", "flat", "progressive", "debt")
TARGETS = ("all", "poorest_fifth", "lowest_paid_fifth", "unemployed")


def opened(economy: Economy, agents: int, seed: int = 1, **counts: int) -> World:
    """A world of this economy alone."""
    world = World(economy)
    given = {"columns": {of: {} for of in counts}, "fields": {of: {} for of in counts}, "counts": counts}
    typed = given if counts else {"columns": {}}
    world.open(Opening(agents=agents, seed=seed, tick_seconds=1.0, parameters=None, draw=Draws(seed), **typed))
    return world


def act(world: World, rows: list[Row]) -> list[str]:
    """Take these acts, in this order, and end the month; gives why acts were refused."""
    done = [Action(agent, nth, f"economy.{kind}", args) for nth, (agent, kind, args) in enumerate(rows)]
    return [reason for _, reason in world.resolve(done, digests=True).refused]


def random_acts(draw: np.random.Generator, households: range, firms: list[int], players: bool) -> list[Row]:
    """Any acts of any agents, sensible and not: amounts of all sizes, wrong types, strangers."""
    rows: list[Row] = []

    def cents() -> Any:
        return [0, int(draw.integers(1, 1000)), int(draw.integers(10**5, 10**7)), 10**13, -5, 2.5][draw.integers(6)]

    everyone = len(households) + (len(firms) if players else 0)
    for agent in range(everyone):
        for _ in range(draw.integers(4)):
            firm = [*firms, -1, 10**6][draw.integers(len(firms) + 2)]
            choice: list[tuple[str, dict[str, Any]]] = [
                ("work", {"hours": [168, 40.5, 0, -1, 10**6][draw.integers(5)]}),
                ("consume", {"cents": cents()}),
                ("consume_share", {"share": float(draw.random() * 1.1)}),
                ("buy_from", {"firm": firm, "cents": cents()}),
                ("apply", {"firm": firm}),
                ("resign", {}) if draw.random() < 0.1 else ("work", {"hours": 120.0}),
                ("save", {"cents": cents()}),
                ("withdraw", {"cents": cents()}),
                ("pay", {"to": int(draw.integers(everyone + 1)), "cents": cents()}),
                ("month", {"hours": 100.0, "consume_cents": cents(), "save_cents": cents(), "search": 1}),
                ("set_price", {"cents": float(draw.random() * 300)}),
                ("set_wage", {"cents": float(draw.random() * 300)}),
                ("post_vacancies", {"count": int(draw.integers(4))}),
                ("dismiss", {"agent": int(draw.integers(everyone))}),
            ]
            rows.append((agent, *choice[draw.integers(len(choice))]))
    return [rows[at] for at in draw.permutation(len(rows))]


def random_months(seed: int, months: int, played: bool) -> Iterator[tuple[World, Economy]]:
    """An economy whose agents act at random and whose state is set at random; yields after each month."""
    draw = np.random.default_rng(seed)
    start = {"wallet_cents": 3_000, "firm_cents": 4_000_000, "wage_cents": 300.0, "stock_units": 50,
             "firm_credit_cents": 1_000}  # fmt: skip
    if played:
        economy = Economy(firms="firm", households="household", **start)  # type: ignore[arg-type]
        world = opened(economy, 3 + HOUSEHOLDS, seed, household=HOUSEHOLDS, firm=3)
        firms = [HOUSEHOLDS, HOUSEHOLDS + 1, HOUSEHOLDS + 2]
    else:
        economy = Economy(firms=3, **start)  # type: ignore[arg-type]
        world, firms = opened(economy, HOUSEHOLDS, seed), [0, 1, 2]
    for month in range(months):
        if draw.random() < 0.2 or not month:
            levers = {
                "transfer_cents": int(draw.integers(0, 5_000)),
                "transfer_to": TARGETS[draw.integers(4)],
                "transfer_funding": FUNDINGS[draw.integers(4)],
                "credit_limit_cents": int(draw.integers(0, 20_000)),
                "interest_rate": float(draw.random() / 4),
                "spoils": float(draw.random()),
                "dividend_share": float(draw.random() / 10),
                "separation_rate": float(draw.random() / 10),
                "rebate_share": float(draw.random()),
            }
            for name in levers:
                if draw.random() < 0.5 or not month:
                    economy.set_parameter(name, levers[name])
        act(world, random_acts(draw, range(HOUSEHOLDS), firms, played))
        yield world, economy


@check("economy: not a cent is made or lost")
def conservation(full: bool) -> list[Verdict]:
    """Random acts under random policies: accounts add up to zero, all money was issued, stocks and savings exist."""
    months = 10_000 if full else 100
    off = unissued = negative = unbalanced = 0
    lots = dict.fromkeys(("purchase", "wage", "transfer", "levy", "dividend", "saving_interest", "pay"), 0)
    lives = max(months // 250, 2)
    for life in range(lives):
        try:
            for _, economy in random_months(1 + life, months // lives, life % 2 == 1):
                accounts = economy.accounts
                off += abs(sum(accounts.cents.tolist()))
                off += abs(sum(economy.savings.cents.tolist()) - economy.savings.total)
                recorded = sum(int(accounts.moved[KINDS.index(kind)]) for kind in ISSUES)
                unissued += abs(accounts.issued - recorded)
                negative += int((economy.firms.stock < 0).sum() + (economy.savings.cents < 0).sum())
                negative += int(accounts.cents[2] < economy.savings.total)
            for name in lots:
                lots[name] += int(economy.accounts.moved[KINDS.index(name)])
        except Exception as error:
            if not isinstance(error.__cause__, BooksDoNotBalance):
                raise
            unbalanced += 1
    source = f"identity, over {months} random months"
    return [
        Verdict("cents that accounts are off", off, 0, 0, source),
        Verdict("cents that nobody issued", unissued, 0, 0, source),
        Verdict("negative stocks and savings, bank short of savings", negative, 0, 0, source),
        Verdict("months stopped by the part's own check", unbalanced, 0, 0, source),
        Verdict("kinds of transaction that never took place", sum(not one for one in lots.values()), 0, 0, source),
    ]


def plain_tax(income: int, brackets: list[tuple[int, int]]) -> int:
    """The tax slice by slice, in whole fractions; rates in basis points."""
    due = Fraction(0)
    for at, (start, points) in enumerate(brackets):
        end = brackets[at + 1][0] if at + 1 < len(brackets) else income
        due += Fraction(points, 10_000) * max(0, min(income, end) - start)
    return int(due)


@check("economy: progressive tax")
def taxes(full: bool) -> list[Verdict]:
    """The schedule in columns against slices in fractions, on random incomes and on those at the thresholds."""
    draw = np.random.default_rng(3)
    wrong = 0
    for trial in range(200 if full else 10):
        starts = np.sort(draw.choice(10**6, size=draw.integers(1, 9), replace=False))
        rows = [(int(start), int(draw.integers(0, 10_001))) for start in starts]
        brackets = [(start, points / 10_000) for start, points in rows] if trial else list(US_2019)
        if not trial:
            rows = [(round(start), round(10_000 * rate)) for start, rate in US_2019]
        around = [start + step for start, _ in rows for step in (-1, 0, 1) if start + step >= 0]
        incomes = np.array([*draw.integers(0, 2 * 10**6, 500), *around, 10**12], np.int64)
        found = Schedule(brackets).tax(incomes).tolist()
        wrong += sum(one != plain_tax(income, rows) for one, income in zip(found, incomes.tolist(), strict=True))
    return [Verdict("incomes taxed otherwise", wrong, 0, 0, "marginal rates on slices, in fractions")]


@check("economy: compound interest")
def interest(full: bool) -> list[Verdict]:
    """Savings left alone for years, against whole-number recursion and the continuous formula."""
    years, saved, rate = (30 if full else 5), 1_234_567, 0.0375
    economy = Economy(firms=1, interest_rate=rate, wallet_cents=saved, separation_rate=0.0)
    world = opened(economy, 2)
    act(world, [(0, "save", {"cents": saved})])
    for _ in range(12 * years - 1):
        act(world, [])
    plain, rest = saved, 0
    for _ in range(years):
        rest += plain * 375 * 12
        plain, rest = plain + rest // 120_000, rest % 120_000
    found = float(economy.savings.cents[0])
    return [
        Verdict(f"cents after {years} years", found, float(plain), 0, "whole cents each year, the rest kept"),
        Verdict("the same, in continuous money", found, saved * (1 + rate) ** years, years, "s (1 + r)^n"),
    ]


def clearing_price(months: int, start: float) -> float:
    """Where the price comes to rest: 10 households demand (600 - 2 p) / 10 units each and work for 200 + 2 p in all."""
    economy = Economy(firms=1, visits=1, price_cents=start, wage_cents=1.0, productivity=1.0, spoils=1.0, brackets=[],
                      stock_units=0, separation_rate=0.0, dismissal_speed=0.0, employed=1.0, wallet_cents=10**9,
                      firm_cents=10**9, price_speed=0.1)  # fmt: skip
    world, kept = opened(economy, 10), []
    for month in range(months):
        price = float(economy.firms.price[0])
        budget, hours = int(price * max(600 - 2 * price, 0) / 10), (200 + 2 * price) / 10
        rows: list[Row] = []
        for agent in range(10):
            rows += [(agent, "consume", {"cents": budget}), (agent, "work", {"hours": min(hours, 300.0)})]
        act(world, rows)
        if month >= months - 20:
            kept.append(price)
    return float(np.mean(kept))


@check("economy: prices clear the market")
def clearing(full: bool) -> list[Verdict]:
    """Linear demand D = 600 - 2 p and supply S = 200 + 2 p meet at p = 100, from below and from above."""
    months = 400 if full else 100
    source = "D(p) = S(p) at p = (600 - 200) / (2 + 2)"
    return [Verdict(f"price from {start:g}", clearing_price(months, start), 100, 3, source) for start in (40, 220)]


@check("economy: nobody's id matters")
def fairness(full: bool) -> list[Verdict]:
    """What the lower half of ids gets of scarce goods and jobs that all want alike."""
    months, agents = (2_000 if full else 150), 20
    bought = hired = jobs = 0
    economy = Economy(firms=1, visits=1, price_cents=1.0, stock_units=7, productivity=0.0, price_speed=0.0,
                      employed=0.0, wallet_cents=10**9, inventory_months=0.0, memory=1.0)  # fmt: skip
    world = opened(economy, agents)
    for _ in range(months):
        economy.firms.stock[:], economy.firms.wanted[:] = 7, 3
        economy.firms.expected[:] = 0
        act(world, [(agent, "consume", {"cents": 1}) for agent in range(agents)])
        bought += int(economy.people.bought[: agents // 2].sum())
    employer = Economy(firms="firm", households="household", employed=0.0, separation_rate=0.0)
    world = opened(employer, agents + 1, household=agents, firm=1)
    for _ in range(months // 2):
        rows: list[Row] = [(agents, "post_vacancies", {"count": 3})]
        act(world, rows + [(agent, "apply", {"firm": -1}) for agent in range(agents)])
        working = np.flatnonzero(employer.people.employer[:agents] >= 0)
        hired, jobs = hired + int((working < agents // 2).sum()), jobs + len(working)
        act(world, [(int(agent), "resign", {}) for agent in working])
    within = 4 * 0.5 / np.sqrt(np.array([7 * months, max(jobs, 1)]))
    return [
        Verdict("their share of goods", bought / (7 * months), 0.5, within[0], "one half, four standard errors"),
        Verdict("their share of jobs", hired / max(jobs, 1), 0.5, within[1], "one half, four standard errors"),
    ]
