"""The public fields of a shard's agents, as columns, when a tick ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeAlias

import numpy as np

from populace.agents.agent import Agent
from populace.core.errors import BadField
from populace.core.roster import ONE, Roster
from populace.core.text import shown_value
from populace.kernel.turn import Turn

Reported: TypeAlias = dict[str, tuple[list[int], dict[str, list[Any]]]]
"""By type: agents, and for each of its public fields their values."""


class PublicFields:
    """Reads the public fields of one type of agents; `types` are those of the fields: float, int, bool or str."""

    __slots__ = ("_get", "name", "types")

    def __init__(self, types: Mapping[str, type], name: str = ONE) -> None:
        self.name = name
        self.types = dict(types)
        self._get = attrgetter(*types) if types else None

    def read(self, agent: Agent) -> Any:
        """The agent's values: a tuple in the order of the fields, or the value itself where there is one field."""
        return None if self._get is None else self._get(agent)

    def read_all(self, agents: Sequence[Agent]) -> list[Any]:
        """`read` of each of these."""
        return [None] * len(agents) if self._get is None else list(map(self._get, agents))

    def named(self, agent: Agent) -> dict[str, Any]:
        """The agent's values by name."""
        return {name: getattr(agent, name) for name in self.types}

    def columns(self, turns: Sequence[Turn]) -> dict[str, list[Any]]:
        """The fields of the agents that took these turns, a column each.

        A value of a wrong type, and a field that was deleted, fails its turn and is put back as it was before.
        """
        if self._get is None or not turns:
            return {name: [] for name in self.types}
        try:
            values = list(map(self._get, [turn.agent for turn in turns]))
        except AttributeError:  # one was deleted
            values = [self._of(turn) for turn in turns]
        columns = [values] if len(self.types) == 1 else list(zip(*values, strict=True))
        fields = {}
        for at, ((name, kind), column) in enumerate(zip(self.types.items(), columns, strict=True)):
            if set(map(type, column)) <= {kind} and _writable(kind, column):
                fields[name] = list(column)
            else:
                fields[name] = [self._coerce(one, at, name, kind, v) for one, v in zip(turns, column, strict=True)]
        return fields

    def report(self, turns: Sequence[Turn]) -> tuple[Reported, Iterable[tuple[Any, ...]]]:
        """The agents and their `columns` by type, and the values of each turn's agent, in the order of the turns."""
        fields = self.columns(turns)
        ids = [turn.id for turn in turns]
        return {self.name: (ids, fields)}, zip(*fields.values(), strict=True) if fields else [()] * len(turns)

    def _of(self, turn: Turn) -> Any:
        try:
            return self.read(turn.agent)
        except AttributeError as error:
            values = turn.before if len(self.types) > 1 else (turn.before,)
            for name, value in zip(self.types, values, strict=True):
                setattr(turn.agent, name, value)
            if turn.failure is None:
                turn.fail(BadField(f"{type(turn.agent).__name__}: a public field was deleted: {error}"))
            return turn.before

    def _coerce(self, turn: Turn, at: int, name: str, kind: type, value: Any) -> Any:
        plain = value.item() if isinstance(value, np.generic) else value
        try:
            good = isinstance(plain, kind) or (kind is float and isinstance(plain, int))
            plain = kind(plain) if good else plain
            good = good and _writable(kind, (plain,))
        except OverflowError:
            good = False
        if not good:
            if turn.failure is None:
                turn.fail(BadField(f"{type(turn.agent).__name__}.{name} {_misfit(kind, plain)}"))
            plain = turn.before[at] if len(self.types) > 1 else turn.before
        setattr(turn.agent, name, plain)
        return plain


class FieldsByType:
    """Reads the public fields of agents of several types, each by its own `PublicFields`, in the order of the types."""

    __slots__ = ("_by_class", "_own", "_roster")

    def __init__(self, own: Sequence[PublicFields], classes: Sequence[type[Agent]], roster: Roster) -> None:
        self._own = own
        self._by_class = dict(zip(classes, own, strict=True))
        self._roster = roster

    def read(self, agent: Agent) -> Any:
        """See `PublicFields.read`."""
        return self._by_class[type(agent)].read(agent)

    def read_all(self, agents: Sequence[Agent]) -> list[Any]:
        """See `PublicFields.read_all`."""
        return list(map(self.read, agents))

    def named(self, agent: Agent) -> dict[str, Any]:
        """See `PublicFields.named`."""
        return self._by_class[type(agent)].named(agent)

    def report(self, turns: Sequence[Turn]) -> tuple[Reported, Iterable[tuple[Any, ...]]]:
        """See `PublicFields.report`."""
        types = self._roster.types_of([turn.id for turn in turns])
        rows: list[tuple[Any, ...]] = [()] * len(turns)
        found: Reported = {}
        for at in np.unique(types).tolist():
            own, places = self._own[at], np.flatnonzero(types == at).tolist()
            fields, values = own.report([turns[place] for place in places])
            found |= fields
            for place, row in zip(places, values, strict=True):
                rows[place] = row
        return found, rows


def _misfit(kind: type, value: Any) -> str:
    """What the field is and what was put into it, in words."""
    declared = f"is {'an' if kind is int else 'a'} {kind.__name__}"
    if type(value) is int and kind in (int, float):  # its digits may be too many to show
        shown = str(value) if value.bit_length() <= 64 else f"an int of {value.bit_length()} bits"
        return f"{declared} {'from -2**63 to 2**63 - 1' if kind is int else 'of 64 bits'}, and {shown} is beyond that"
    return f"{declared}, not {shown_value(value)}"


def _writable(kind: type, column: Sequence[Any]) -> bool:
    """Whether values of a right type can be written down: int64, and text without lone surrogates."""
    if kind is int:
        return bool(min(column) >= -(2**63) and max(column) < 2**63)
    if kind is str:
        try:
            "".join(column).encode()
        except UnicodeEncodeError:
            return False
    return True
