"""The economy's months: conservation over random acts, acts and refusals, policy, firms as agents, births, exits."""

from __future__ import annotations

import numpy as np
import pytest
from support.env_support import look
from support.env_support import opened as world_of

from populace.core.errors import ScenarioError
from populace.env import Economy, LookFailed, World
from populace.env.economy import SERIES
from populace.env.economy.accounts import BANK, GOVERNMENT, KINDS
from verification.economy import act, opened, random_months


def economy_of(agents: int = 10, **values) -> tuple[World, Economy]:
    economy = Economy(**{"firms": 2, "separation_rate": 0.0, "employed": 1.0} | values)
    return opened(economy, agents), economy


def town(**values) -> tuple[World, Economy]:
    """Three households, then firms 3 and 4, who are agents."""
    economy = Economy("firm", "household", **{"separation_rate": 0.0, "employed": 0.0} | values)
    return opened(economy, 5, household=3, firm=2), economy


@pytest.mark.parametrize(("seed", "played"), [(11, False), (12, True)])
def test_random_months_keep_the_books_and_come_back_as_they_were(seed, played):
    for month, (world, economy) in enumerate(random_months(seed, 150, played)):
        assert sum(economy.accounts.cents.tolist()) == 0
        assert (economy.firms.stock >= 0).all()
        assert (economy.savings.cents >= 0).all()
        firms = economy.accounts.cents[economy.firms.account]
        assert (firms >= -economy.firm_credit_cents).all()
        assert economy.accounts.cents[BANK] >= economy.savings.total
        employer = economy.people.employer
        assert np.array_equal(np.bincount(employer[employer >= 0], minlength=3), economy.firms.workers)
        if month % 25 == 24:
            again = Economy("firm", "household") if played else Economy(3)
            other = opened(again, world.agents, seed, **({"household": 12, "firm": 3} if played else {}))
            other.restore(world.state())
            assert other.digests() == world.digests()
            assert np.array_equal(again.series("price_index"), economy.series("price_index"), equal_nan=True)


def test_a_change_that_is_not_noted_shows_in_the_digest():
    world, economy = economy_of()
    act(world, [])
    economy.people.skill[3] = 2.0  # noted nowhere
    other = opened(Economy(2), 10)
    other.restore(world.state())
    assert other.digests()["economy"] != world.digests()["economy"]


class Leaking(Economy):
    """Loses a cent of wages on the way: a broken economy."""

    def places(self, agents):
        if len(agents) and self.world.tick == 1:
            self.accounts.cents[-1] -= 1
        return super().places(agents)


def test_a_lost_cent_ends_the_run_with_the_kind_of_transaction():
    world = opened(Leaking(2, separation_rate=0.0), 4)
    rows = [(0, "work", {"hours": 100}), (0, "consume", {"cents": 10**6}), (1, "consume", {"cents": 10**6})]
    act(world, rows)
    with pytest.raises(ScenarioError, match="month 1: after 'wage' the accounts add up to -1 cents and not to 0"):
        act(world, rows)


def test_a_month_by_hand():
    world, economy = economy_of(
        2, firms=1, wage_cents=100.0, productivity=2.0, price_cents=50.0, stock_units=0, wallet_cents=1_000,
        firm_cents=50_000, brackets=[(0, 0.1)], rebate_share=0.0, dividend_share=0.0, price_speed=0.1,
    )  # fmt: skip
    assert not act(
        world, [(0, "work", {"hours": 100}), (0, "consume", {"cents": 2_525}), (1, "consume_share", {"share": 0.5})]
    )
    assert economy.accounts.agents.tolist() == [1_000 + 10_000 - 1_000 - 2_500, 500]
    assert economy.accounts.cents[GOVERNMENT] == 1_000
    assert economy.firms.stock[0] == 200 - 50 - 10
    assert economy.firms.price[0] == pytest.approx(50.0 * (1 + 0.1 * (60 - 200) / 200))
    seen = world.observe([0])[0]
    assert (seen["economy.income_cents"], seen["economy.spent_cents"], seen["economy.hours"]) == (9_000, 2_500, 100.0)
    figures = look(world, "economy.figures")
    assert set(figures) == set(SERIES)
    assert figures["consumption_cents"] == 3_000
    assert figures["saving_rate"] == pytest.approx(6_000 / 9_000)
    assert figures["price_index"] == 100.0
    assert figures["inflation_year"] is None


