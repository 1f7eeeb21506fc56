"""A month's end, step by step: work and pay, state, goods, dividends, interest, jobs, figures."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from populace.env.economy.accounts import BANK, CENTRAL_BANK, GOVERNMENT, KINDS
from populace.env.economy.goods import in_order, serve
from populace.env.economy.labour import dismissed, match, pay_roll
from populace.env.economy.policy import rebate, transfer
from populace.env.economy.sharing import Ints, distinct, share_evenly
from populace.env.economy.taxes import flat

if TYPE_CHECKING:
    from populace.env.economy.base import Holdings

YEAR = 12


def close(economy: Holdings, tick: int) -> None:
    """End the month `tick`."""
    busy = economy.people.begin_month()
    economy.accounts.touched[busy] = True
    economy.firms.begin_month()
    economy.firms.wage = np.maximum(economy.firms.wage, economy.minimum_wage_cents)
    wages, net = pay_wages(economy, tick)
    pay_state(economy, tick, wages, net)
    shop(economy, tick)
    pay_dividends(economy, tick)
    pay_interest(economy, tick)
    count(economy, seekers=move_jobs(economy, tick))
    economy.accounts.check("closing", tick)
    economy.savings.check(tick)
    economy.accounts.close()


def earn(economy: Holdings, ids: NDArray[np.integer], cents: Ints) -> None:
    """Count income (negative for what is taken off) to these different agents."""
    economy.people.income[ids] += cents


def pay_wages(economy: Holdings, tick: int) -> tuple[Ints, Ints]:
    """Firms pay the hours that were worked, and goods are made of them; gives gross and net wages by id, in cents."""
    people, firms = economy.people, economy.firms
    workers, hours = economy.pending.worked()
    at_work = people.employer[workers] >= 0
    workers, hours = workers[at_work], hours[at_work]
    at = people.employer[workers].astype(np.int64)
    skill = people.skill[workers].astype(float)
    funds = economy.accounts.cents[firms.account] + economy.firm_credit_cents
    pay, paid_hours = pay_roll(hours, firms.wage[at] * skill, at, funds, economy.words("pay_roll", workers))
    economy.accounts.transfer(
        "wage", firms.account[at], economy.places(workers), pay, overdraft=economy.firm_credit_cents
    )
    economy.accounts.check("wage", tick)
    tax = economy.schedule.tax(pay) + flat(pay, economy.flat_rate)
    tax = np.minimum(tax, pay)
    economy.accounts.transfer("income_tax", economy.places(workers), GOVERNMENT, tax, overdraft=None)
    economy.accounts.check("income_tax", tick)
    people.hours[workers] = paid_hours
    economy.accounts.touched[workers] = True
    earn(economy, workers, pay - tax)
    made = np.bincount(at, weights=paid_hours * skill, minlength=len(firms)).astype(np.float64) * economy.productivity
    firms.produce(made)
    gross, net = np.zeros(len(people.income), np.int64), np.zeros(len(people.income), np.int64)
    gross[workers], net[workers] = pay, pay - tax
    return gross, net


def pay_state(economy: Holdings, tick: int, wages: Ints, net: Ints) -> None:
    """The government gives taxes back, and transfers."""
    add = partial(earn, economy)
    rebate(economy, int(economy.accounts.month[KINDS.index("income_tax")]), add)
    economy.accounts.check("rebate", tick)
    transfer(economy, wages, net, add)
    economy.accounts.check("transfer", tick)


def shop(economy: Holdings, tick: int) -> None:
    """Households buy: first from firms that they named, then each from the cheapest of a few firms drawn by lot."""
    people, firms, accounts = economy.people, economy.firms, economy.accounts
    firms.offered[:] = firms.stock
    for named in (True, False):
        buyers, choices, budgets = _budgets(economy, named)
        for nth, choice in enumerate(choices):
            open_for = budgets >= firms.price[choice] - 1e-9
            who, where, most = buyers[open_for], choice[open_for], budgets[open_for]
            if not len(who):
                continue
            words = economy.words(f"goods{nth}{'' if named else 'd'}", who * np.int64(len(firms)) + where)
            trades = serve(firms, who, where, most, words)
            places = economy.places(trades.buyers)
            accounts.transfer(
                "purchase", places, firms.account[trades.firms], trades.cents, overdraft=economy.credit_limit_cents
            )
            accounts.check("purchase", tick)
            np.add.at(people.spent, trades.buyers, trades.cents)
            np.add.at(people.bought, trades.buyers, trades.units)
            if not named:
                budgets[np.searchsorted(buyers, trades.buyers)] -= trades.cents
    firms.spoil(economy.spoils)


def _budgets(economy: Holdings, named: bool) -> tuple[Ints, list[Ints], Ints]:
    """Who buys, at which firms one after another, and for how much at most (cents)."""
    firms, living = economy.firms, economy.firms.living
    room = economy.accounts.agents + economy.credit_limit_cents
    if named:
        buyers, choice, budgets = economy.pending.named()
        keep = firms.alive[choice]
        buyers, choice, budgets = buyers[keep], choice[keep], budgets[keep]
        order = np.lexsort((economy.words("orders", buyers * np.int64(len(firms)) + choice), buyers))
        buyers, choice, budgets = buyers[order], choice[order], budgets[order]
        return buyers, [choice], _within(buyers, budgets, room)
    buyers, budgets = economy.pending.budgets(economy.accounts.agents)
    budgets = np.minimum(budgets, np.maximum(room[buyers], 0))
    buyers, budgets = buyers[budgets > 0], budgets[budgets > 0]
    if not len(living) or not len(buyers):
        return buyers[:0], [], budgets[:0]
    drawn: list[Ints] = []
    for nth in range(min(economy.visits, len(living))):
        choice = (economy.words(f"shop{nth}", buyers) % np.uint64(len(living) - nth)).astype(np.int64)
        for earlier in np.sort(np.array(drawn), axis=0) if drawn else ():  # no firm twice
            choice += choice >= earlier
        drawn.append(choice)
    return buyers, in_order([living[one] for one in drawn], firms.price), budgets


def _within(buyers: Ints, budgets: Ints, room: Ints) -> Ints:
    """Budgets of buyers (sorted, some several times) cut to what each has, in their order."""
    before = np.cumsum(budgets) - budgets
    starts = np.flatnonzero(np.diff(buyers, prepend=-1))
    before -= np.repeat(before[starts], np.diff(starts, append=len(buyers)))
    within: Ints = np.clip(np.maximum(room[buyers], 0) - before, 0, budgets)
    return within


def pay_dividends(economy: Holdings, tick: int) -> None:
    """Firms pay out `dividend_share` of what they own beyond a month's wages, to all households in equal shares."""
    firms, ids = economy.firms, economy.households
    rows = firms.living
    places = np.maximum(firms.workers, firms.wanted)
    reserve = np.ceil(places * firms.wage * economy.full_hours).astype(np.int64)
    spare = np.maximum(economy.accounts.cents[firms.account] - reserve, 0)[rows]
    paid = np.floor(spare * economy.dividend_share).astype(np.int64)
    total = int(paid.sum())
    if total < len(ids) or not len(ids):
        return
    shares = share_evenly(total, len(ids), economy.word("dividend"))
    economy.accounts.transfer("dividend", firms.account[rows], economy.places(ids), paid, shares)
    economy.accounts.check("dividend", tick)
    earn(economy, ids, shares)


