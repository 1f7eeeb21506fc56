"""A book that breaks a rule of price-time priority differs from the plain one: negative controls."""

import pytest

from populace.env.market.limit_book import LimitBook
from verification.order_book import impact_of, verdict


class LastComesFirst(LimitBook):
    """At one price the newest order is served first."""

    def _rest(self, order, account, side, price, quantity, tick):
        super()._rest(order, account, side, price, quantity, tick)
        slot, head = self._slot_of[order], self._head[price]
        if slot != head:
            before = self._previous[slot]
            self._next[before], self._tail[price] = -1, before
            self._previous[slot], self._next[slot], self._previous[head] = -1, head, slot
            self._head[price] = slot


class TradesWithItself(LimitBook):
    """Orders of an account trade with one another."""

    def _match(self, taker, account, side, price, left, tick):
        return (
            super()._match(taker, account, side, price, left, tick)
            if account < 0
            else self._as_others(taker, account, side, price, left, tick)
        )

    def _as_others(self, taker, account, side, price, left, tick):
        at = self.best(-side)
        slot = self._head[at] if at else -1
        if slot != -1 and self._account[slot] == account and (price == 0 or (at - price) * side <= 0):
            self._record(tick, at, min(left, self._quantity[slot]), account, account, side, taker, self._id[slot])
        return super()._match(taker, account, side, price, left, tick)


class HoldsNothing(LimitBook):
    """Resting orders hold no cash."""

    def _hold(self, account, side, price, quantity):
        if side == -1:
            super()._hold(account, side, price, quantity)


@pytest.mark.parametrize("broken", [LastComesFirst, TradesWithItself, HoldsNothing])
def test_a_broken_book_is_not_the_plain_one(broken):
    assert not verdict(broken, 3_000).holds
    assert verdict(LimitBook, 1_000, seed=2).holds


def test_impact_in_a_flat_book_is_no_square_root():
    exponent, _ = impact_of(lambda distance: 100, [1_000, 10_000, 100_000])
    assert abs(exponent - 1.0) < 0.03
