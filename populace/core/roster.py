"""Who there is: the types of agents, their ids, who was born when and who has left. Pure.

First ids go to the types as they are declared (of five firms and a hundred households, the firms are 0 to 4 and the
households 5 to 104), newborns follow all of them, and no id is ever given again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from populace.core.errors import ScenarioError

ONE: Final = "agent"
"""What the type of a society with one class of agents is called."""

STAYS: Final = 2**31 - 1
"""Stands for the tick in which somebody leaves who has not left."""

Ids = NDArray[np.int32]


class Roster:
    """The agents of a run. `names` are the types in their order, `first` how many ids there are at tick 0.

    An agent lives from the tick in which it is born (0 for the first ones) to before the one that it has left by.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        self.names: tuple[str, ...] = tuple(counts)
        self._sizes = np.array(list(counts.values()), np.int64)
        """How many there ever were of each type."""
        self._edges = np.concatenate(([0], np.cumsum(list(counts.values())))).astype(np.int64)
        self.first = int(self._edges[-1])
        self._types: NDArray[np.int32] = np.empty(0, np.int32)
        """Of the newborns, in order of id."""
        self._born: NDArray[np.int32] = np.empty(0, np.int32)
        self._places: NDArray[np.int64] = np.empty(0, np.int64)
        """Where the newborns stand among all of their type."""
        self._left: NDArray[np.int32] | None = None
        self._living: dict[str | None, Ids] = {}

    @property
    def size(self) -> int:
        """How many ids were ever given: they go from 0 to size - 1."""
        return self.first + len(self._types)

    @property
    def changed(self) -> bool:
        """Whether anybody was born or has left since tick 0."""
        return bool(len(self._types)) or self._left is not None

    @property
    def anyone_left(self) -> bool:
        """Whether anybody has left."""
        return self._left is not None

    def ids(self, type: str | None = None) -> Ids:  # noqa: A002
        """Those who live, of one type or of all: int32, sorted, read-only. Raises ScenarioError for no such type."""
        known = self._living.get(type)
        if known is None:
            known = self.members(type)
            if self._left is not None:
                known = known[self._left[known] == STAYS]
            known.flags.writeable = False
            self._living[type] = known
        return known

    def members(self, type: str | None = None) -> Ids:  # noqa: A002
        """All who ever were, of one type or of all: int32, sorted. Raises ScenarioError for no such type."""
        if type is None:
            return np.arange(self.size, dtype=np.int32)
        at = self.place_of(type)
        first = np.arange(self._edges[at], self._edges[at + 1], dtype=np.int32)
        if not len(self._types):
            return first
        return np.concatenate((first, (self.first + np.flatnonzero(self._types == at)).astype(np.int32)))

    def own(self, type: str, index: int, shards: int) -> Ids:  # noqa: A002
        """Those of a type who live on shard `index` of `shards`: int32, sorted."""
        at = self.place_of(type)
        start, end = self._edges[at : at + 2].tolist()
        own = np.arange(start + (index - start) % shards, end, shards, dtype=np.int32)
        if len(self._types):
            newborn = self.first + np.flatnonzero(self._types == at)
            own = np.concatenate((own, newborn[newborn % shards == index].astype(np.int32)))
        return own if self._left is None else own[self._left[own] == STAYS]

    def place_of(self, type: str) -> int:  # noqa: A002
        """Which of the types this one is. Raises ScenarioError, naming those there are."""
        if type not in self.names:
            raise ScenarioError(f"there is no type of agents {type!r}; there are {', '.join(self.names)}")
        return self.names.index(type)

    def types_of(self, ids: ArrayLike) -> NDArray[np.int64]:
        """The place of each agent's type among `names`."""
        ids = np.asarray(ids, np.int64)
        found = np.searchsorted(self._edges, ids, side="right") - 1
        if len(self._types):
            newborn = ids >= self.first
            found[newborn] = self._types[ids[newborn] - self.first]
        return found

    def type_of(self, id: int) -> str:  # noqa: A002
        """The type of one agent."""
        return self.names[int(self.types_of([id])[0])]

    def places(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Where each agent stands among all that ever were of its type."""
        ids = np.asarray(ids, np.int64)
        if len(self.names) == 1:
            return ids
        found = ids - self._edges[np.searchsorted(self._edges, ids, side="right") - 1]
        if len(self._places):
            newborn = ids >= self.first
            found[newborn] = self._places[ids[newborn] - self.first]
        return found

    def lives(self, ids: ArrayLike) -> NDArray[np.bool_]:
        """Whether each of these agents lives."""
        ids = np.asarray(ids, np.int64)
        return np.ones(len(ids), np.bool_) if self._left is None else np.asarray(self._left[ids] == STAYS)

    def there(self, tick: int) -> NDArray[np.bool_]:
        """For each id, whether that agent lived in a tick."""
        born = np.concatenate((np.zeros(self.first, np.int32), self._born))
        return np.asarray((born <= tick) & (self._ends() > tick))

    def gone(self) -> Ids:
        """Those who have left: int32, sorted."""
        return np.flatnonzero(self._ends() != STAYS).astype(np.int32)

    def _ends(self) -> NDArray[np.int32]:
        return np.full(self.size, STAYS, np.int32) if self._left is None else self._left

    def spawn(self, born: Sequence[tuple[str, int]], tick: int) -> Ids:
        """Give ids to newborns, so many of a type after so many of another, who live from `tick` on."""
        start, counts = self.size, [count for _, count in born]
        types, count = [self.place_of(of) for of, _ in born], sum(counts)
        if start + count >= STAYS:
            raise ScenarioError(f"there cannot be more than {STAYS:,} agents: ids are 32-bit numbers")
        at = np.repeat(types, counts).astype(np.int32)
        self._types = np.concatenate((self._types, at))
        self._born = np.concatenate((self._born, np.full(count, tick, np.int32)))
        self._places = np.concatenate((self._places, self._next_places(at)))
        if self._left is not None:
            self._left = np.concatenate((self._left, np.full(count, STAYS, np.int32)))
        self._living = {}
        return np.arange(start, start + count, dtype=np.int32)

    def _next_places(self, types: NDArray[np.int32]) -> NDArray[np.int64]:
        """Where newborns of these types will stand among all of their type."""
        places = np.empty(len(types), np.int64)
        for at in np.unique(types).tolist():
            mine = np.flatnonzero(types == at)
            places[mine] = self._sizes[at] + np.arange(len(mine))
            self._sizes[at] += len(mine)
        return places

    def retire(self, ids: Ids, tick: int) -> None:
        """Let these agents, who live, be gone from `tick` on."""
        if len(ids):
            self._left = self._ends()
            self._left[ids] = tick
            self._living = {}

    def state(self) -> dict[str, Any]:
        """What has changed since tick 0, as plain arrays: types and ticks of newborns; who left, and when."""
        gone = self.gone()
        return {"types": self._types, "born": self._born, "gone": gone, "left": self._ends()[gone]}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Take what `state` gave; None: nobody was born or has left."""
        state = _AS_IT_BEGAN if state is None else state
        self._types = np.array(state["types"], np.int32)
        self._born = np.array(state["born"], np.int32)
        self._sizes = np.diff(self._edges)
        self._places = self._next_places(self._types)
        self._left = None
        self._living = {}
        if len(state["gone"]):
            self._left = self._ends()
            self._left[np.asarray(state["gone"])] = state["left"]


_NONE: Final = np.empty(0, np.int32)
_AS_IT_BEGAN: Final[Mapping[str, Any]] = {"types": _NONE, "born": _NONE, "gone": _NONE, "left": _NONE}


def before(state: Mapping[str, Any] | None, tick: int) -> dict[str, NDArray[np.int32]]:
    """A roster's state without what takes effect from `tick` on."""
    given = {name: np.asarray(one, np.int32) for name, one in (state or _AS_IT_BEGAN).items()}
    born, left = given["born"] < tick, given["left"] < tick
    return {
        "types": given["types"][born], "born": given["born"][born], "gone": given["gone"][left],
        "left": given["left"][left],
    }  # fmt: skip
