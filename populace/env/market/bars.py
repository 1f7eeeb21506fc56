"""What a book looked like at the end of each tick: a ring of the newest ticks."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from populace.env.market.ring import Ring

_COLUMNS: Final = ("tick", "bid", "ask", "close", "volume", "bid_size", "ask_size")


class Bars(Ring):
    """The last `keep` ticks: best bid and ask, close (the last trade's price), cumulated volume, shares at the best.

    All int64, in ticks of price and shares; 0 stands for none.
    """

    def __init__(self, keep: int) -> None:
        super().__init__("bars", dict.fromkeys(_COLUMNS, np.int64), keep)

    def newest(self, name: str, n: int) -> NDArray[np.int64]:
        """The n newest values of a column, newest first."""
        return self.column(name, self.numbers()[::-1][:n])

    def mid(self) -> NDArray[np.float64]:
        """The middle of bid and ask of the kept ticks, oldest first; NaN where a side was empty."""
        bid, ask = self.column("bid"), self.column("ask")
        middle: NDArray[np.float64] = np.where((bid > 0) & (ask > 0), (bid + ask) / 2.0, np.nan)
        return middle
