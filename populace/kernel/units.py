"""Who ends a tick together, and how those influence one another. Pure.

An agent that takes turns of its own ends a tick by itself. The agents of a columnar type on a shard do so as one, since
their turns are one call. So such a *unit* waits for all who may influence any of its agents, and all whom any of them
may influence wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from populace.kernel.influence import Influence, influence_of

Ids = NDArray[np.int32]


class Units:
    """The units of a run of `shards` shards, as shard `index` sees them.

    An agent that is one has its id; those of the `n`th columnar type on shard `s` are `agents + n * shards + s`. `of`
    is each agent's unit (int32), `owner` the shard of each unit, -1 for the ids of columnar agents, which are none.
    `columnar` has the ids of columnar types by name, on all shards.
    """

    def __init__(self, influence: Influence, columnar: Mapping[str, Ids], index: int, shards: int) -> None:
        self.agents = influence.agents
        self.index, self.shards = index, shards
        self.names = list(columnar)
        self.of: Ids = np.arange(self.agents, dtype=np.int32)
        size = self.agents + len(self.names) * shards
        self.owner: Ids = np.arange(size, dtype=np.int32) % shards
        self.influence = self._between_agents = influence
        if not columnar:
            return
        self.owner[self.agents :] = np.tile(np.arange(shards, dtype=np.int32), len(self.names))
        for n, ids in enumerate(columnar.values()):
            self.of[ids] = self.agents + n * shards + ids % shards
            self.owner[ids] = -1
        there = np.zeros(size, np.bool_)
        there[self.of] = True
        self.owner[~there] = -1
        self.influence = influence_of(size, self.of[influence.influenced], self.of[influence.by])

    def __len__(self) -> int:
        return len(self.owner)

    @property
    def own(self) -> Ids:
        """The units of this shard, sorted."""
        return np.flatnonzero(self.owner == self.index).astype(np.int32)

    def unit(self, name: str) -> int:
        """The unit of a columnar type on this shard."""
        return self.agents + self.names.index(name) * self.shards + self.index

    def name(self, unit: int) -> str:
        """The columnar type of a unit."""
        return self.names[(unit - self.agents) // self.shards]

    def onto(self) -> Influence:
        """By unit, those on this shard whom it may influence."""
        return self.influence.reverse(self.owner == self.index)

    def reaching(self, shard: int) -> NDArray[np.bool_]:
        """Which units of this shard influence somebody on another one."""
        found = np.zeros(len(self), np.bool_)
        of, by = self.influence.influenced, self.influence.by
        found[by[(self.owner[by] == self.index) & (self.owner[of] == shard)]] = True
        return found

    def read_on(self, shard: int) -> NDArray[np.bool_]:
        """Which columnar agents of this shard influence one on a shard that takes turns of its own, and reads them."""
        found = np.zeros(self.agents, np.bool_)
        of, by = self._between_agents.influenced, self._between_agents.by
        found[by[(self.of[by] >= self.agents) & (by % self.shards == self.index) & (self.owner[of] == shard)]] = True
        return found


def count_down(lack: Ids, onto: Influence, ids: Ids) -> Ids:
    """Take one off for each of these, and for all whom they influence; gives who lack nobody any more."""
    touched = np.concatenate((_rows_of(onto, ids), ids))
    np.subtract.at(lack, touched, 1)
    return np.unique(touched[lack[touched] == 0])


def _rows_of(influence: Influence, ids: Ids) -> Ids:
    """The rows of these agents, one after the other."""
    starts = influence.offsets[ids]
    counts = influence.offsets[ids + 1] - starts
    places = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(int(counts.sum()))
    return influence.by[places]
