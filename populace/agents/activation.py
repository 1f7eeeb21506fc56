"""Activation: which agents are due in a tick without mail and without a timer."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from populace.core.draws import below


class Activation(Protocol):
    """Says who is due; a pure function of its arguments, so that shards need not ask one another."""

    def due(self, seed: int, tick: int, ids: NDArray[np.int32]) -> NDArray[np.bool_]:
        """A mask over `ids`: who is due at `tick`."""


class EveryTick:
    """Every agent is due in every tick."""

    def due(self, seed: int, tick: int, ids: NDArray[np.int32]) -> NDArray[np.bool_]:
        """All of them."""
        return np.ones(len(ids), dtype=np.bool_)


class OnMail:
    """An agent is due when it has mail or a timer fires; and everyone is, once, in tick 0."""

    def due(self, seed: int, tick: int, ids: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Everyone in tick 0, then nobody."""
        return np.full(len(ids), tick == 0, dtype=np.bool_)


class Every:
    """Every agent is due each `period` ticks; `staggered` spreads the agents evenly over the period."""

    def __init__(self, period: int, *, staggered: bool = False) -> None:
        if period < 1:
            raise ValueError(f"Every(period) needs a period of at least 1 tick, got {period}")
        self.period = period
        self.staggered = staggered

    def due(self, seed: int, tick: int, ids: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Those whose phase it is."""
        phase: Any = ids if self.staggered else np.zeros_like(ids)
        return np.asarray((tick + phase) % self.period == 0)


class Sometimes:
    """Each agent is due with probability `p`, drawn for itself in each tick."""

    def __init__(self, p: float) -> None:
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"Sometimes(p) needs a probability, got {p}")
        self.p = p

    def due(self, seed: int, tick: int, ids: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Those whose draw falls below `p`."""
        return below(seed, tick, "activation", ids, self.p)
