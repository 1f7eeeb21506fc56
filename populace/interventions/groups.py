"""Who is in a group: a function of (seed, population as drawn, group), the same in every process."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.draws import column
from populace.core.errors import SettingsError
from populace.core.roster import ONE, Roster
from populace.interventions.conditions import MATCHING, Among, When
from populace.interventions.levers import BlockLever, ChangeLever, SendLever, label_of

SHOWN_CHARS: Final = 200
SHOWN_VALUES: Final = 12
written: Final = msgspec.json.Encoder(order="deterministic").encode

Ids = NDArray[np.int32]


class Members(msgspec.Struct, frozen=True):
    """The agents in the groups that a lever names, as int32 ids; plain data, which travels to shards.

    `group` is whom it sends to, whom it changes, or whose messages it blocks (empty where it sets parameters, or is of
    those who meet its trigger); `other` is to whom these messages are, None for all. `among` are those who can meet its
    trigger, None for all.
    """

    group: Ids
    other: Ids | None = None
    among: Ids | None = None


def members_of(group: Sequence[int], other: Sequence[int] | None) -> Members:
    """Members from plain lists of ids."""
    return Members(np.array(group, np.int32), None if other is None else np.array(other, np.int32))


class _Slot(NamedTuple):
    """A group that a lever names: the lever's place and label, under which key it stands, and which of `Members`."""

    place: int
    label: str
    key: str
    group: Any
    which: Literal["group", "other", "among"] = "group"


class Membership:
    """Who is in the groups of some levers, among populations that have these columns, by type.

    A group is fixed in the tick in which its lever takes effect, of those who live then. Conditions and lots go by what
    each agent was as it began, so who is in a group is a function of (seed, who lives, group). `at_start` are the
    members at tick 0. Raises SettingsError, naming lever and key, for an unknown type, column or agent, a condition of
    another type than its column, and a group without members at tick 0; and for two levers of one name.
    """

    def __init__(
        self, levers: Sequence[Any], columns: Mapping[str, Mapping[str, Sequence[Any]]], roster: Roster, seed: int
    ) -> None:
        labels = [label_of(lever, index) for index, lever in enumerate(levers)]
        if doubled := sorted({label for label in labels if labels.count(label) > 1}):
            raise SettingsError(f"two levers are named {', '.join(map(repr, doubled))}: give each a name of its own")
        self._seed = seed
        self._names = roster.names
        self._slots = [slot for at, lever in enumerate(levers) for slot in _slots(at, labels[at], lever)]
        self._fitting: list[Ids] = []
        """Of each slot, who fits its group, drawn or not, and whether or not they still live."""
        self._born: list[list[Ids]] = [[] for _ in self._slots]
        groups = _Groups(columns, roster)
        found: list[Members] = [Members(np.empty(0, np.int32)) for _ in levers]
        for slot in self._slots:
            try:
                ids = groups.fitting(slot.group, slot.key)
                self._fitting.append(ids)
                found[slot.place] = _put(found[slot.place], slot, self._drawn(slot, ids, groups))
            except SettingsError as error:
                raise SettingsError(f"lever {slot.label!r}: {error}") from None
        self.at_start = found

    def grow(self, of: str, columns: Mapping[str, Sequence[Any]], ids: Ids) -> None:
        """Agents of a type are born, with these columns."""
        for at, slot in enumerate(self._slots):
            if slot.group == "all":
                self._born[at].append(ids)
            elif isinstance(slot.group, Among) and of in _types(slot.group, self._names):
                fits = np.ones(len(ids), np.bool_)
                for name, condition in slot.group.where.items():
                    fits &= _fits(columns[name], condition) if name in columns else False
                if fits.any():
                    self._born[at].append(ids[fits])

    def at(self, tick: int, places: Collection[int], roster: Roster) -> dict[int, Members]:
        """The members of these levers, by place, as their groups are fixed in a tick."""
        there = roster.there(tick) if places else np.empty(0, np.bool_)
        found = {place: Members(np.empty(0, np.int32)) for place in places}
        for at, slot in enumerate(self._slots):
            if slot.place in found:
                ids = np.concatenate([self._fitting[at], *self._born[at]])
                kept = ids if isinstance(slot.group, list) else ids[there[ids]]
                found[slot.place] = _put(found[slot.place], slot, self._drawn(slot, kept))
        return found

    def _drawn(self, slot: _Slot, ids: Ids, groups: _Groups | None = None) -> Ids:
        """The share of a group that is drawn. Raises SettingsError for nobody, where `groups` is there to say why."""
        group, key = slot.group, slot.key
        if not isinstance(group, Among):
            return ids
        if group.share is not None:
            lot = f"lever.key.{group.key}" if group.key else f"lever.{slot.label}.{key}"
            count = int(group.share * len(ids) + 0.5)
            first = np.argsort(column(self._seed, 0, lot, ids), kind="stable")[:count]
            matching, ids = len(ids), np.sort(ids[first])
            if groups is not None and matching and not count:
                raise SettingsError(f"{key}: a share of {group.share} of {matching} agents is nobody")
        if groups is not None and not len(ids):
            given = {**({} if group.type is None else {"type": group.type}), **group.where}
            wanted = " and ".join(f"{name} = {shown(one)}" for name, one in given.items())
            raise SettingsError(f"{key}: no agent has {wanted} at tick 0{groups.alternatives(group)}")
        return ids

    def state(self) -> dict[str, Ids]:
        """Who of those born later fits which group, for a checkpoint."""
        return {str(at): np.concatenate(born) for at, born in enumerate(self._born) if born}

    def restore(self, state: Mapping[str, Ids]) -> None:
        """Take what `state` gave."""
        self._born = [[np.asarray(state[key], np.int32)] if (key := str(at)) in state else [] for at in
                      range(len(self._slots))]  # fmt: skip


