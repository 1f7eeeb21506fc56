"""Budgets: whatever is reserved, lent, spent and lost in whatever order, the ceiling holds."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from populace.budget.amounts import (
    PICO_USD,
    UNLIMITED,
    Amount,
    Ledger,
    Rate,
    Spent,
    ceiling,
    pico_usd,
    worst_case,
    worst_tokens_in,
)
from populace.core.draws import Stream

RATE = Rate.of(0.15, 0.6)


def society(
    limit: Amount, shards: int, asks: int, together: int, seed: int, honest: bool = True
) -> tuple[Ledger, list[Ledger]]:
    """Shards that keep `together` asks in flight among them until every ask was made or refused; then settle all.

    With `honest` off, a dispatcher looks at what is spent and reserves nothing: the common mistake.
    """
    draw = Stream(seed, 0, 0, "society")
    run, lent = Ledger(ceiling=limit), [Amount()] * shards
    below = [Ledger(ceiling=Amount()) for _ in range(shards)]
    booked = [Amount()] * shards
    flying: list[tuple[int, Amount, int, int]] = []
    for _ in range(asks):
        shard = draw.integer(shards)
        size = 40 + draw.integer(400)
        worst = worst_case(RATE, size, 2, 60)
        actual = (worst_tokens_in(size, 2) - draw.integer(size), draw.integer(61))
        if honest and not worst.fits(below[shard].room):
            grant = run.lend(Amount(worst.tokens * 20, worst.pico_usd * 20), worst)
            below[shard].borrow(grant)
            lent[shard] += grant
        if below[shard].reserve(worst) if honest else run.spent.fits(limit):
            flying.append((shard, worst, *actual))
            below[shard].held += Amount() if honest else worst
        while len(flying) >= together:
            shard, worst, tokens_in, tokens_out = flying.pop(draw.integer(len(flying)))
            cost = below[shard].settle(worst, RATE, tokens_in, tokens_out, "arm", "talk")
            booked[shard] += cost
            if draw.bernoulli(0.2) or not honest:
                lent[shard] = run.account(
                    lent[shard], booked[shard], below[shard].hand_back(Amount()) if honest else Amount()
                )
                booked[shard] = Amount()
        truth = sum((ledger.spent for ledger in below), Amount())
        assert truth.fits(limit) or not honest
        assert (run.spent + run.held).fits(limit) or not honest
        assert sum(lent, Amount()) == run.held
    for shard, worst, tokens_in, tokens_out in flying:
        booked[shard] += below[shard].settle(worst, RATE, tokens_in, tokens_out, "arm", "talk")
    for shard in range(shards):
        unused = below[shard].hand_back(Amount()) if honest else Amount()
        lent[shard] = run.account(lent[shard], booked[shard], unused)
    return run, below


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(1, 300), st.integers(0, 300_000), st.integers(0, 10**11))
def test_the_ceiling_holds_and_all_is_accounted_for(
    seed: int, shards: int, together: int, tokens: int, money: int
) -> None:
    limit = Amount(tokens, money)
    run, below = society(limit, shards, 600, together, seed)
    assert run.spent.fits(limit)
    assert run.held == Amount()
    assert run.spent == sum((ledger.spent for ledger in below), Amount())
    calls = [spent for ledger in below for spent in ledger.by.values()]
    assert sum(spent.pico_usd for spent in calls) == run.spent.pico_usd
    assert sum(spent.tokens_in + spent.tokens_out for spent in calls) == run.spent.tokens
    assert run.overruns == 0


def test_eight_shards_and_a_thousand_asks_in_flight_use_the_ceiling_and_no_more() -> None:
    limit = ceiling(usd=0.25)
    run, below = society(limit, 8, 6000, 1000, seed=1)
    assert run.spent.fits(limit)
    assert run.spent.pico_usd > 0.7 * limit.pico_usd
    assert sum(ledger.refused for ledger in below) > 0
    assert run.room.usd == pytest.approx(0.25 - run.spent.usd)


def test_control_who_only_looks_at_what_is_spent_overspends() -> None:
    limit = ceiling(usd=0.05)
    run, _ = society(limit, 8, 6000, 1000, seed=1, honest=False)
    assert not run.spent.fits(limit)


def test_money_is_exact() -> None:
    assert pico_usd(0.1) * 3 == pico_usd(0.3)
    assert sum([0.1] * 3) != 0.3
    assert Rate.of(0.0125, 1e-7) == Rate(12_500, 1), "rounded up"
    assert RATE.cost(1_000_000, 1_000_000) == Amount(2_000_000, 750_000_000_000)
    assert Amount(0, PICO_USD // 2).usd == 0.5
    assert ceiling() == UNLIMITED
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite"):
            pico_usd(wrong)
    with pytest.raises(ValueError, match="tokens"):
        ceiling(tokens=-1)


def test_refused_is_refused_at_once_and_later_is_another_question() -> None:
    ledger = Ledger(ceiling=Amount(100, 100))
    assert ledger.reserve(Amount(60, 60))
    assert not ledger.reserve(Amount(60, 60))
    assert ledger.refused == 1
    assert ledger.could_fit_later(Amount(60, 60))
    ledger.settle(Amount(60, 60), Rate(1, 1), 30, 20, "a", "b")
    assert not ledger.could_fit_later(Amount(60, 60))
    assert ledger.by == {("a", "b"): Spent(1, 30, 20, 50)}
    assert ledger.reserve(Amount(50, 50))
    ledger.release(Amount(50, 50))
    assert ledger.room == Amount(50, 50)


def test_a_server_that_bills_more_than_the_worst_case_cannot_hide() -> None:
    ledger = Ledger(ceiling=Amount(100, 100))
    assert ledger.reserve(Amount(100, 100))
    ledger.settle(Amount(100, 100), Rate(1, 1), 150, 0, "a", "b")
    assert (ledger.spent, ledger.overruns, ledger.room) == (Amount(150, 150), 1, Amount(-50, -50))
    assert not ledger.reserve(Amount(1, 1))
    assert ledger.lend(Amount(1, 1), Amount(1, 1)) == Amount()
    parent = Ledger(ceiling=Amount(100, 100))
    lent = parent.lend(Amount(60, 60), Amount(1, 1))
    others = parent.lend(Amount(30, 30), Amount(1, 1))
    assert parent.account(lent, Amount(80, 80), Amount()) == Amount()
    assert parent.held == others, "one shard's overrun does not eat what another was lent"
    assert parent.overruns == 1


def test_three_levels_and_a_crash() -> None:
    experiment = Ledger(ceiling=Amount(1000, 1000))
    run = Ledger(ceiling=Amount())
    shard = Ledger(ceiling=Amount())
    to_run = experiment.lend(Amount(600, 600), Amount(1, 1))
    run.borrow(to_run)
    to_shard = run.lend(Amount(200, 200), Amount(1, 1))
    shard.borrow(to_shard)
    assert shard.reserve(Amount(150, 150))
    assert run.room == Amount(400, 400)
    assert experiment.room == Amount(400, 400)
    shard.after_crash()
    assert shard.spent == Amount(150, 150)
    to_shard = run.account(to_shard, shard.spent, shard.hand_back(Amount()))
    assert (to_shard, run.held, run.spent) == (Amount(), Amount(), Amount(150, 150))
    to_run = experiment.account(to_run, run.spent, run.hand_back(Amount()))
    assert (to_run, experiment.room) == (Amount(), Amount(850, 850))


def test_misuse_is_an_error() -> None:
    ledger = Ledger(ceiling=Amount(10, 10))
    with pytest.raises(ValueError, match="settle each reservation once"):
        ledger.release(Amount(1, 0))
    with pytest.raises(ValueError, match="negative"):
        ledger.reserve(Amount(-1, 0))
    lent = ledger.lend(Amount(5, 5), Amount())
    with pytest.raises(ValueError, match="hand_back"):
        ledger.account(lent, Amount(3, 3), Amount(3, 3))


@given(st.text(max_size=300))
def test_a_byte_is_a_token_at_most(text: str) -> None:
    """Against the finest byte-level tokeniser there is: one token a byte."""
    assert len(text.encode()) < worst_tokens_in(len(text.encode()), 1)
    assert worst_tokens_in(10, 1, len(json.dumps({"a": 1}))) > worst_tokens_in(10, 1)
