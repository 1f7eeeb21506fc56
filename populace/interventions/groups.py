"""Who is in a group: a function of (seed, population as drawn, group), the same in every process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.draws import column
from populace.core.errors import SettingsError
from populace.core.roster import ONE, Roster
from populace.interventions.levers import Among, BlockLever, ChangeLever, SendLever, label_of

SHOWN_CHARS: Final = 200
written: Final = msgspec.json.Encoder(order="deterministic").encode

Ids = NDArray[np.int32]


class Members(msgspec.Struct, frozen=True):
    """The agents in the groups that a lever names, as int32 ids; plain data, which travels to shards.

    `group` is whom it sends to, whom it changes, or whose messages it blocks (empty where it sets parameters); `other`
    is to whom these messages are, None for all.
    """

    group: Ids
    other: Ids | None = None


def find_members(
    levers: Sequence[Any], columns: Mapping[str, Mapping[str, Sequence[Any]]], roster: Roster, seed: int
) -> list[Members]:
    """The members of each lever's groups, among populations that have these columns, by type.

    Raises SettingsError, naming lever and key, for an unknown type, column or agent, a condition of another type than
    its column, and a group without members; and for two levers of one name.
    """
    labels = [label_of(lever, index) for index, lever in enumerate(levers)]
    if doubled := sorted({label for label in labels if labels.count(label) > 1}):
        raise SettingsError(f"two levers are named {', '.join(map(repr, doubled))}: give each a name of its own")
    groups = _Groups(columns, roster, seed)
    found: list[Members] = []
    for lever, label in zip(levers, labels, strict=True):
        try:
            match lever:
                case SendLever(send=send):
                    found.append(Members(groups.find(send.to, "send.to", label)))
                case BlockLever(block=block):
                    senders = groups.find(block.sender, "block.sender", label)
                    to = block.receiver
                    found.append(Members(senders, None if to is None else groups.find(to, "block.receiver", label)))
                case ChangeLever(change=change):
                    found.append(Members(groups.find(change.group, "change.group", label)))
                case _:
                    found.append(Members(np.empty(0, np.int32)))
        except SettingsError as error:
            raise SettingsError(f"lever {label!r}: {error}") from None
    return found


class _Groups:
    """Finds the members of groups."""

    def __init__(self, columns: Mapping[str, Mapping[str, Sequence[Any]]], roster: Roster, seed: int) -> None:
        self._columns = columns
        self._roster = roster
        self._agents = roster.size
        self._seed = seed

    def find(self, group: Any, key: str, label: str) -> Ids:
        """The members' ids: as written for a list, sorted for any other."""
        if group == "all":
            return np.arange(self._agents, dtype=np.int32)
        if not isinstance(group, Among):
            return self._listed(group, key)
        types = self._types(group.type, f"{key}.type")
        found = np.isin(self._roster.types_of(np.arange(self._agents)), [self._roster.place_of(of) for of in types])
        for name, condition in group.where.items():
            found &= self._matching(f"{key}.where.{name}", name, condition, types)
        ids = np.flatnonzero(found).astype(np.int32)
        if group.share is not None:
            lot = f"lever.key.{group.key}" if group.key else f"lever.{label}.{key}"
            count = int(group.share * len(ids) + 0.5)
            first = np.argsort(column(self._seed, 0, lot, ids), kind="stable")[:count]
            matching, ids = len(ids), np.sort(ids[first])
            if matching and not count:
                raise SettingsError(f"{key}: a share of {group.share} of {matching} agents is nobody")
        if not len(ids):
            given = {**({} if group.type is None else {"type": group.type}), **group.where}
            wanted = " and ".join(f"{name} = {shown(one)}" for name, one in given.items())
            raise SettingsError(f"{key}: no agent has {wanted} at tick 0")
        return ids

    def _types(self, given: Any, key: str) -> tuple[str, ...]:
        """The types that a group names; all of them where it names none."""
        names = self._roster.names
        if given is None:
            return names
        if names == (ONE,):
            raise SettingsError(f"{key}: the society has one class of agents and no types: leave it out")
        for name in _list(given):
            if name not in names:
                raise SettingsError(f"{key}: there is no type of agents '{name}'; there are {', '.join(names)}")
        return tuple(_list(given))

    def _listed(self, ids: Sequence[int], key: str) -> Ids:
        if max(ids) >= self._agents:
            raise SettingsError(f"{key}: there is no agent {max(ids)}; ids go from 0 to {self._agents - 1}")
        if len(set(ids)) < len(ids):
            raise SettingsError(f"{key}: an agent is listed twice")
        return np.array(ids, dtype=np.int32)

    def _matching(self, key: str, name: str, condition: Any, types: Sequence[str]) -> NDArray[np.bool_]:
        having = [of for of in types if name in self._columns.get(of, ())]
        if not having:
            there = ", ".join(dict.fromkeys(one for of in types for one in self._columns.get(of, ())))
            raise SettingsError(f"{key}: the population has no column '{name}'; it has {there}")
        kinds = {_kind(value) for of in having for value in self._columns[of][name]} - {"nothing"}
        wanted = list(condition.values() if isinstance(condition, Mapping) else _list(condition))
        for one in wanted:
            if _kind(one) not in kinds:
                held = ", ".join(sorted(kinds)) or "nothing"
                raise SettingsError(f"{key}: {shown(one)} is {_kind(one)}, and the column holds {held}")
        found = np.zeros(self._agents, np.bool_)
        for of in having:
            found[self._roster.members(of)] = self._fitting(self._columns[of][name], condition, wanted)
        return found

    @staticmethod
    def _fitting(values: Sequence[Any], condition: Any, wanted: Sequence[Any]) -> NDArray[np.bool_]:
        """Which of a column's values fit a condition."""
        if isinstance(condition, Mapping):
            numbers = np.array([value if _kind(value) == "numbers" else np.nan for value in values], np.float64)
            low, high = condition.get("min", -np.inf), condition.get("max", np.inf)
            return np.asarray((numbers >= low) & (numbers <= high))
        chosen = {(_kind(one), one) for one in wanted}
        return np.array([type(v) in _KINDS and (_KINDS[type(v)], v) in chosen for v in values], np.bool_)


_KINDS: Final = {bool: "true or false", int: "numbers", float: "numbers", str: "text"}


def _kind(value: Any) -> str:
    return "nothing" if value is None else _KINDS.get(type(value), f"a {type(value).__name__}")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def shown(value: Any) -> str:
    """A value as a person reads it in an error."""
    return written(value).decode()[:SHOWN_CHARS]
