"""Orders that come from outside the society: a recorded flow, or a large parent order in slices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.market.limit_book import BUY, MAX_PRICE, MAX_QUANTITY, SELL

Numbers = Sequence[int] | NDArray[np.integer]


class Flow:
    """Orders as columns, one row an order: `tick`, `side` (1 buys, -1 sells), `price` (0: market order), `quantity`.

    Rows of one tick arrive in their order, as the tick ends. Two flows are joined with `+`.

    >>> (Flow.parent(1, 10, start=5, ticks=4) + Flow([0], [-1], [99], [3])).tick.tolist()
    [0, 5, 6, 7, 8]
    """

    def __init__(self, tick: Numbers, side: Numbers, price: Numbers, quantity: Numbers) -> None:
        """Raises ScenarioError, naming the row, for values out of range."""
        columns = [np.asarray(one) for one in (tick, side, price, quantity)]
        if len({one.shape for one in columns}) != 1 or columns[0].ndim != 1:
            raise ScenarioError(f"Flow(...): four columns of one length, not {[one.shape for one in columns]}")
        if any(one.size and one.dtype.kind not in "iu" for one in columns):
            raise ScenarioError(f"Flow(...): whole numbers, not {[str(one.dtype) for one in columns]}")
        when, way, at, much = (one.astype(np.int64) for one in columns)
        bad = (when < 0) | ~np.isin(way, (BUY, SELL)) | (at < 0) | (at > MAX_PRICE) | (much < 1) | (much > MAX_QUANTITY)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise ScenarioError(
                f"Flow(...), row {row}: tick {when[row]}, side {way[row]}, price {at[row]}, quantity {much[row]}: tick "
                f"is 0 or more, side 1 or -1, price 0 to {MAX_PRICE} (0: a market order), quantity 1 to {MAX_QUANTITY}"
            )
        order = np.argsort(when, kind="stable")
        self.tick, self.side, self.price, self.quantity = when[order], way[order], at[order], much[order]

    @classmethod
    def parent(cls, side: int, quantity: int, *, start: int, ticks: int, price: int = 0) -> Flow:
        """A parent order of `quantity` shares in `ticks` equal slices, one a tick from `start` on.

        What cannot be divided goes to the first slices. Slices are market orders unless there is a limit `price`.
        Raises ScenarioError for values out of range.
        """
        if ticks < 1:
            raise ScenarioError(f"Flow.parent(ticks={ticks}): at least 1")
        slices = np.full(ticks, quantity // ticks, np.int64)
        slices[: quantity % ticks] += 1
        when = start + np.flatnonzero(slices)
        return cls(when, np.full(len(when), side), np.full(len(when), price), slices[slices > 0])

    def __add__(self, other: Flow) -> Flow:
        columns: list[Any] = [
            np.concatenate((getattr(self, name), getattr(other, name)))
            for name in ("tick", "side", "price", "quantity")
        ]
        return Flow(*columns)

    def __len__(self) -> int:
        return len(self.tick)

    def of(self, tick: int) -> Iterator[tuple[int, int, int]]:
        """The tick's orders: side, price, quantity."""
        first, last = np.searchsorted(self.tick, [tick, tick + 1])
        rows = slice(int(first), int(last))
        yield from zip(self.side[rows].tolist(), self.price[rows].tolist(), self.quantity[rows].tolist(), strict=True)
