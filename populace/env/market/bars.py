"""What a book looked like at the end of each tick: a ring of the newest ticks."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.digest import RowDigests, join_digests

_COLUMNS: Final = ("tick", "bid", "ask", "close", "volume", "bid_size", "ask_size")


class Bars:
    """The last `keep` ticks: best bid and ask, close (the last trade's price), cumulated volume, shares at the best.

    All int64, in ticks of price and shares; 0 stands for none.
    """

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.count = 0
        """How many ticks there have been."""
        self._columns = {name: np.zeros(0, np.int64) for name in _COLUMNS}
        self._digests: RowDigests | None = None
        self._digested = 0

    def add(self, *values: int) -> None:
        """A tick's end: tick, bid, ask, close, volume, bid_size, ask_size."""
        place = self.count % self.keep
        had = len(self._columns["tick"])
        if place >= had:
            more = min(self.keep, max(64, 2 * had)) - had
            for name, column in self._columns.items():
                self._columns[name] = np.concatenate((column, np.zeros(more, np.int64)))
        for column, value in zip(self._columns.values(), values, strict=True):
            column[place] = value
        self.count += 1

    def column(self, name: str) -> NDArray[np.int64]:
        """A column of the kept ticks, oldest first: tick, bid, ask, close, volume, bid_size or ask_size."""
        return self._columns[name][self._kept()]

    def newest(self, name: str, n: int) -> NDArray[np.int64]:
        """The n newest values of a column, newest first."""
        newest = np.arange(self.count - 1, max(0, self.count - min(n, self.keep)) - 1, -1) % self.keep
        return self._columns[name][newest]

    def mid(self) -> NDArray[np.float64]:
        """The middle of bid and ask of the kept ticks, oldest first; NaN where a side was empty."""
        bid, ask = self.column("bid"), self.column("ask")
        middle: NDArray[np.float64] = np.where((bid > 0) & (ask > 0), (bid + ask) / 2.0, np.nan)
        return middle

    def _kept(self) -> NDArray[np.int64]:
        return np.arange(max(0, self.count - self.keep), self.count) % self.keep

    def digest(self) -> bytes:
        """16 bytes over the kept ticks."""
        if self._digests is None:
            self._digests, self._digested = RowDigests("bars", *_COLUMNS), 0
        numbers = np.arange(max(self._digested, self.count - self.keep), self.count)
        at = numbers % self.keep
        self._digests.put(at, numbers, *(column[at] for column in self._columns.values()))
        self._digested = self.count
        return join_digests(self._digests.digest(), self.count)

    def state(self) -> dict[str, Any]:
        """The kept ticks, oldest first, and how many there have been."""
        return {"count": self.count, **{name: self.column(name) for name in _COLUMNS}}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state. Raises ScenarioError for one that keeps another number of ticks."""
        if len(state["tick"]) != min(state["count"], self.keep):
            raise ScenarioError(f"the checkpoint's book keeps {len(state['tick'])} ticks: keep_ticks={self.keep}")
        self.count = state["count"]
        at = self._kept()
        size = int(at.max(initial=-1)) + 1
        for name in _COLUMNS:
            column = np.zeros(size, np.int64)
            column[at] = state[name]
            self._columns[name] = column
        self._digests = None
