"""The columnar types of a shard: their agents as columns, who is born and leaves, what is saved of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.agents.agent import Agent
from populace.agents.context import Scope
from populace.agents.population import make_column, make_columns
from populace.core.errors import CheckpointDamaged
from populace.core.roster import Roster
from populace.kernel.column_turns import Type
from populace.kernel.columnar_tick import ColumnarTick, KeepTo

Int32 = NDArray[np.int32]
_NEVER: Final = 2**62


class ColumnarTypes:
    """The columnar types of a shard, by name. A tick of theirs is opened with `tick`; see `ColumnarTick`."""

    def __init__(self, types: Mapping[str, Type], roster: Roster, keep_to: KeepTo | None = None) -> None:
        self.types = types
        self._roster = roster
        self._keep_to = keep_to
        places = [roster.names.index(name) for name in types]
        self._is_columnar = np.isin(np.arange(len(roster.names)), places)

    def __bool__(self) -> bool:
        return bool(self.types)

    def tick(self, scope: Scope) -> ColumnarTick:
        """A tick of all types, in which nobody has begun."""
        return ColumnarTick(self.types, self._roster, scope, self._keep_to)

    def among(self, ids: Int32) -> NDArray[np.bool_]:
        """Which of these agents are of a columnar type."""
        return self._is_columnar[self._roster.types_of(ids)]

    def keep_before(self, tick: int) -> None:
        """Keep what they hold now as what they held before a tick, and forget what was before earlier ones."""
        for one in self.types.values():
            one.forget(tick)
            one.keep(tick)

    def spawn(self, name: str, ids: Int32, columns: Mapping[str, Sequence[Any]]) -> None:
        """Newborns of a type, whose ids follow all others'."""
        one = self.types[name]
        made = make_columns(one.kind, columns, ids.tolist(), "spawn: agent {id}")
        one.ids = np.concatenate((one.ids, ids))
        one.columns = {field: np.concatenate((one.columns[field], made[field])) for field in one.types}

    def row(self, id: int, tick: int) -> Agent | None:  # noqa: A002
        """One agent before a tick, as one of its class with the values of its columns; None for one not there."""
        for one in self.types.values():
            ids, columns = one.before(tick)
            at = int(ids.searchsorted(id))
            if at < len(ids) and ids[at] == id:
                return one.kind(**{name: column[at].item() for name, column in columns.items()})
        return None

    def retire(self) -> None:
        """Keep those only who live."""
        for one in self.types.values():
            lives = self._roster.lives(one.ids)
            if not lives.all():
                one.ids = one.ids[lives]
                one.columns = {name: column[lives] for name, column in one.columns.items()}

    def change(self, ids: Int32, name: str, values: Sequence[Any]) -> None:
        """A lever gives a field of these agents other values. Raises ScenarioError, naming who, for what cannot be."""
        types = self._roster.types_of(ids)
        for of, one in self.types.items():
            rows = np.flatnonzero(types == self._roster.names.index(of))
            if not len(rows):
                continue
            column = one.columns[name].copy()
            mine = [values[row] for row in rows.tolist()]
            made = make_column(one.kind, name, mine, ids[rows].tolist(), "agent {id}, as a lever changes it,")
            column[np.searchsorted(one.ids, ids[rows])] = made
            one.columns[name] = column

    def state(self, tick: int) -> dict[str, dict[str, NDArray[Any]]]:
        """The columns by type before a tick, with the agents' ids as 'id'."""
        now = {name: one.before(tick) for name, one in self.types.items()}
        return {name: {"id": ids, **columns} for name, (ids, columns) in now.items()}

    def restore(self, state: Mapping[str, Mapping[str, NDArray[Any]]], own: Mapping[str, Int32]) -> None:
        """Take of a state what belongs to the agents of this shard, `own` by type. Raises CheckpointDamaged."""
        for name, one in self.types.items():
            given = state.get(name, {})
            if sorted(given) != sorted(("id", *one.types)):
                raise CheckpointDamaged(
                    f"the checkpoint has the columns {sorted(given) or 'none'} of '{name}', and the society has "
                    f"{sorted(one.types)}. Resume with the society that the run was begun with."
                )
            ids = np.asarray(given["id"], np.int32)
            rows = np.searchsorted(ids, own[name])
            if len(own[name]) and not (len(ids) and np.array_equal(ids[np.minimum(rows, len(ids) - 1)], own[name])):
                raise CheckpointDamaged(f"the checkpoint lacks agents of '{name}'")
            one.ids = own[name]
            one.columns = {field: np.array(given[field])[rows] for field in one.types}
            one.forget(_NEVER)


def join_columns(parts: Sequence[Mapping[str, Mapping[str, NDArray[Any]]]]) -> dict[str, dict[str, NDArray[Any]]]:
    """The columns of all shards together, in the order of ids."""
    joined: dict[str, dict[str, NDArray[Any]]] = {}
    for name in parts[0] if parts else ():
        order = np.argsort(np.concatenate([part[name]["id"] for part in parts]))
        joined[name] = {field: np.concatenate([part[name][field] for part in parts])[order] for field in parts[0][name]}
    return joined
