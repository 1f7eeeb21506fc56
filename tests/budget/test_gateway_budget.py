"""Budgets: whatever is reserved, lent, spent and lost in whatever order, the ceiling holds."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from populace.budget.amounts import (
    PICO_USD,
    UNLIMITED,
    Allowance,
    Amount,
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
) -> tuple[Allowance, list[Allowance]]:
    """Shards that keep `together` asks in flight among them until every ask was made or refused; then settle all.

    With `honest` off, a dispatcher looks at what is spent and reserves nothing: the common mistake.
    """
    draw = Stream(seed, 0, 0, "society")
    run, lent = Allowance(ceiling=limit), [Amount()] * shards
    below = [Allowance(ceiling=Amount()) for _ in range(shards)]
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
                lent[shard] = run.take_back(
                    lent[shard], booked[shard], below[shard].hand_back(Amount()) if honest else Amount()
                )
                booked[shard] = Amount()
        truth = sum((allowance.spent for allowance in below), Amount())
        assert truth.fits(limit) or not honest
        assert (run.spent + run.held).fits(limit) or not honest
        assert sum(lent, Amount()) == run.held
    for shard, worst, tokens_in, tokens_out in flying:
        booked[shard] += below[shard].settle(worst, RATE, tokens_in, tokens_out, "arm", "talk")
    for shard in range(shards):
        unused = below[shard].hand_back(Amount()) if honest else Amount()
        lent[shard] = run.take_back(lent[shard], booked[shard], unused)
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
    assert run.spent == sum((allowance.spent for allowance in below), Amount())
    calls = [spent for allowance in below for spent in allowance.by.values()]
    assert sum(spent.pico_usd for spent in calls) == run.spent.pico_usd
    assert sum(spent.tokens_in + spent.tokens_out for spent in calls) == run.spent.tokens
    assert run.overruns == 0


def test_eight_shards_and_a_thousand_asks_in_flight_use_the_ceiling_and_no_more() -> None:
    limit = ceiling(usd=0.25)
    run, below = society(limit, 8, 6000, 1000, seed=1)
    assert run.spent.fits(limit)
    assert run.spent.pico_usd > 0.7 * limit.pico_usd
    assert sum(allowance.refused for allowance in below) > 0
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
    allowance = Allowance(ceiling=Amount(100, 100))
    assert allowance.reserve(Amount(60, 60))
    assert not allowance.reserve(Amount(60, 60))
    assert allowance.refused == 1
    assert allowance.could_fit_later(Amount(60, 60))
    allowance.settle(Amount(60, 60), Rate(1, 1), 30, 20, "a", "b")
    assert not allowance.could_fit_later(Amount(60, 60))
    assert allowance.by == {("a", "b"): Spent(1, 30, 20, 50)}
    assert allowance.reserve(Amount(50, 50))
    allowance.release(Amount(50, 50))
    assert allowance.room == Amount(50, 50)


def test_a_server_that_bills_more_than_the_worst_case_cannot_hide() -> None:
    allowance = Allowance(ceiling=Amount(100, 100))
    assert allowance.reserve(Amount(100, 100))
    allowance.settle(Amount(100, 100), Rate(1, 1), 150, 0, "a", "b")
    assert (allowance.spent, allowance.overruns, allowance.room) == (Amount(150, 150), 1, Amount(-50, -50))
    assert not allowance.reserve(Amount(1, 1))
    assert allowance.lend(Amount(1, 1), Amount(1, 1)) == Amount()
    parent = Allowance(ceiling=Amount(100, 100))
    lent = parent.lend(Amount(60, 60), Amount(1, 1))
    others = parent.lend(Amount(30, 30), Amount(1, 1))
    assert parent.take_back(lent, Amount(80, 80), Amount()) == Amount()
    assert parent.held == others, "one shard's overrun does not eat what another was lent"
    assert parent.overruns == 1


def test_three_levels_and_a_crash() -> None:
    experiment = Allowance(ceiling=Amount(1000, 1000))
    run = Allowance(ceiling=Amount())
    shard = Allowance(ceiling=Amount())
    to_run = experiment.lend(Amount(600, 600), Amount(1, 1))
    run.borrow(to_run)
    to_shard = run.lend(Amount(200, 200), Amount(1, 1))
    shard.borrow(to_shard)
    assert shard.reserve(Amount(150, 150))
    assert run.room == Amount(400, 400)
    assert experiment.room == Amount(400, 400)
    to_shard = run.take_back(to_shard, to_shard, Amount())
    assert (to_shard, run.held, run.spent) == (Amount(), Amount(), Amount(200, 200)), "all that a dead shard was lent"
    to_run = experiment.take_back(to_run, run.spent, run.hand_back(Amount()))
    assert (to_run, experiment.room) == (Amount(), Amount(800, 800))


def test_misuse_is_an_error() -> None:
    allowance = Allowance(ceiling=Amount(10, 10))
    with pytest.raises(ValueError, match="settle each reservation once"):
        allowance.release(Amount(1, 0))
    with pytest.raises(ValueError, match="negative"):
        allowance.reserve(Amount(-1, 0))
    lent = allowance.lend(Amount(5, 5), Amount())
    with pytest.raises(ValueError, match="hand_back"):
        allowance.take_back(lent, Amount(3, 3), Amount(3, 3))


@given(st.text(max_size=300))
def test_a_byte_is_a_token_at_most(text: str) -> None:
    """Against the finest byte-level tokeniser there is: one token a byte."""
    assert len(text.encode()) < worst_tokens_in(len(text.encode()), 1)
    assert worst_tokens_in(10, 1, len(json.dumps({"a": 1}))) > worst_tokens_in(10, 1)
