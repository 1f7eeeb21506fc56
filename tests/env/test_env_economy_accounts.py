"""Accounts and shares of the economy: two sides of everything, issuers, bounds, and no cent lost in a division."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from populace.core.draws import words
from populace.core.errors import ScenarioError
from populace.env.economy import US_2019, Accounts, BooksDoNotBalance, Savings, Schedule, flat, gini
from populace.env.economy.accounts import BANK, CENTRAL_BANK, GOVERNMENT, MOST_BALANCE
from populace.env.economy.labour import dismissed, match, pay_roll
from populace.env.economy.sharing import distinct, lowest, pick, share_evenly, share_out

WEIGHTS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 10**12)), min_size=1, max_size=12)


def lot(n: int, purpose: str = "lot") -> np.ndarray:
    return words(1, 0, purpose, np.arange(n))


def accounts(agents: int = 3) -> Accounts:
    made = Accounts(2, agents)
    made.transfer("endowment", CENTRAL_BANK, np.arange(1, len(made.cents)), 100)
    return made


def test_what_one_pays_the_other_gets_and_both_are_on_record():
    books = accounts()
    first = books.first_agent
    books.transfer(
        "pay", np.array([first, first, first + 1]), np.array([first + 1, BANK, BANK]), np.array([30, 20, 130])
    )
    assert books.agents.tolist() == [50, 0, 100]
    assert books.cents[BANK] == 250
    assert books.cents.sum() == 0
    assert books.issued == 700
    books.check("pay", 3)
    assert books.month[3] == 180
    books.close()
    assert books.moved[3] == 180


def test_many_pay_many_only_where_the_sides_agree():
    books = accounts()
    books.transfer("dividend", np.array([3, 4]), np.array([5, 6, 7]), np.array([50, 41]), np.array([31, 30, 30]))
    assert books.cents[3:].tolist() == [50, 59, 131, 130, 130]
    with pytest.raises(BooksDoNotBalance, match="'dividend': 9 cents are paid and 10 received"):
        books.transfer("dividend", np.array([3, 4]), np.array([5, 6]), np.array([5, 4]), np.array([5, 5]))
    assert books.cents.sum() == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda books: books.transfer("wage", CENTRAL_BANK, 5, 1), "'wage' would issue money: only endowment, issue"),
        (lambda books: books.transfer("wage", 3, 5, -1), "'wage': an amount of -1 cents"),
        (lambda books: books.transfer("wage", 3, 5, 1.5), "'wage': amounts are whole cents"),
        (lambda books: books.transfer("wage", 3, 5, 101), "'wage' left the account of firm 0 at -1 cents"),
        (lambda books: books.transfer("pay", np.array([5, 6]), 3, 101), "'pay' left the account of agent 0"),
        (lambda books: books.transfer("issue", CENTRAL_BANK, GOVERNMENT, 2**61), r"2\*\*61"),
        (lambda books: books.transfer("issue", CENTRAL_BANK, np.arange(1, 8), 2**60), r"2\*\*61"),
        (
            lambda books: [books.transfer("issue", CENTRAL_BANK, 1, 2**60) for _ in range(3)],
            r"2\*\*61 cents were issued",
        ),
    ],
)
def test_what_cannot_be_names_its_kind(call, said):
    with pytest.raises(BooksDoNotBalance, match=said):
        call(accounts())


def test_an_overdraft_goes_as_far_as_its_limit():
    books = accounts()
    books.transfer("purchase", 5, 3, 150, overdraft=50)
    with pytest.raises(BooksDoNotBalance, match="'purchase' left the account of agent 0 at -51"):
        books.transfer("purchase", 5, 3, 1, overdraft=50)


def test_one_side_alone_is_found_and_so_is_what_would_overflow():
    books = accounts()
    books.cents[5] += 1
    with pytest.raises(BooksDoNotBalance, match="month 8: after 'wage' the accounts add up to 1 cents"):
        books.check("wage", 8)
    books = accounts()
    books.transfer("issue", CENTRAL_BANK, 5, MOST_BALANCE)
    with pytest.raises(BooksDoNotBalance, match="after 'issue' the account of agent 0 holds"):
        books.check("issue", 1)
    books = accounts()
    for _ in range(2):
        books.transfer("transfer", GOVERNMENT, BANK, 2**60, overdraft=None)
    books.transfer("transfer", GOVERNMENT, BANK, 400, overdraft=None)
    with pytest.raises(BooksDoNotBalance, match="government owes more than"):
        books.check("transfer", 1)
    savings = Savings(2)
    savings.add(np.array([1]), np.array([MOST_BALANCE + 1]))
    with pytest.raises(BooksDoNotBalance, match="agent 1 has saved more than"):
        savings.check(1)


def test_interest_goes_by_every_month_and_keeps_its_fractions():
    savings = Savings(3)
    savings.add(np.array([0, 1]), np.array([100_000, 1]))
    for month in range(12):
        if month == 6:
            savings.add(np.array([0]), np.array([-50_000]))
        savings.index += 400  # 4 % a year
    who, due = savings.due()
    assert (who.tolist(), due.tolist()) == ([0, 1], [3_000, 0])
    assert savings.accrued[1] == 12 * 400
    savings.check(11)
    savings.cents[2] += 1
    with pytest.raises(
        BooksDoNotBalance, match="'save' and 'withdraw' savings add up to 50002 cents, the bank owes 50001"
    ):
        savings.check(11)


@given(WEIGHTS, st.lists(st.integers(0, 10**13), min_size=3, max_size=3))
@settings(max_examples=60)
def test_shares_lose_nothing_and_are_a_unit_off_at_most(rows, totals):
    groups = np.array([one[0] for one in rows], np.int64)
    weights = np.array([one[1] for one in rows], np.int64)
    shares = share_out(np.array(totals), groups, weights, lot(len(rows)))
    for group, total in enumerate(totals):
        mine = weights[groups == group]
        whole = int(mine.sum())
        assert shares[groups == group].sum() == (total if whole else 0)
        for weight, share in zip(mine.tolist(), shares[groups == group].tolist(), strict=True):
            assert abs(share - Fraction(total * weight, max(whole, 1))) < 1
            assert weight or not share


def test_the_odd_cent_goes_by_lot():
    gets = np.zeros(5)
    for draw in range(2_000):
        drawn = words(draw, 0, "cent", np.arange(5))
        gets += share_out(np.array([2]), np.zeros(5, np.int64), np.ones(5, np.int64), drawn)
        gets += share_evenly(12, 5, int(drawn[0])) - 2
        gets[lowest(np.zeros(5, np.int64), 2, drawn)] += 1
    assert np.abs(gets - 3 * 800).max() < 4 * np.sqrt(9 * 2_000 * 0.24)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=20), st.lists(st.integers(0, 4), min_size=4))
@settings(max_examples=40)
def test_picks_are_as_many_as_there_may_be(rows, most):
    groups = np.array([one[0] for one in rows], np.int64)
    chosen = pick(groups, np.array(most), lot(len(rows)))
    for group in range(4):
        assert chosen[groups == group].sum() == min(most[group], int((groups == group).sum()))
    assert distinct(groups).tolist() == sorted(set(groups.tolist()))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=20, unique=True), st.data())
@settings(max_examples=60)
def test_nobody_is_hired_twice_and_no_place_is_filled_twice(pairs, data):
    agents, firms = (np.array([one[at] for one in pairs], np.int64) for at in (0, 1))
    free = np.array(data.draw(st.lists(st.integers(0, 3), min_size=3, max_size=3)))
    who, where, left = match(agents, firms, free, np.array([3.0, 1.0, 2.0]), lot(len(pairs)), lot(len(pairs), "ties"))
    assert len(set(who.tolist())) == len(who)
    taken = np.bincount(where, minlength=3)
    assert (taken <= free).all()
    assert {(int(a), int(f)) for a, f in zip(who, where, strict=True)} <= set(pairs)
    for agent, firm in [pair for pair, waits in zip(pairs, left.tolist(), strict=True) if waits]:
        assert agent not in who
        assert taken[firm] == free[firm]  # nobody is left over where there was a place


def test_pay_is_what_hours_come_to_or_short_time_to_the_last_cent():
    firms, hours, rate = np.array([0, 0, 1]), np.array([100.0, 50.0, 10.0]), np.array([10.0, 10.0, 7.77])
    pay, paid = pay_roll(hours, rate, firms, np.array([2_000, 100]), lot(3))
    assert (pay.tolist(), paid.tolist()) == ([1_000, 500, 77], hours.tolist())
    pay, paid = pay_roll(hours, rate, firms, np.array([1_000, 100]), lot(3))
    assert pay[:2].sum() == 1_000
    assert sorted(pay[:2].tolist()) == [333, 667]
    assert paid[0] == pytest.approx(2 * paid[1]) == pytest.approx(200 / 3)
    pay, paid = pay_roll(hours, rate, firms, np.array([-5, 100]), lot(3))
    assert pay[:2].tolist() == paid[:2].tolist() == [0, 0]


def test_the_dismissed_are_of_their_firm():
    employer = np.array([0, 0, 1, -1, 0, 1], np.int32)
    out = dismissed(employer, np.array([2, 0]), lambda rows: lot(6)[rows])
    assert len(out) == 2
    assert (employer[out] == 0).all()
    assert not len(dismissed(employer, np.array([0, 0]), lot))


def test_taxes_by_hand():
    schedule = Schedule([(0, 0.1), (1_000, 0.2), (5_000, 0.5)])
    assert schedule.tax(np.array([0, 999, 1_000, 1_009, 5_000, 6_000])).tolist() == [0, 99, 100, 101, 900, 1_400]
    assert Schedule([]).tax(np.array([5])).tolist() == [0]
    assert flat(np.array([999]), 0.25).tolist() == [249]
    assert Schedule(US_2019).tax(np.array([1_000_000])).tolist() == [191_454]
    for brackets in ([(5, 0.1), (5, 0.2)], [(0, 1.5)], [(-1, 0.1)], [(1,)]):
        with pytest.raises(ScenarioError, match="brackets"):
            Schedule(brackets)


def test_gini_against_all_pairs():
    values = np.array([1.0, 5.0, 2.0, 0.0, 9.0])
    pairs = np.abs(values[:, None] - values[None, :]).sum() / (2 * 5**2 * values.mean())
    assert gini(values) == pytest.approx(pairs)
    assert gini(np.ones(4)) == pytest.approx(0.0)
    assert np.isnan(gini(np.zeros(3)))
