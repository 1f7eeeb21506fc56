"""The digest of a limit order book, kept as orders, accounts and trades change."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from populace.env.digest import RowDigests, join_digests

Columns = Mapping[str, NDArray[np.int64]]


class BookDigests:
    """Digests of a book's tables, and what has been touched since they were last brought up to date.

    `orders` are touched places of orders, `accounts` touched accounts (-1 is the last).
    """

    def __init__(self, keep_trades: int) -> None:
        self.orders: list[int] = []
        self.accounts: list[int] = []
        self._keep = keep_trades
        self._traded = 0
        self._tables = (
            RowDigests("orders", "account", "side", "price", "quantity", "tick"),
            RowDigests("accounts", "cash", "shares"),
            RowDigests("trades", "tick", "price", "quantity", "buyer", "seller", "taker"),
        )

    def digest(
        self,
        slots: Columns,
        alive: Mapping[int, int],
        cash: NDArray[np.int64],
        shares: NDArray[np.int64],
        trades: Columns,
        counts: tuple[int, ...],
    ) -> bytes:
        """16 bytes over the tables as they are; `counts` are a book's own numbers, the second that of its trades."""
        orders, accounts, traded = self._tables
        places = np.unique(np.array(self.orders, np.int64))
        here = np.array([alive.get(order, -1) for order in slots["id"][places].tolist()], np.int64) == places
        orders.clear(places[~here])
        kept = places[here]
        names = ("account", "side", "price", "quantity", "tick")
        orders.put(kept, slots["id"][kept], *(slots[name][kept] for name in names))
        rows = np.unique(np.array(self.accounts, np.int64) % len(cash))
        index = np.where(rows == len(cash) - 1, -1, rows)
        accounts.put(index + 1, index, cash[rows], shares[rows])
        numbers = np.arange(max(self._traded, counts[1] - self._keep), counts[1])
        traded.put(numbers % self._keep, numbers, *(trades[name][numbers % self._keep] for name in trades))
        self._traded = counts[1]
        self.orders.clear()
        self.accounts.clear()
        return join_digests(*(table.digest() for table in self._tables), *counts)