@pytest.mark.parametrize(
    ("rows", "reasons"),
    [
        ([(0, "work", {"hours": -1}), (0, "work", {}), (0, "work", {"hours": "8"})], ["bad_arguments"] * 3),
        ([(0, "consume", {"cents": bad}) for bad in (2.5, True, 10**30)], ["bad_arguments"] * 3),
        ([(0, "consume_share", {"share": float("nan")})], ["bad_arguments"]),
        ([(0, "save", {"cents": 600_000}), (0, "withdraw", {"cents": 1})], ["not_on_account", "not_saved"]),
        ([(0, "save", {"cents": 300_000}), (0, "save", {"cents": 300_000})], ["not_on_account"]),
        ([(0, "pay", {"to": 10, "cents": 1})], ["unknown_agent"]),
        ([(0, "pay", {"to": 1, "cents": 500_001})], ["not_on_account"]),
        ([(0, "buy_from", {"firm": 2, "cents": 5}), (0, "apply", {"firm": 2})], ["unknown_firm", "unknown_firm"]),
        ([(0, "set_price", {"cents": 5.0}), (0, "dismiss", {"agent": 1})], ["no_firm", "no_firm"]),
        ([(0, "month", {"hours": 1, "consume_cents": 1, "save_cents": 10**9, "search": 0})], ["not_on_account"]),
        ([(0, "month", {"hours": 1, "consume_cents": 1, "save_cents": 0})], ["bad_arguments"]),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_a_word(rows, reasons):
    world, _ = economy_of()
    assert act(world, rows) == reasons


def test_payments_go_one_after_another():
    world, economy = economy_of(3, wallet_cents=100, dividend_share=0.0)
    assert not act(world, [(0, "pay", {"to": 1, "cents": 100}), (1, "pay", {"to": 2, "cents": 200})])
    assert economy.accounts.agents.tolist() == [0, 0, 300]


def test_scarce_goods_are_shared_in_proportion_and_nobody_pays_for_what_it_has_not():
    world, economy = economy_of(4, firms=1, stock_units=30, productivity=0.0, price_cents=10.0, dividend_share=0.0)
    act(world, [(agent, "consume", {"cents": 100 * (1 + agent)}) for agent in range(4)])
    assert sorted(economy.people.bought.tolist()) == [3, 6, 9, 12]
    assert (economy.people.spent == 10 * economy.people.bought).all()
    assert economy.firms.demand[0] == 100


def test_a_household_goes_on_to_the_next_firm_where_the_cheaper_is_sold_out():
    world, economy = economy_of(1, firms=2, stock_units=3, price_cents=10.0, productivity=0.0, dividend_share=0.0)
    economy.firms.price[:] = [20.0, 10.0]
    act(world, [(0, "consume", {"cents": 100})])
    assert economy.firms.sold.tolist() == [3, 3]
    assert economy.people.spent[0] == 90


@pytest.mark.parametrize("funding", ["issue", "flat", "progressive", "debt"])
def test_a_transfer_is_funded_to_the_cent(funding):
    brackets = [(0, 0.0), (5_000, 0.5)]
    world, economy = economy_of(
        7, firms=1, wage_cents=100.0, skill=[1, 1, 1, 1, 1, 2, 3], transfer_cents=101, transfer_funding=funding,
        brackets=brackets, rebate_share=0.0, dividend_share=0.0,
    )  # fmt: skip
    act(world, [(agent, "work", {"hours": 33}) for agent in range(7)])
    moved = dict(zip(KINDS, economy.accounts.moved.tolist(), strict=True))
    assert moved["transfer"] == 707
    assert moved["issue"] == (707 if funding == "issue" else 0)
    assert moved["levy"] == (707 if funding in ("flat", "progressive") else 0)
    tax = moved["income_tax"]
    assert economy.accounts.cents[GOVERNMENT] == tax - (707 if funding == "debt" else 0)
    paid = 3_300 * np.array([1, 1, 1, 1, 1, 2, 3]) - np.maximum(economy.people.skill * 3_300 - 5_000, 0) / 2
    levied = paid + 101 - economy.people.income
    if funding == "progressive":
        assert levied[:5].tolist() == [0.0] * 5
        assert levied[5:] == pytest.approx([707 * 1_600 / 6_500, 707 * 4_900 / 6_500], abs=1)
    if funding == "flat":
        assert levied == pytest.approx(707 * np.array([1, 1, 1, 1, 1, 2, 3]) / 10, abs=1)


def test_a_levy_beyond_all_wages_is_debt():
    world, economy = economy_of(2, wage_cents=1.0, transfer_cents=1_000, transfer_funding="flat", dividend_share=0.0)
    act(world, [(0, "work", {"hours": 100})])
    assert economy.accounts.cents[GOVERNMENT] < -1_800
    assert economy.people.income.min() >= 1_000


@pytest.mark.parametrize(
    ("target", "given", "many"),
    [
        ("all", range(10), 10),
        ("poorest_fifth", [3, 7], 2),
        ("unemployed", [1, 4], 2),
        ("lowest_paid_fifth", [1, 2, 4, 9], 2),  # four have no wage: two of them, by lot
        ("mother", [5], 1),
    ],
)
def test_a_transfer_goes_to_whom_it_says(target, given, many):
    wallets = [5_000, 4_000, 4_500, 100, 4_600, 4_700, 4_800, 200, 4_900, 4_100]
    economy = Economy(2, wallet_cents=wallets, transfer_cents=50, transfer_to=target, separation_rate=0.0,
                      wage_cents=10.0, brackets=[], employed=1.0, dividend_share=0.0)  # fmt: skip
    world = world_of(10, economy, columns={"mother": np.arange(10) == 5}, fields={"mother": bool})
    economy.people.employer[[1, 4]] = -1
    workers = [0, 3, 5, 6, 7, 8]
    act(world, [(agent, "work", {"hours": 100}) for agent in workers])
    paid = np.flatnonzero(economy.people.income - 1_000 * np.isin(np.arange(10), workers)).tolist()
    assert len(paid) == many
    assert set(paid) <= set(given)


def test_a_target_that_there_is_not_says_which_there_are():
    with pytest.raises(ScenarioError, match="transfer_to = 'mothers': it is one of all, poorest_fifth"):
        economy_of(transfer_cents=5, transfer_to="mothers")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"firms": -1}, "firms=-1"),
        ({"wallet_cents": 1.5}, "wallet_cents=...*: whole cents"),
        ({"wallet_cents": [1, 2]}, "one for all or for each of 10"),
        ({"skill": -1.0}, "skill="),
        ({"price_speed": 2.0}, r"price_speed=2.0\): it is a number from 0 to 1"),
        ({"transfer_funding": "tax"}, "transfer_funding='tax'"),
        ({"brackets": [(5, 0.1), (1, 0.2)]}, "brackets"),
        ({"firms": "firm"}, "there is no type of agents 'firm'"),
    ],
)
def test_what_an_economy_cannot_be_is_told_with_its_name(values, said):
    with pytest.raises(ScenarioError, match=said):
        economy_of(**values)


