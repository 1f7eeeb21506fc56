"""The rules and outcomes of `exchange`: four kinds of traders, in the way of Chiarella and Iori (2002)."""

from __future__ import annotations

from typing import Any

import numpy as np

from populace import World
from populace.env.market import stylized_facts

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


def trade(facts: dict[str, Any], draw: Any) -> list[dict[str, Any]]:
    """The orders of a trader, by its role."""
    price = (facts["bid"] + facts["ask"]) / 2 if facts["bid"] and facts["ask"] else facts["last"]
    return {"noise": _noise, "fundamental": _fundamental, "trend": _trend, "maker": _maker}[facts["kind"]](
        facts, price, draw
    )


def _order(side: str, price: float, quantity: int) -> dict[str, Any]:
    return {"side": side, "price": max(1, round(price)) if price else 0, "quantity": quantity}


def _noise(facts: dict[str, Any], price: float, draw: Any) -> list[dict[str, Any]]:
    """Zero intelligence (Gode and Sunder 1993): by lot, at once or with patience."""
    if not draw.bernoulli(ACTS):
        return []
    buys, at_once, away = draw.bernoulli(0.5), draw.bernoulli(0.4), draw.exponential(NEAR)
    size = 1 + draw.integer(max(1, 2 * facts["size"] - 1))
    return [_order("buy" if buys else "sell", 0 if at_once else price * (1.0 - away if buys else 1.0 + away), size)]


def _fundamental(facts: dict[str, Any], price: float, draw: Any) -> list[dict[str, Any]]:
    """At once where the price is far from its worth; else with patience, a little better than its worth."""
    value = facts["value"]
    gap = price / value - 1.0
    if abs(gap) > MISPRICED and draw.bernoulli(0.5):
        return [_order("sell" if gap > 0 else "buy", 0, facts["size"])]
    side = "buy" if draw.bernoulli(0.5) else "sell"
    away = value * MISPRICED * (1.0 + draw.exponential(1.0))
    return [_order(side, value - away if side == "buy" else value + away, facts["size"])]


def _trend(facts: dict[str, Any], price: float, draw: Any) -> list[dict[str, Any]]:
    """With the move from the oldest of the prices that it looks at to the newest."""
    closes = [one for one in facts["closes"] if one]
    if len(closes) < 2 or not draw.bernoulli(0.5):
        return []
    move = closes[0] / closes[-1] - 1.0
    return [_order("buy" if move > 0 else "sell", 0, facts["size"])] if abs(move) > MOVED else []


def _maker(facts: dict[str, Any], price: float, draw: Any) -> list[dict[str, Any]]:
    """Quotes on both sides, more of them further away, shifted against what it has got too much of."""
    middle = price * (1.0 - SKEW * (facts["shares"] / max(1, facts["began"]) - 1.0))
    quotes = []
    for level in range(1, LEVELS + 1):
        away = middle * STEP * (level - draw.random())
        quotes.append(_order("buy", middle - away, level * facts["size"]))
        quotes.append(_order("sell", middle + away, level * facts["size"]))
    return quotes


def _mids(world: World) -> Any:
    return world.book.bars.mid()


def mid(world: World) -> float:
    """The middle of best bid and ask, in ticks of price; NaN where a side is empty."""
    mids = _mids(world)
    return float(mids[-1]) if len(mids) else float("nan")


def spread(world: World) -> float:
    """The mean of best ask less best bid over the kept ticks, in ticks of price."""
    bid, ask = world.book.bars.column("bid"), world.book.bars.column("ask")
    there = (bid > 0) & (ask > 0)
    return float((ask - bid)[there].mean()) if there.any() else float("nan")


def depth(world: World) -> float:
    """How many shares rest on the ten best levels of both sides."""
    levels = world.book.snapshot(10)
    return float(sum(quantity for side in levels.values() for _, quantity in side))


def return_autocorrelation(world: World) -> float:
    """Of the middle's returns, at a lag of one tick: near 0 in real markets, below by the bounce of bid and ask."""
    return stylized_facts.autocorrelation(stylized_facts.returns(_mids(world)))


def volatility_clustering(world: World) -> float:
    """The mean autocorrelation of absolute returns at lags of 1 to 5 ticks: above 0 in real markets."""
    return stylized_facts.volatility_clustering(_mids(world))


def volatility(world: World) -> float:
    """The standard deviation of the middle's returns, a tick."""
    found = stylized_facts.returns(_mids(world))
    return float(np.std(found)) if len(found) else float("nan")
