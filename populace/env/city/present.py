"""Who is where: an index of agents by place that is made when it is first asked, and kept up with those who move."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]


class Present:
    """Agents by place. Sorting them all costs what there are; after that, a tick costs those who moved.

    Agents who moved since the sort are marked, and looked up among themselves; when they are many, all are sorted
    anew.
    """

    def __init__(self) -> None:
        self._order: Int32 | None = None
        self._starts = np.zeros(1, np.int64)
        self._moved = np.zeros(0, np.bool_)
        self._movers: list[Int32] = []
        self._count = 0
        self._recent: tuple[Int32, Int32] | None = None

    def move(self, agents: Int32) -> None:
        """These agents may be elsewhere now."""
        if self._order is not None and len(agents):
            self._movers.append(agents)
            self._count += len(agents)
            self._recent = None

    def at(self, place: int, where: Int32, places: int) -> Int32:
        """Who is at a place, by id; `where` is the place of each agent (-1 for none), as it is now."""
        if self._order is None or 4 * self._count > len(where):
            self._sort(where, places)
        assert self._order is not None
        segment = self._order[self._starts[place] : self._starts[place + 1]]
        if not self._count:
            return segment
        if self._recent is None:
            self._recent = self._sorted_movers(where)
        movers, at = self._recent
        begin, end = np.searchsorted(at, [place, place + 1])
        return np.sort(np.concatenate([segment[~self._moved[segment]], movers[begin:end]]))

    def _sort(self, where: Int32, places: int) -> None:
        order = np.argsort(where, kind="stable").astype(np.int32)
        self._order = order
        self._starts = np.searchsorted(where[order], np.arange(places + 1))
        self._moved = np.zeros(len(where), np.bool_)
        self._movers, self._count, self._recent = [], 0, None

    def _sorted_movers(self, where: Int32) -> tuple[Int32, Int32]:
        movers = np.unique(np.concatenate(self._movers)) if len(self._movers) > 1 else np.unique(self._movers[0])
        self._movers = [movers]
        self._moved[movers] = True
        at = where[movers]
        order = np.argsort(at, kind="stable")
        return movers[order], at[order]
