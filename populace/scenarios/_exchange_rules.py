"""The rule mind of `exchange`: four kinds of traders, in the way of Chiarella and Iori (2002).

It goes by the book and by its own role; of an order from outside it knows what all see of it, the price.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

ACTS = 0.5
"""The chance that a noise trader trades in a tick."""
NEAR = 0.008
"""The mean distance of a patient noise order from the price, as a share of it."""
MISPRICED = 0.01
"""How far the price has to be from what a share is worth, as a share of it, for a fundamental trader to act at once."""
MOVED = 0.004
"""How far the price has to have moved, as a share of it, for a trend follower to act."""
SKEW = 0.01
"""By which share of the price a maker's quotes move down as it owns twice what it began with."""
STEP = 0.001
"""The mean distance between a maker's quotes of one side, as a share of the price."""
LEVELS = 5
"""How many quotes a maker has on each side; the k-th is of k orders' size."""


class Order(msgspec.Struct):
    """An order to `buy` or to `sell`; a price of 0 makes it a market order."""

    side: Literal["buy", "sell"]
    price: int
    quantity: int


class Orders(msgspec.Struct):
    """The orders that a trader gives."""

    orders: list[Order]


def trade(facts: dict[str, Any], draw: Any) -> Orders:
    """The orders of a trader, by its role."""
    price = (facts["bid"] + facts["ask"]) / 2 if facts["bid"] and facts["ask"] else facts["last"]
    by_kind = {"noise": _noise, "fundamental": _fundamental, "trend": _trend, "maker": _maker}
    return Orders(by_kind[facts["kind"]](facts, price, draw))


def _order(buys: bool, price: float, quantity: int) -> Order:
    return Order("buy" if buys else "sell", max(1, round(price)) if price else 0, quantity)


def _noise(facts: dict[str, Any], price: float, draw: Any) -> list[Order]:
    """Zero intelligence (Gode and Sunder 1993): by lot, at once or with patience."""
    if not draw.bernoulli(ACTS):
        return []
    buys, at_once, away = draw.bernoulli(0.5), draw.bernoulli(0.4), draw.exponential(NEAR)
    size = 1 + draw.integer(max(1, 2 * facts["size"] - 1))
    return [_order(buys, 0 if at_once else price * (1.0 - away if buys else 1.0 + away), size)]


def _fundamental(facts: dict[str, Any], price: float, draw: Any) -> list[Order]:
    """At once where the price is far from its worth; else with patience, a little better than its worth."""
    value = facts["value"]
    gap = price / value - 1.0
    if abs(gap) > MISPRICED and draw.bernoulli(0.5):
        return [_order(gap <= 0, 0, facts["size"])]
    buys = draw.bernoulli(0.5)
    away = value * MISPRICED * (1.0 + draw.exponential(1.0))
    return [_order(buys, value - away if buys else value + away, facts["size"])]


def _trend(facts: dict[str, Any], price: float, draw: Any) -> list[Order]:
    """With the move from the oldest of the prices that it looks at to the newest."""
    closes = [one for one in facts["closes"] if one]
    if len(closes) < 2 or not draw.bernoulli(0.5):
        return []
    move = closes[0] / closes[-1] - 1.0
    return [_order(move > 0, 0, facts["size"])] if abs(move) > MOVED else []


def _maker(facts: dict[str, Any], price: float, draw: Any) -> list[Order]:
    """Quotes on both sides, more of them further away, shifted against what it has got too much of."""
    middle = price * (1.0 - SKEW * (facts["shares"] / max(1, facts["began"]) - 1.0))
    quotes = []
    for level in range(1, LEVELS + 1):
        away = middle * STEP * (level - draw.random())
        quotes.append(_order(True, middle - away, level * facts["size"]))
        quotes.append(_order(False, middle + away, level * facts["size"]))
    return quotes


RULES = {"trade": trade}