def test_firms_that_agents_play():
    world, economy = town(price_cents=10.0, stock_units=5)
    acts = [
        (3, "set_price", {"cents": 7.5}), (3, "set_wage", {"cents": 120.0}), (3, "post_vacancies", {"count": 1}),
        (4, "set_wage", {"cents": 90.0}), (4, "post_vacancies", {"count": 5}),
        (0, "apply", {"firm": 3}), (1, "apply", {"firm": 3}), (0, "apply", {"firm": 4}), (1, "apply", {"firm": 4}),
        (2, "buy_from", {"firm": 3, "cents": 15}), (3, "work", {"hours": 8}), (2, "apply", {"firm": 0}),
    ]  # fmt: skip
    assert sorted(act(world, acts)) == ["no_household", "unknown_firm"]
    employer = [world.observe([agent])[0]["economy.employer"] for agent in range(3)]
    assert sorted(employer) == [-1, 3, 4]
    assert (economy.firms.price.tolist(), economy.firms.sold.tolist()) == ([7.5, 10.0], [2, 0])
    worker = employer.index(3)
    seen = world.observe([3])[0]
    assert (seen["economy.workers"], seen["economy.own_price_cents"], seen["economy.stock_units"]) == (1, 7.5, 3)
    assert act(world, [(4, "dismiss", {"agent": worker}), (3, "dismiss", {"agent": worker})]) == ["not_employed"]
    assert economy.people.employer[worker] == -1
    assert look(world, "economy.workers", firm=4) == [employer.index(4)]
    assert [one["firm"] for one in look(world, "economy.offers", n=1)] == [3]
    assert isinstance(look(world, "economy.firm", firm=0), LookFailed)
    assert act(world, [(3, "set_wage", {"cents": 50.0})]) == []
    economy.set_parameter("minimum_wage_cents", 100.0)
    assert act(world, [(3, "set_wage", {"cents": 50.0})]) == ["below_minimum"]
    assert economy.firms.wage.tolist() == [100.0, 100.0]