def pay_interest(economy: Holdings, tick: int) -> None:
    """Interest: on overdrafts each month; each twelfth month on savings and on the government's debt."""
    accounts, savings = economy.accounts, economy.savings
    rate = round(10_000 * economy.loan_rate)
    owing = accounts.first_firm + np.flatnonzero(accounts.cents[accounts.first_firm :] < 0)
    if rate and len(owing):
        own, ids = accounts.cents[owing], owing - accounts.first_agent
        home = ids >= 0
        home[home] &= economy.people.role[ids[home]] < 0
        limit = np.where(home, economy.credit_limit_cents, economy.firm_credit_cents)
        due = np.minimum(-own * rate // (YEAR * 10_000), np.maximum(own + limit, 0))
        accounts.transfer("loan_interest", owing, BANK, due, overdraft=None)
        earn(economy, ids[home], -due[home])
        accounts.check("loan_interest", tick)
    savings.index += round(10_000 * economy.interest_rate)
    due_now, rest = divmod(max(-int(accounts.cents[GOVERNMENT]), 0) * rate + economy.debt_due[1], YEAR * 10_000)
    economy.debt_due = (economy.debt_due[0] + due_now, rest)
    if (tick + 1) % YEAR:
        return
    accounts.transfer("debt_interest", GOVERNMENT, BANK, economy.debt_due[0], overdraft=None)
    economy.debt_due = (0, economy.debt_due[1])
    accounts.check("debt_interest", tick)
    savers, due = savings.due()
    savings.add(savers, due)
    accounts.month[KINDS.index("saving_interest")] += int(due.sum())
    accounts.touched[savers] = True
    earn(economy, savers, due)
    savings.check(tick)
    lent = savings.total - int(accounts.cents[BANK])
    if lent > 0:
        accounts.transfer("lent_to_bank", CENTRAL_BANK, BANK, lent)
        accounts.check("lent_to_bank", tick)
    surplus = int(accounts.cents[BANK]) - savings.total
    if surplus > 0:
        accounts.transfer("bank_surplus", BANK, GOVERNMENT, surplus)
        accounts.check("bank_surplus", tick)


def move_jobs(economy: Holdings, tick: int) -> int:
    """Who quits, loses a job and finds one, by lot; then prices and wages of the firms that nobody plays.

    Gives how many looked for a job and have none.
    """
    people, firms, pending = economy.people, economy.firms, economy.pending
    leaving = distinct(pending.quitting())
    people.leave_job(leaving, tick)
    if economy.separation_rate > 0:
        employed = np.flatnonzero(people.employer >= 0)
        lost = employed[economy.uniform("separation", employed) < economy.separation_rate]
        people.leave_job(lost, tick)
        economy.accounts.touched[lost] = True
    count_workers(economy)
    ruled = economy.ruled
    plan(economy, ruled)
    most = np.zeros(len(firms), np.int64)
    excess = np.maximum(firms.workers - firms.wanted, 0)
    most[ruled] = np.ceil(excess[ruled] * economy.dismissal_speed).astype(np.int64)
    out = dismissed(people.employer, most, lambda rows: economy.words("dismissal", rows))
    people.leave_job(out, tick)
    count_workers(economy)
    firms.vacancies[ruled] = np.maximum(firms.wanted - firms.workers, 0)[ruled]
    agents, wanted = pending.applications(np.flatnonzero(firms.alive & (firms.vacancies > 0)), firms.living, economy)
    pairs = agents * np.int64(max(len(firms), 1)) + wanted
    who, where, turned = match(
        agents, wanted, firms.vacancies, firms.wage, economy.words("hiring", pairs), economy.words("offers", pairs)
    )
    people.employer[who] = where
    np.subtract.at(firms.vacancies, where, 1)
    count_workers(economy)
    away = np.bincount(wanted[turned], minlength=len(firms))
    firms.move_prices(economy.price_speed, ruled)
    firms.move_wages(economy.wage_speed, firms.vacancies, away, economy.minimum_wage_cents, ruled)
    for rows in (leaving, out, who, agents):
        economy.accounts.touched[rows] = True
    return int((people.employer[distinct(agents)] < 0).sum())


def plan(economy: Holdings, ruled: Ints) -> None:
    """Let firms that nobody plays reckon with demand and the workers who meet it, as far as they can pay them."""
    firms = economy.firms
    firms.plan(economy.productivity * economy.full_hours, economy.inventory_months, economy.memory, ruled)
    funds = economy.accounts.cents[firms.account] + economy.firm_credit_cents
    payable = np.floor(np.maximum(funds, 0) / (firms.wage * economy.full_hours)).astype(np.int64)
    firms.wanted[ruled] = np.minimum(firms.wanted, payable)[ruled]


def count_workers(economy: Holdings) -> None:
    """Count how many each firm employs."""
    employer = economy.people.employer
    firms = economy.firms
    firms.workers[:] = np.bincount(employer[employer >= 0], minlength=len(firms))
    firms.wanted[firms.owner >= 0] = (firms.workers + firms.vacancies)[firms.owner >= 0]


def count(economy: Holdings, seekers: int) -> None:
    """Put the month's figures down."""
    firms, people, stats, month = economy.firms, economy.people, economy.statistics, economy.accounts.month
    ids = economy.households
    income = int(people.income[ids].sum())
    units, spent = int(firms.sold.sum()), int(firms.revenue.sum())
    price = spent / units if units else firms.mean_price()
    stats.base_price = stats.base_price or price
    base = stats.base_price or 1.0
    produced = int(firms.produced.sum())
    jobless = int((people.employer[ids] < 0).sum())
    households = max(len(ids), 1)
    force = households - jobless + seekers
    index = 100.0 * price / base
    before, year = stats.last("price_index") or math.nan, stats.last("price_index", YEAR - 1) or math.nan
    moved = dict(zip(KINDS, month.tolist(), strict=True))
    taxes = moved["income_tax"] + moved["levy"]
    stats.add(
        {
            "month": float(stats.months),
            "real_output": produced * base,
            "nominal_output": produced * price,
            "output_units": float(produced),
            "consumption_cents": float(spent),
            "consumption_units": float(units),
            "disposable_income_cents": float(income),
            "saving_cents": float(income - spent),
            "saving_rate": (income - spent) / income if income > 0 else float("nan"),
            "unemployment_rate": seekers / force if force else float("nan"),
            "jobless_share": jobless / households,
            "hours": float(people.hours[ids].astype(float).sum() / households),
            "wage_cents": firms.mean_wage(),
            "price_cents": price,
            "price_index": index,
            "inflation_month": index / before - 1.0,
            "inflation_year": index / year - 1.0,
            "vacancies": float(firms.vacancies.sum()),
            "stock_units": float(firms.stock.sum()),
            "tax_cents": float(taxes),
            "transfer_cents": float(moved["transfer"]),
            "government_balance_cents": float(
                taxes + moved["bank_surplus"] - moved["transfer"] - moved["rebate"] - moved["debt_interest"]
            ),
            "government_debt_cents": float(max(-int(economy.accounts.cents[GOVERNMENT]), 0)),
            "money_cents": float(economy.accounts.issued),
        }
    )
