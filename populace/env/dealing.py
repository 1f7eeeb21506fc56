"""Dealing tasks, cases or cards to agents so that each comes up equally often and nobody's id matters."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from populace.core.draws import Draws


class Dealer:
    """A pack of `things` that is dealt out to `takers`, shuffled anew whenever it has been dealt to its end.

    What taker `rank` is dealt for the `nth` time follows from the draws alone, so nothing has to be kept. In each deal
    the takers are served in an order that is drawn, and over a whole pack every thing comes up once.

    >>> dealer = Dealer(Draws(7), "cases", things=3, takers=2)
    >>> sorted(dealer.thing(nth, rank) for nth in range(3) for rank in range(2))
    [0, 0, 1, 1, 2, 2]
    """

    def __init__(self, draws: Draws, purpose: str, things: int, takers: int) -> None:
        self._draws = draws
        self._purpose = purpose
        self.things = things
        self.takers = takers
        self._shuffled = lru_cache(maxsize=64)(self._shuffle)

    def _shuffle(self, what: str, size: int, nth: int) -> NDArray[np.int64]:
        words = self._draws.words(f"{self._purpose}/{what}/{nth}", np.arange(size))
        return np.argsort(words, kind="stable")

    def thing(self, nth: int, rank: int) -> int:
        """What taker `rank` (0 to takers - 1) gets when it is dealt for the `nth` time, counted from 0."""
        place = nth * self.takers + int(self._shuffled("seats", self.takers, nth)[rank])
        return int(self._shuffled("pack", self.things, place // self.things)[place % self.things])