def test_births_and_exits_keep_the_books():
    world, economy = town()
    act(world, [(3, "post_vacancies", {"count": 3}), *((agent, "apply", {"firm": 3}) for agent in range(3))])
    applied = world.apply([])
    world.spawn("firm", {}, n=1)
    world.spawn("household", {}, n=1)
    world.retire([0, 3])
    world.finish(applied)
    assert sum(economy.accounts.cents.tolist()) == 0
    assert economy.people.employer.tolist() == [-1] * 7
    assert economy.accounts.agents[[0, 3, 5, 6]].tolist() == [0] * 4
    assert economy.households.tolist() == [1, 2, 6]
    refused = act(world, [(6, "apply", {"firm": 5}), (5, "post_vacancies", {"count": 1}), (6, "apply", {"firm": 3})])
    assert refused == ["unknown_firm"]
    assert economy.people.employer[6] == 2
    again = opened(Economy("firm", "household"), 5, household=3, firm=2)
    again.restore(world.state())
    assert again.digests() == world.digests()


def test_nothing_moves_where_nobody_acts():
    world, economy = economy_of(dividend_share=0.0)
    before = economy.accounts.cents.copy()
    act(world, [])
    assert np.array_equal(before, economy.accounts.cents)


def test_an_economy_without_firms_has_transfers_and_payments_alone():
    world, economy = economy_of(3, firms=0, transfer_cents=10, wallet_cents=5)
    for _ in range(14):
        rows = [(0, "work", {"hours": 5}), (0, "consume", {"cents": 5}), (0, "apply", {"firm": -1})]
        assert act(world, rows) == ["no_job"]
    assert economy.accounts.agents.tolist() == [145, 145, 145]
    assert economy.last("jobless_share") == 1.0
    assert look(world, "economy.offers") == []


def test_the_last_of_a_month_holds_for_hours_and_amounts_add_up():
    world, economy = economy_of(2, firms=1, price_cents=1.0, stock_units=1_000, dividend_share=0.0, brackets=[])
    rows = [(0, "work", {"hours": 9}), (0, "work", {"hours": 7})]
    rows += [(0, "consume", {"cents": 100}), (0, "consume", {"cents": 30}), (1, "consume_share", {"share": 0.1})]
    rows += [(1, "consume_share", {"share": 0.0005}), (1, "buy_from", {"firm": 0, "cents": 10})]
    assert not act(world, [*rows, (1, "buy_from", {"firm": 0, "cents": 5})])
    assert economy.people.hours.tolist() == [7.0, 0.0]
    assert economy.people.spent.tolist() == [130, 15 + 249]


def test_overdrafts_pay_interest_and_stop_at_the_limit():
    world, economy = economy_of(1, wallet_cents=0, credit_limit_cents=1_000, loan_rate=0.12, price_cents=1.0,
                                stock_units=5_000, firms=1, dividend_share=0.0, employed=0.0)  # fmt: skip
    act(world, [(0, "consume", {"cents": 900})])
    assert economy.accounts.agents[0] == -909
    act(world, [(0, "consume", {"cents": 900})])
    assert economy.accounts.agents[0] == -1_000
    economy.set_parameter("credit_limit_cents", 0)
    assert act(world, [(0, "consume", {"cents": 5}), (0, "pay", {"to": 0, "cents": 1})]) == ["not_on_account"]
    assert economy.accounts.agents[0] == -1_000
