"""The purse: what a dispatcher holds, pays, gives back, and how long."""

from __future__ import annotations

import pytest

from populace.budget.amounts import Amount, Rate
from populace.budget.lease import Lease, Purse

FREE = Amount()


def filled(requests: int = 3, tokens: int = 150, **more: object) -> Purse:
    purse = Purse(0, **more)  # type: ignore[arg-type]
    want = purse.want(0.0, 5, 250, 50)
    assert (want.requests, want.tokens, want.head_tokens, want.nth) == (5, 250, 50, 0)
    purse.receive(Lease(0, requests, tokens, lasts_s=0.5, again_s=0.25), 0.0)
    return purse


def test_it_pays_from_the_lease_that_ends_first_and_a_lease_ends() -> None:
    purse = filled()
    assert not purse.due(0.2)
    assert purse.due(0.25)
    purse.want(0.3, 5, 250, 50)
    purse.receive(Lease(1, 1, 100, lasts_s=0.5, again_s=0.25), 0.3)
    assert purse.holds(0.4) == (4, 250)
    assert purse.pay(60, FREE, 0.4)
    assert purse.holds(0.49) == (3, 190)
    assert purse.holds(0.5) == (1, 100), "what was left of the first lease has ended"
    assert not purse.pay(101, FREE, 0.6)
    assert purse.pay(100, FREE, 0.6)
    assert not purse.pay(0, FREE, 0.6)
    want = purse.want(0.9, 1, 50, 50)
    assert (want.unused_requests, want.unused_tokens) == (2, 90), "and goes back"


def test_leases_join_to_pay_for_one_call() -> None:
    purse = filled(1, 60)
    purse.want(0.3, 2, 100, 50)
    purse.receive(Lease(1, 1, 60, lasts_s=0.5), 0.3)
    assert purse.pay(100, FREE, 0.3)
    assert purse.holds(0.3) == (1, 20)


def test_what_does_not_pay_for_the_first_ask_goes_back_at_once() -> None:
    kept = filled().want(0.3, 5, 250, 50)
    assert (kept.requests, kept.tokens, kept.unused_requests) == (2, 100, 0)
    dropped = filled().want(0.3, 5, 2000, 400)
    assert (dropped.requests, dropped.tokens, dropped.unused_requests, dropped.unused_tokens) == (5, 2000, 3, 150)
    idle = filled().want(0.3, 0, 0, 0)
    assert (idle.requests, idle.unused_requests, idle.unused_tokens) == (0, 3, 150)


def test_a_want_whose_answer_was_lost_comes_again_and_a_late_lease_is_ignored() -> None:
    purse = filled()
    first = purse.want(0.3, 9, 450, 50)
    assert not purse.due(99.0)
    assert purse.want(5.0, 1, 1, 1) is first
    purse.receive(Lease(0, 100, 100, lasts_s=9.0), 5.0)
    assert purse.holds(5.0) == (0, 0), "an answer to another want"
    purse.receive(Lease(1, 1, 50, lasts_s=9.0), 5.0)
    purse.receive(Lease(1, 1, 50, lasts_s=9.0), 5.0)
    assert purse.holds(5.0) == (1, 50), "once"


@pytest.mark.parametrize(
    ("refund", "used", "sent", "requests", "tokens"),
    [(True, 20, True, 0, 30), (False, 20, True, 0, 0), (True, 70, True, 0, -20), (False, 70, True, 0, -20),
     (False, 0, False, 1, 50)],
)  # fmt: skip
def test_the_difference_is_settled(refund: bool, used: int, sent: bool, requests: int, tokens: int) -> None:
    purse = filled(1, 50, refund=refund)
    assert purse.pay(50, FREE, 0.1)
    purse.returned(50, used, sent)
    want = purse.want(0.3, 1, 50, 50)
    assert (want.unused_requests, want.unused_tokens) == (requests, tokens)
    purse.receive(Lease(1), 0.3)
    assert purse.want(0.6, 1, 50, 50).unused_tokens == 0, "once"


def test_money_is_wanted_spent_and_given_back() -> None:
    purse, worst = Purse(0), Amount(100, 100)
    want = purse.want(0.0, 3, 150, 50, Amount(300, 300), worst)
    assert (want.money, want.least_money) == (Amount(300, 300), worst)
    purse.receive(Lease(0, 3, 150, Amount(300, 300), 9.0, 0.25), 0.0)
    assert purse.pay(50, worst, 0.1)
    purse.allowance.settle(worst, Rate(1, 1), 20, 10, "arm", "talk")
    purse.hold(2.0)
    want = purse.want(0.3, 1, 50, 50, worst, worst)
    assert (want.spent, want.unused_money, want.money) == (Amount(30, 30), Amount(170, 170), FREE)
    assert want.hold_s == 2.0
    purse.receive(Lease(1, refused="budget"), 0.3)
    assert purse.refused == "budget"
    last = purse.want(0.6, 2, 100, 50, Amount(400, 400), Amount(200, 200))
    assert (last.unused_money, last.money) == (worst, Amount(400, 400)), "too little for one call goes back"
    assert (last.spent, last.hold_s) == (FREE, 0.0)
