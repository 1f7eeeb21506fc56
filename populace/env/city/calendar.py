"""What day it is at a tick, and what happened on each: visits by kind, and who left home."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace.env.city.places import DAY_S
from populace.env.clock import Clock


def moment(clock: Clock | None, tick: int, tick_seconds: float) -> tuple[int, float, int]:
    """Day since the first, from 0; seconds since midnight; weekday, Monday 0.

    Without a clock it all begins on a Monday at midnight.
    """
    if clock is None:
        day, second = divmod(tick * tick_seconds, DAY_S)
        return int(day), second, int(day) % 7
    now = clock.at(tick)
    return (now.date() - clock.at(0).date()).days, _second(now), now.weekday()


def _second(now: datetime) -> float:
    return now.hour * 3600.0 + now.minute * 60.0 + now.second + now.microsecond * 1e-6


class Days:
    """Counts by day, of which the last `keep` are kept: arrivals, who left home, and how many lived."""

    def __init__(self, kinds: int, keep: int) -> None:
        self.keep = keep
        self.first = 0
        self.visits = np.zeros((1, kinds), np.int64)
        self.left = np.zeros(1, np.int64)
        self.alive = np.zeros(1, np.int64)

    @property
    def last(self) -> int:
        """The newest day that there are counts of."""
        return self.first + len(self.left) - 1

    def come_to(self, day: int, alive: int) -> None:
        """A tick of a day, in which so many agents live; the oldest days go."""
        more = min(max(day - self.last, 0), self.keep)
        if more:
            last = max(day, self.last)
            for name in ("visits", "left", "alive"):
                had = getattr(self, name)
                setattr(self, name, np.concatenate([had, np.zeros((more, *had.shape[1:]), np.int64)])[-self.keep :])
            self.first = last - len(self.left) + 1
        self.alive[-1] = max(int(self.alive[-1]), alive)

    def count(self, day: int, kinds: NDArray[np.int64]) -> None:
        """So many arrivals by kind."""
        if day >= self.first:
            self.visits[day - self.first] += kinds

    def count_left(self, day: int, agents: int) -> None:
        """So many agents left home for the first time that day."""
        if day >= self.first:
            self.left[day - self.first] += agents

    def state(self) -> dict[str, Any]:
        """All of it."""
        return {"first": self.first, "visits": self.visits.copy(), "left": self.left.copy(), "alive": self.alive.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        self.first = int(state["first"])
        self.visits, self.left, self.alive = (np.array(state[one], np.int64) for one in ("visits", "left", "alive"))
