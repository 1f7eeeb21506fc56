"""What is measured of an order book over the ticks it keeps: price, spread, depth, and the facts that markets show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from populace.env.market import stylized_facts
from populace.env.market.order_book import OrderBook
from populace.env.world import World

NAN = float("nan")


def mid(book: OrderBook) -> float:
    """The middle of best bid and ask, in ticks of price; NaN where a side is empty."""
    mids = book.bars.mid()
    return float(mids[-1]) if len(mids) else NAN


def spread(book: OrderBook) -> float:
    """The mean of best ask less best bid over the kept ticks, in ticks of price."""
    bid, ask = book.bars.column("bid"), book.bars.column("ask")
    there = (bid > 0) & (ask > 0)
    return float((ask - bid)[there].mean()) if there.any() else NAN


def depth(book: OrderBook, levels: int = 10) -> float:
    """How many shares rest on the best levels of both sides."""
    return float(sum(quantity for side in book.snapshot(levels).values() for _, quantity in side))


def volatility(book: OrderBook) -> float:
    """The standard deviation of the middle's logarithmic returns, a tick."""
    found = stylized_facts.returns(book.bars.mid())
    return float(np.std(found)) if len(found) else NAN


def return_autocorrelation(book: OrderBook) -> float:
    """Of the middle's returns, at a lag of one tick: near 0 in real markets, below by the bounce of bid and ask."""
    return stylized_facts.autocorrelation(stylized_facts.returns(book.bars.mid()))


def volatility_clustering(book: OrderBook) -> float:
    """The mean autocorrelation of absolute returns at lags of 1 to 5 ticks: above 0 in real markets."""
    return stylized_facts.volatility_clustering(book.bars.mid())


def outcomes(part: str = "book") -> dict[str, Callable[[World], float]]:
    """Outcomes of a society with such a part: those above by their names, and volume, cash and shares in sum."""

    def of(measure: Callable[[Any], float]) -> Callable[[World], float]:
        return lambda world: measure(world.parts[part])

    return {
        "mid": of(mid),
        "spread": of(spread),
        "depth": of(depth),
        "volatility": of(volatility),
        "return_autocorrelation": of(return_autocorrelation),
        "volatility_clustering": of(volatility_clustering),
        "volume": of(lambda book: book.book.volume),
        "cash": of(lambda book: int(book.book.cash.sum())),
        "shares": of(lambda book: int(book.book.shares.sum())),
    }
