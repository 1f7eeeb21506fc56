"""The goods market: budgets meet posted prices and stocks, and what is scarce is shared fairly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from populace.env.economy.firms import Firms
from populace.env.economy.sharing import Ints, Words, share_out

MOST_UNITS = 2**53


class Trades(NamedTuple):
    """What was bought: rows of buyers, the firm, whole units, whole cents; aligned, int64."""

    buyers: Ints
    firms: Ints
    units: Ints
    cents: Ints


def in_order(choices: list[Ints], price: NDArray[np.float64]) -> list[Ints]:
    """Each buyer's firms, cheapest first; of firms at one price the one that was drawn first stays so."""
    drawn = np.stack(choices)
    order = np.argsort(price[drawn], axis=0, kind="stable")
    return list(np.take_along_axis(drawn, order, axis=0))


def serve(firms: Firms, buyers: Ints, choice: Ints, budgets: Ints, words: Words) -> Trades:
    """Each buyer asks its firm for as many whole units as its budget (cents) buys; sets demand, sold, stock, revenue.

    Where a firm is asked for more than it has, units go in proportion to what each asked for, by the largest remainder,
    with ties by lot. A buyer pays units times price, rounded up to a whole cent, and never more than its budget.
    """
    price = firms.price[choice]
    asked = np.floor(np.minimum(budgets / price, MOST_UNITS) + 1e-9).astype(np.int64)
    demand = np.zeros(len(firms), np.int64)
    np.add.at(demand, choice, asked)
    firms.demand += demand
    units = asked
    short = np.flatnonzero((demand > firms.stock)[choice])
    if len(short):
        units = asked.copy()
        units[short] = share_out(firms.stock, choice[short], asked[short], words[short])
    cents = np.minimum(np.ceil(units * price - 1e-6).astype(np.int64), budgets)
    np.subtract.at(firms.stock, choice, units)
    np.add.at(firms.sold, choice, units)
    np.add.at(firms.revenue, choice, cents)
    some = units > 0
    return Trades(buyers[some], choice[some], units[some], cents[some])