def _slots(place: int, label: str, lever: Any) -> list[_Slot]:
    """The groups that a lever names, but for those who meet its trigger: they show in the run."""
    named: list[_Slot] = []
    match lever:
        case SendLever(send=send):
            named = [_Slot(place, label, "send.to", send.to)]
        case BlockLever(block=block):
            named = [_Slot(place, label, "block.sender", block.sender)]
            if block.receiver is not None:
                named.append(_Slot(place, label, "block.receiver", block.receiver, "other"))
        case ChangeLever(change=change):
            named = [_Slot(place, label, "change.group", change.group)]
    if lever.when is not None and lever.when.among is not None:
        named.append(_Slot(place, label, "when.among", lever.when.among, "among"))
    return [slot for slot in named if slot.group != MATCHING]


def _put(members: Members, slot: _Slot, ids: Ids) -> Members:
    given = {slot.which: ids}
    return msgspec.structs.replace(members, **given)


def _types(group: Among, names: tuple[str, ...]) -> Sequence[str]:
    """The types that a group names; all of them where it names none."""
    return names if group.type is None else _list(group.type)


def types_matching(when: When, fields: Mapping[str, Collection[str]]) -> list[str]:
    """The types of agents that can meet a trigger's conditions, given the public fields of each."""
    among = when.among
    types = _types(among, tuple(fields)) if isinstance(among, Among) else tuple(fields)
    return [of for of in types if all("." in name or name in fields.get(of, ()) for name in when.agents)]


class _Groups:
    """Finds who fits groups at tick 0."""

    def __init__(self, columns: Mapping[str, Mapping[str, Sequence[Any]]], roster: Roster) -> None:
        self._columns = columns
        self._roster = roster
        self._agents = roster.size

    def fitting(self, group: Any, key: str) -> Ids:
        """Their ids: as written for a list, sorted for any other. Raises SettingsError."""
        if group == "all":
            return np.arange(self._agents, dtype=np.int32)
        if not isinstance(group, Among):
            return self._listed(group, key)
        types = self._known(group, f"{key}.type")
        found = np.isin(self._roster.types_of(np.arange(self._agents)), [self._roster.place_of(of) for of in types])
        for name, condition in group.where.items():
            found &= self._matching(f"{key}.where.{name}", name, condition, types)
        return np.flatnonzero(found).astype(np.int32)

    def _known(self, group: Among, key: str) -> Sequence[str]:
        names, types = self._roster.names, _types(group, self._roster.names)
        if group.type is not None and names == (ONE,):
            raise SettingsError(f"{key}: the society has one class of agents and no types: leave it out")
        for name in types:
            if name not in names:
                raise SettingsError(f"{key}: there is no type of agents '{name}'; there are {', '.join(names)}")
        return types

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
        kinds = {kind_of(value) for of in having for value in self._columns[of][name]} - {"nothing"}
        for one in wanted_of(condition):
            if kind_of(one) not in kinds:
                held = ", ".join(sorted(kinds)) or "nothing"
                raise SettingsError(f"{key}: {shown(one)} is {kind_of(one)}, and the column holds {held}")
        found = np.zeros(self._agents, np.bool_)
        for of in having:
            found[self._roster.members(of)] = _fits(self._columns[of][name], condition)
        return found

    def alternatives(self, group: Among) -> str:
        """For an error: the values that there are, of each column that never holds what a group says of it."""
        told = []
        for name, condition in group.where.items():
            having = [of for of in _types(group, self._roster.names) if name in self._columns.get(of, ())]
            held = [value for of in having for value in self._columns[of][name] if type(value) in _KINDS]
            if not _fits(held, condition).any():
                told.append(f"; {name} is {_spread(held)}")
        return "".join(told)


def _spread(values: Sequence[Any]) -> str:
    """The values that there are: each, or from the least to the greatest where they are many numbers."""
    kinds = sorted({(kind_of(value), value) for value in values}, key=lambda pair: (pair[0], pair[1]))
    if len(kinds) > SHOWN_VALUES and {kind for kind, _ in kinds} == {"numbers"}:
        return f"from {shown(kinds[0][1])} to {shown(kinds[-1][1])}"
    more = f" or {len(kinds) - SHOWN_VALUES:,} others" if len(kinds) > SHOWN_VALUES else ""
    return ", ".join(shown(value) for _, value in kinds[:SHOWN_VALUES]) + more


def wanted_of(condition: Any) -> list[Any]:
    """The values that a condition speaks of, the ends of a range among them."""
    return list(condition.values()) if isinstance(condition, Mapping) else _list(condition)


def _fits(values: Sequence[Any], condition: Any) -> NDArray[np.bool_]:
    """Which of a column's values fit a condition."""
    if isinstance(condition, Mapping):
        numbers = np.array([value if kind_of(value) == "numbers" else np.nan for value in values], np.float64)
        low, high = condition.get("min", -np.inf), condition.get("max", np.inf)
        return np.asarray((numbers >= low) & (numbers <= high))
    chosen = {(kind_of(one), one) for one in wanted_of(condition)}
    return np.array([type(v) in _KINDS and (_KINDS[type(v)], v) in chosen for v in values], np.bool_)


_KINDS: Final = {bool: "true or false", int: "numbers", float: "numbers", str: "text"}


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    return "nothing" if value is None else _KINDS.get(type(value), f"a {type(value).__name__}")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def shown(value: Any) -> str:
    """A value as a person reads it in an error."""
    return written(value).decode()[:SHOWN_CHARS]
