"""Runs that share one account's limits, in virtual time: never more than the limit together, and all of it used."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sharers import LIMITS, RATES, SLACK_S, TERMS, TOKENS, Life, Seen, Trouble, Way, most_within, simulate

from populace.budget import shares
from populace.budget.amounts import Amount
from populace.budget.lease import Want
from populace.budget.quota import Quota
from populace.budget.shares import GUARD_S, Share, Terms, read_members
from populace.core.errors import SettingsError
from populace.settings import load_settings

ROUNDING = 1e-9


def kept(seen: Seen, runs: int) -> bool:
    """Whether rates and requests kept to the limits at every moment and in every stretch of time."""
    requests = most_within(seen.at_s, 1.0, RATES[0]) <= RATES[0] * SLACK_S + runs
    tokens = most_within(seen.at_s, TOKENS, RATES[1]) <= RATES[1] * SLACK_S + runs * TOKENS
    return seen.most_over <= ROUNDING and requests and tokens


def life() -> st.SearchStrategy[Life]:
    return st.builds(
        lambda begins_s, lasts_s, killed, stopped, cut_s, offset_s, drift, waiting: Life(
            begins_s,
            begins_s + lasts_s,
            killed,
            (math.inf, math.inf) if stopped is None else (begins_s + stopped, begins_s + 3 * stopped),
            (math.inf, math.inf) if cut_s is None else (begins_s + cut_s, begins_s + 3 * cut_s),
            offset_s,
            drift,
            lambda now_s: waiting if int(now_s) % 7 or waiting == 100 else 0,
        ),
        st.floats(0.0, 10.0),
        st.floats(1.0, 20.0),
        st.booleans(),
        st.none() | st.floats(0.5, 5.0),
        st.none() | st.floats(0.5, 5.0),
        st.floats(0.0, 1e6),
        st.floats(0.999, 1.001),
        st.sampled_from([1, 3, 100]),
    )


@settings(max_examples=30, deadline=None)
@given(
    st.lists(life(), min_size=1, max_size=5),
    st.builds(Trouble, st.sampled_from([0.01, 0.3, 3.0]), st.sampled_from([0.0, 0.3])),
    st.integers(0, 10**6),
)
def test_runs_that_come_go_stop_and_are_killed_never_pass_the_limit(lives, trouble, seed):
    assert kept(simulate(lives, trouble=trouble, seed=seed, seconds=20.0), len(lives))


def by_turns(nth: int) -> Callable[[float], int]:
    """Asks that wait every other two seconds and a half."""
    return lambda now_s: 100 if int(now_s / 2.5 + nth) % 2 else 0


HARD = [
    Life(waiting=by_turns(0)),
    Life(begins_s=1.0, cut_s=(8.0, 14.0)),
    Life(begins_s=2.0, ends_s=9.0, killed=True),
    Life(begins_s=3.0, waiting=by_turns(1)),
]
SLOW = Trouble(delay_s=0.2, lost=0.5)


def all_kept(way: Way | None = None) -> bool:
    """Whether the limits were kept to in some hard cases."""
    return all(kept(simulate(HARD, trouble=SLOW, way=way, seed=seed), len(HARD)) for seed in range(4))


def test_the_hard_cases_of_the_controls_are_kept():
    assert all_kept()


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(Way(lowers_before=False), id="a smaller part is kept to once it is written"),
        pytest.param(Way(raises_after=False), id="a larger part is taken before it is written"),
        pytest.param(Way(lets_go=False), id="a part is kept past its end"),
        pytest.param(Way(ends_later_s=6.0), id="a part ends later here than others count"),
    ],
)
def test_control_of_the_order_of_things(way):
    assert not all_kept(way)


def test_control_taking_what_others_hold(monkeypatch):
    monkeypatch.setattr(shares, "_DRIFT", 0.2)  # others count as gone a fifth of the way
    assert not all_kept()


def test_control_each_run_by_itself():
    """What separate runs did before: each has the whole limit."""
    alone = [simulate([Life()], seed=seed) for seed in range(3)]
    together = Seen(sorted(at_s for one in alone for at_s in one.at_s), [0] * sum(len(one.at_s) for one in alone))
    assert not kept(together, 3)


@pytest.mark.parametrize("runs", [1, 2, 3, 8])
def test_the_limit_is_used_and_shared_equally(runs):
    seen = simulate([Life(begins_s=0.3 * nth) for nth in range(runs)], seconds=30.0)
    sent = [seen.of(run, 10.0, 30.0) for run in range(runs)]
    assert 0.95 * 20 * RATES[1] <= sum(sent) * TOKENS <= 1.05 * 20 * RATES[1], "tokens are the tighter limit"
    assert max(sent) - min(sent) <= 0.1 * sum(sent) / runs + 2


def test_what_one_does_not_want_goes_to_the_others():
    seen = simulate([Life(), Life(waiting=lambda now_s: int(now_s * 4) % 4 == 0)], seconds=30.0)
    whole = min(RATES[0], RATES[1] / TOKENS) * 20
    assert seen.of(0, 10.0, 30.0) + seen.of(1, 10.0, 30.0) >= 0.9 * whole
    assert seen.of(0, 10.0, 30.0) > 0.6 * whole


def rate_of(seen: Seen, run: int, at_s: float) -> float:
    return [rates[run] for when_s, rates in seen.rates if when_s <= at_s][-1]


def test_a_run_alone_has_all_and_has_it_again_soon_after_the_others():
    lasts_s = TERMS.lasts_s(3)
    left = simulate([Life(), Life(begins_s=5.0, ends_s=15.0), Life(begins_s=5.0, ends_s=15.0)], seconds=30.0)
    assert rate_of(left, 0, 4.0) == rate_of(left, 0, 15.0 + 2 * TERMS.every_s(3)) == RATES[0]
    assert rate_of(left, 0, 12.0) < 0.4 * RATES[0]
    lives = [Life(), Life(begins_s=5.0, ends_s=15.0, killed=True), Life(begins_s=5.0, ends_s=15.0, killed=True)]
    killed = simulate(lives, seconds=30.0)
    assert rate_of(killed, 0, 15.5) < 0.4 * RATES[0], "what the killed held is not free yet"
    assert rate_of(killed, 0, 15.0 + lasts_s + 2 * TERMS.every_s(3)) == RATES[0]


def test_who_comes_late_among_the_hungry_has_its_part_soon():
    seen = simulate([Life(), Life(), Life(), Life(begins_s=10.0)], seconds=40.0)
    assert rate_of(seen, 3, 10.0 + 6 * TERMS.every_s(4)) >= 0.9 * RATES[0] / 4
    assert all(seen.of(run, 13.0, 40.0) > 0.8 * seen.of(0, 13.0, 40.0) for run in range(4))


def test_who_wakes_without_having_asked_can_begin_at_once():
    seen = simulate([Life(), Life(waiting=lambda now_s: 100 if now_s > 20.0 else 0)], seconds=40.0)
    assert rate_of(seen, 1, 19.9) == pytest.approx(0.05 * RATES[0] / 2)
    assert rate_of(seen, 1, 20.0 + 3 * TERMS.every_s(2)) >= 0.9 * RATES[0] / 2


def share(name: str, limits: tuple[float, float] = RATES) -> Share:
    return Share(name, limits, TERMS)


def joined(one: Share, text: bytes | None, now_s: float) -> bytes:
    plan = one.plan(text, one.limits, now_s)
    one.wrote(plan, now_s)
    return plan.text


def test_runs_with_other_limits_are_counted_apart_and_told_of():
    one, other = share("a"), share("b", (5.0, 0.0))
    text = joined(other, joined(one, None, 0.0), 0.1)
    assert (one.holds, other.holds, other.others) == (RATES, (5.0, 0.0), 1)
    joined(one, text, 0.5)
    assert (one.others, one.most) == (1, 1)


def test_a_run_whose_entry_was_removed_takes_no_more_than_it_had():
    one, other = share("a"), share("b")
    text = joined(other, joined(one, None, 0.0), 0.0)
    for now_s in (0.5, 1.0, 1.5):
        text = joined(other, joined(one, text, now_s), now_s)
    assert one.holds == other.holds == (5.0, 250.0)
    text = joined(one, None, 2.0)  # somebody has removed the text
    assert one.holds == (5.0, 250.0), "and so the other still holds what it held"
    text = joined(other, text, 2.1)
    assert other.holds == (5.0, 250.0)


def test_a_text_that_is_none_is_refused():
    for text in (
        b"{}",
        b"nonsense",
        b'{"version": 9, "members": []}',
        read_version_one(-1.0),
        read_version_one(1.0, 1e30),
    ):
        with pytest.raises(ValueError, match="holds something else than the runs that share a limit"):
            share("a").plan(text, RATES, 0.0)
    assert len(read_members(read_version_one(1.0, Terms(3.0, 0.2).lasts_s(10_000)))) == 1


def test_a_place_without_a_name_is_no_place():
    """An empty one would have been the folder in which the command is given."""
    with pytest.raises(SettingsError, match=r"endpoint\.share_limits"):
        load_settings(endpoint__share_limits="", endpoint__requests_per_minute=60)


def read_version_one(holds: float, lasts_s: float = 3.0) -> bytes:
    member = (
        f'{{"name": "x", "nth": 1, "limits": [10, 0], "wants": [1, 0], "holds": [{holds}, 0], "lasts_s": {lasts_s}}}'
    )
    return f'{{"version": 1, "members": [{member}]}}'.encode()


def test_a_quota_leases_nothing_after_its_parts_end():
    quota = Quota(LIMITS)
    quota.share((10.0, 500.0), 0.0, 2.0)
    assert quota.handle(Want(0, 0, 0, 5, 5 * TOKENS, TOKENS), 0.0).requests == 0
    assert quota.handle(Want(0, 0, 1, 5, 5 * TOKENS, TOKENS), 1.0).requests == 5
    assert quota.handle(Want(0, 0, 2, 50, 50 * TOKENS, TOKENS), 2.0).requests == 0
    assert quota.handle(Want(0, 0, 3, 50, 50 * TOKENS, TOKENS), 60.0).requests == 0
    quota.share((10.0, 500.0), 60.0, 63.0)
    assert quota.handle(Want(0, 0, 4, 50, 50 * TOKENS, TOKENS), 61.0).requests >= 5


def test_what_gathered_beyond_a_smaller_part_is_let_go():
    quota = Quota(LIMITS)
    quota.share((10.0, 500.0), 0.0, 100.0)
    quota.handle(Want(0, 0, 0), 0.0)
    quota.share((1.0, 50.0), 10.0, 100.0)
    lease = quota.handle(Want(0, 0, 1, 50, 50 * 10, 10), 10.0)
    assert lease.requests <= 1


def test_a_quota_that_is_owed_tokens_says_for_how_long():
    quota = Quota(LIMITS)
    quota.share((10.0, 500.0), 0.0, 100.0)
    quota.handle(Want(0, 0, 0, 1, 10, 10), 0.0)
    quota.handle(Want(0, 0, 1, 1, 10, 10), 1.0)
    quota.handle(Want(0, 0, 2, unused_tokens=-1500, spent=Amount(0, 0)), 1.0)
    assert 1.0 <= quota.owed_s <= 3.0


def test_a_part_ends_here_before_others_may_take_it():
    one, other = share("a"), share("b")
    text = joined(one, None, 100.0)
    assert one.until_s == pytest.approx(100.0 + TERMS.lasts_s(1) - GUARD_S)
    seen_s = 7.0  # another clock
    other.plan(text, RATES, seen_s)
    assert other.plan(text, RATES, seen_s + TERMS.lasts_s(1)).then[0] == 0.0
    assert other.plan(text, RATES, seen_s + 1.03 * TERMS.lasts_s(1)).then == RATES
