"""The agents' public fields as NumPy columns: what the world, the outcomes and the levers see of agents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.core.roster import ONE, Roster
from populace.core.union import union
from populace.env.digest import RowDigests, column_words, join_digests
from populace.env.part import Opening, Part, query
from populace.env.turnover import Birth

if TYPE_CHECKING:
    from populace.env.world import World

_DTYPES: Final[Mapping[type, np.dtype[Any]]] = {
    float: np.dtype(np.float64),
    int: np.dtype(np.int64),
    bool: np.dtype(np.bool_),
    str: np.dtype(object),
}
_FITS: Final = {float: "fiub", int: "iu", bool: "b"}

_NONE: Final = np.empty(0, np.int32)

Columns = dict[str, NDArray[Any]]
"""By name of a field, its values for all that ever were of a type of agents, in the order of their ids."""


class Fields(Part):
    """One column for each public field: float64, int64, bool, or object holding str. Every world has this part.

    `values` are the columns as of the start of the tick and `start` those as each agent began (tick 0, for those who
    were there then): read-only, by name of the field; in a society with types by type, and then by name. Rows are the
    agents who live, in the order of their ids. `values` follows the run: copy a column to keep it. `roster` says who
    there is.
    """

    name = "columns"
    unsaved = ("_digests", "_start_digests", "_turnover_digests")

    def __init__(self) -> None:
        super().__init__()
        self.roster = Roster({ONE: 0})
        self._typed = False
        self._types: dict[str, dict[str, type]] = {}
        self._now: dict[str, Columns] = {}
        self._start: dict[str, Columns] = {}
        self._digests: dict[str, RowDigests] = {}
        self._start_digests: dict[str, RowDigests] = {}
        self._turnover_digests: tuple[RowDigests, RowDigests] | None = None
        self.values: Mapping[str, Any] = MappingProxyType({})
        self.start: Mapping[str, Any] = MappingProxyType({})

    def open(self, opening: Opening) -> None:
        """Take the public fields' initial values. Raises ScenarioError where a column is missing or does not fit."""
        self._typed = bool(opening.counts)
        self.roster = Roster(opening.counts or {ONE: opening.agents})
        given: Any = opening.columns if self._typed else {ONE: opening.columns}
        types: Any = opening.fields if self._typed else {ONE: opening.fields}
        self._types = {name: dict(types.get(name, {})) for name in self.roster.names}
        now: dict[str, Columns] = {}
        for of, fields in self._types.items():
            now[of] = {}
            for name, kind in fields.items():
                if kind not in _DTYPES:
                    raise ScenarioError(f"public field '{name}': its type is float, int, bool or str, not {kind!r}")
                if name not in given.get(of, ()):
                    raise ScenarioError(f"public field '{name}': the opening has no initial values for it")
                now[of][name] = _column(name, kind, given[of][name], len(self.roster.members(of)))
        self._take(now, {of: {name: one.copy() for name, one in columns.items()} for of, columns in now.items()})

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all public fields, of any type."""
        return tuple(dict.fromkeys(name for fields in self._types.values() for name in fields))

    def put(self, agents: NDArray[np.int32], fields: Mapping[str, Sequence[Any] | NDArray[Any]]) -> NDArray[np.int32]:
        """Set fields of `agents` (different ids); gives those of which any value changed, sorted. NaN equals NaN.

        Raises ScenarioError, and changes nothing, for a field that is not public, an unknown agent, or values of
        another type or number.
        """
        agents = np.asarray(agents, dtype=np.int32)
        if agents.size and not 0 <= agents.min() <= agents.max() < self.roster.size:
            raise ScenarioError(f"public fields of an unknown agent: ids go from 0 to {self.roster.size - 1}")
        if not self._typed:
            return self._put({ONE: (agents, fields)})
        given: dict[str, tuple[NDArray[np.int32], Mapping[str, Any]]] = {}
        for of, rows in self._by_type(agents):
            picked = {name: [values[row] for row in rows.tolist()] for name, values in fields.items()}
            given[of] = agents[rows], picked
        return self._put(given)

    def report(
        self, agents: NDArray[np.int32], fields: Mapping[str, Mapping[str, Sequence[Any] | NDArray[Any]]]
    ) -> NDArray[np.int32]:
        """`put` by type: `fields` has columns of those of `agents` (sorted) that are of each type."""
        if not self._typed:
            return self.put(agents, fields.get(ONE, {}))
        return self._put({of: (agents[rows], fields.get(of, {})) for of, rows in self._by_type(agents)})

    def _put(self, given: Mapping[str, tuple[NDArray[np.int32], Mapping[str, Any]]]) -> NDArray[np.int32]:
        new = {
            of: {name: _column(name, self._type(of, name), values, len(ids)) for name, values in fields.items()}
            for of, (ids, fields) in given.items()
        }
        touched: list[NDArray[np.int32]] = []
        for of, (ids, _) in given.items():
            places = self.roster.places(ids) if self._typed else ids
            changed = np.zeros(len(ids), dtype=np.bool_)
            for name, values in new[of].items():
                column = self._now[of][name]
                old = column[places]
                differs = old != values
                if values.dtype.kind == "f":
                    differs &= ~(np.isnan(old) & np.isnan(values))
                changed |= differs.astype(np.bool_)
                column[places] = values
                if self._digests:
                    self._keep_digest(self._digests[self._key(of, name)], places, ids, values, old)
            touched.append(ids[changed])
        return union(*touched) if touched else np.empty(0, np.int32)

    def newborn(self, of: str, columns: Mapping[str, Any], ids: Sequence[int]) -> dict[str, list[Any]]:
        """The public fields of agents who are to be born. Raises ScenarioError where one is missing or does not fit."""
        for name, kind in self._types[of].items():
            if name not in columns:
                raise ScenarioError(f"spawn({of!r}): the newborns have no value for the public field {name!r}")
            _column(name, kind, columns[name], len(ids))
        return {name: columns[name] for name in self._types[of]}

    def spawn(self, born: Sequence[Birth], public: Sequence[Mapping[str, Any]], tick: int) -> NDArray[np.int32]:
        """Let agents be born, who live from `tick` on, with these public fields, a mapping a birth; gives their ids."""
        digests = self._digests_of_turnover()
        ids = self.roster.spawn([(one.type, one.count) for one in born], tick)
        types = self.roster.types_of(ids)
        digests[0].add(ids, types, np.full(len(ids), tick))
        for at in np.unique(types).tolist():
            of, own = self.roster.names[at], ids[types == at]
            given = [values for one, values in zip(born, public, strict=True) if one.type == of]
            for name, kind in self._types[of].items():
                new = _column(name, kind, [value for values in given for value in values[name]], len(own))
                self._now[of][name] = np.concatenate((self._now[of][name], new))
                self._start[of][name] = np.concatenate((self._start[of][name], new))
                if self._digests:
                    self._digests[self._key(of, name)].put(self.roster.places(own), own, new)
                    self._start_digests[self._key(of, name)].add(own, new)
            self._start[of] = _sealed(self._start[of])
        self._show()
        return ids

    def retire(self, ids: NDArray[np.int32], tick: int) -> None:
        """Let these agents, who live, be gone from `tick` on; the columns keep the last values of all."""
        if len(ids):
            self._digests_of_turnover()[1].add(ids, np.full(len(ids), tick))
            self.roster.retire(ids, tick)
            self._show()

    def _digests_of_turnover(self) -> tuple[RowDigests, RowDigests]:
        """Of who was born and who has left, as rows; brought up to the roster when they are first wanted."""
        if self._turnover_digests is None:
            born, left = RowDigests("born", "type", "tick"), RowDigests("left", "tick")
            state = self.roster.state()
            ids = np.arange(self.roster.first, self.roster.size)
            born.add(ids, state["types"], state["born"])
            left.add(state["gone"], state["left"])
            self._turnover_digests = born, left
        return self._turnover_digests

    def _by_type(self, agents: NDArray[np.int32]) -> Iterator[tuple[str, NDArray[np.intp]]]:
        """The types of these agents, each with the rows at which they stand."""
        types = self.roster.types_of(agents)
        for at in np.unique(types).tolist():
            yield self.roster.names[at], np.flatnonzero(types == at)

    def of_agents(self, name: str, agents: Sequence[int] | NDArray[np.integer]) -> NDArray[Any]:
        """A field's values for these agents, in their order; of those who have left, their last ones.

        Raises ScenarioError for an agent that there is not, and for one whose type has no such public field.
        """
        ids = np.asarray(agents, np.int32)
        if ids.size and not 0 <= ids.min() <= ids.max() < self.roster.size:
            raise ScenarioError(f"public fields of an unknown agent: ids go from 0 to {self.roster.size - 1}")
        if not self._typed:
            self._type(ONE, name)
            return np.asarray(self._now[ONE][name][ids])
        of = next((of for of, fields in self._types.items() if name in fields), self.roster.names[0])
        found = np.empty(len(ids), _DTYPES[self._type(of, name)])
        for of, rows in self._by_type(ids):
            self._type(of, name)
            found[rows] = self._now[of][name][self.roster.places(ids[rows])]
        return found

    def having(self, name: str, agents: NDArray[np.int32]) -> NDArray[np.intp]:
        """The rows of those of these agents that live and have this public field."""
        if not self._typed and not self.roster.anyone_left:
            return np.arange(len(agents) if name in self._types[ONE] else 0)
        having = np.array([name in self._types[of] for of in self.roster.names])
        return np.flatnonzero(having[self.roster.types_of(agents)] & self.roster.lives(agents))

    def types_having(self, name: str) -> tuple[str, ...]:
        """The types of agents that have this public field."""
        return tuple(of for of, fields in self._types.items() if name in fields)

    def dtype_of(self, name: str) -> np.dtype[Any]:
        """What a public field's column holds: float64, int64, bool, or object for text."""
        return _DTYPES[self._types[self.types_having(name)[0]][name]]

    @query
    def of(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[dict[str, list[Any]]]:
        """`of(agents=[...], fields=[...])`: for each field its values, one an agent.

        Unless they are named, the fields are all public ones that each of these agents has.
        """
        return [self._of(**one) for one in args]

    def _of(self, /, *, agents: Any = None, fields: Any = None, **rest: Any) -> dict[str, list[Any]]:
        if rest or not isinstance(agents, list):
            raise ValueError(f"write columns.of(agents=[...], fields=[...]), got agents={agents!r} {rest or ''}")
        if not all(type(agent) is int and 0 <= agent < self.roster.size for agent in agents):
            raise ValueError(f"columns.of: agents are ids from 0 to {self.roster.size - 1}, got {agents!r}")
        types = {self.roster.names[at] for at in self.roster.types_of(agents).tolist()} or set(self._types)
        known = [name for name in self.names if all(name in self._types[of] for of in types)]
        names = known if fields is None else fields
        if not isinstance(names, list) or not all(isinstance(name, str) and name in known for name in names):
            raise ValueError(f"columns.of: fields are of {', '.join(known) or 'none'}, got {fields!r}")
        return {name: self.of_agents(name, agents).tolist() if agents else [] for name in names}

    def rows(self, agents: NDArray[np.int32]) -> dict[str, Any]:
        """What the table of agents shows of these: a column each public field, as an array, or as a list of str.

        In a society with types, `type` comes first, and where a type has no such field the array is masked, and the
        list has None.
        """
        if not self._typed:
            return {name: _shown(column[agents]) for name, column in self._now[ONE].items()}
        names = self.roster.names
        found: dict[str, Any] = {"type": [names[at] for at in self.roster.types_of(agents).tolist()]}
        by_type = [(of, rows, self.roster.places(agents[rows])) for of, rows in self._by_type(agents)]
        for name in self.names:
            dtype = next(columns[name].dtype for columns in self._now.values() if name in columns)
            text = dtype.kind == "O"
            column = np.full(len(agents), None if text else 0, dtype)
            lacking = np.ones(len(agents), np.bool_)
            for of, rows, places in by_type:
                if name in self._now[of]:
                    column[rows], lacking[rows] = self._now[of][name][places], False
            found[name] = _shown(column if text or not lacking.any() else np.ma.masked_array(column, lacking))
        return found

    @staticmethod
    def _keep_digest(
        digests: RowDigests, places: NDArray[Any], ids: NDArray[np.int32], values: NDArray[Any], old: NDArray[Any]
    ) -> None:
        """Old values out of a column's digest, new ones in; -0.0 is another than 0.0."""
        other = old != values if values.dtype == object else column_words(old) != column_words(values)
        which = np.flatnonzero(other)
        digests.put(places[which], ids[which], values[which])

    def digest(self) -> bytes:
        """16 bytes over the columns now and at the start. The first takes all; from then on only what is put."""
        if not self._start_digests:
            for of in self._types:
                ids = self.roster.members(of)
                for name in self._types[of]:
                    key = self._key(of, name)
                    self._digests[key], self._start_digests[key] = (RowDigests(key, "value") for _ in range(2))
                    self._digests[key].put(np.arange(len(ids)), ids, self._now[of][name])
                    self._start_digests[key].add(ids, self._start[of][name])
        columns = _join(self._digests), _join(self._start_digests)
        if not self.roster.changed:
            return join_digests(*columns)
        return join_digests(*columns, *(one.digest() for one in self._digests_of_turnover()))

    def state(self) -> dict[str, Any]:
        """Columns now and at the start; columns of str as lists."""
        now, start = ({of: _plain(one) for of, one in columns.items()} for columns in (self._now, self._start))
        state = {"now": now, "start": start} if self._typed else {"now": now[ONE], "start": start[ONE]}
        return state | {"roster": self.roster.state()} if self.roster.changed else state

    def restore_roster(self, state: dict[str, Any]) -> None:
        """Take of a state who there is, before any part is restored."""
        self.roster.restore(state.get("roster"))
        self._turnover_digests = None

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state of the same fields and number of agents. Raises ScenarioError when it has others."""
        given = {key: state[key] if self._typed else {ONE: state[key]} for key in ("now", "start")}
        had = {of: sorted(columns) for of, columns in given["now"].items()}
        has = {of: sorted(fields) for of, fields in self._types.items()}
        if had != has:
            one, other = (had, has) if self._typed else (had[ONE], has[ONE])
            raise ScenarioError(f"the checkpoint has the public fields {one}, not {other}")
        now, start = (
            {
                of: {
                    name: read(name, kind, given[key][of][name], len(self.roster.members(of)))
                    for name, kind in fields.items()
                }
                for of, fields in self._types.items()
            }
            for key, read in (("now", _column), ("start", _start_column))
        )
        self._take(now, start)

    def _take(self, now: dict[str, Columns], start: dict[str, Columns]) -> None:
        self._now, self._start = now, {of: _sealed(columns) for of, columns in start.items()}
        self._digests, self._start_digests = {}, {}
        self._show()

    def _show(self) -> None:
        """Make `values` and `start`."""
        shown = [{of: self._living(of, columns) for of, columns in given.items()} for given in (self._now, self._start)]
        self.values, self.start = (MappingProxyType(one) if self._typed else one[ONE] for one in shown)

    def _living(self, of: str, columns: Columns) -> Mapping[str, NDArray[Any]]:
        """The columns of a type, of those of its agents who live."""
        members = self.roster.members(of) if self.roster.anyone_left else _NONE
        lives = self.roster.lives(members)
        if lives.all():
            return MappingProxyType({name: _read_only(one) for name, one in columns.items()})
        return _Picked(columns, np.flatnonzero(lives))

    def _key(self, of: str, name: str) -> str:
        return f"{of}.{name}" if self._typed else name

    def _type(self, of: str, name: str) -> type:
        if name not in self._types[of]:
            whose = f" of type '{of}'" if self._typed else ""
            there = ", ".join(self._types[of]) or "none"
            raise ScenarioError(f"'{name}' is not a public field{whose}; there are: {there}")
        return self._types[of][name]


def no_column(world: World, error: KeyError) -> str:
    """What columns there are, where an outcome looked for another."""
    if any(name in world.columns for name in error.args):
        return ""
    if world.roster.names == (ONE,):
        return f". The columns there are: {', '.join(world.columns) or 'none'}"
    each = [f"world.columns[{of!r}] has {', '.join(one) or 'none'}" for of, one in world.columns.items()]
    return f". The columns there are: {'; '.join(each)}"


class _Picked(Mapping[str, NDArray[Any]]):
    """Columns of which only some rows show, as they are when they are read."""

    def __init__(self, columns: Columns, rows: NDArray[np.intp]) -> None:
        self._columns = columns
        self._rows = rows

    def __getitem__(self, name: str) -> NDArray[Any]:
        return _read_only(self._columns[name][self._rows])

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def _column(name: str, kind: type, values: Sequence[Any] | NDArray[Any], size: int) -> NDArray[Any]:
    """The values as an array of the field's dtype, without any loss. Raises ScenarioError naming the field."""
    if len(values) != size:
        raise ScenarioError(f"public field '{name}': {len(values)} values for {size} agents")
    if kind is str:
        column = np.empty(size, dtype=object)
        column[:] = values.tolist() if isinstance(values, np.ndarray) else list(values)
        bad = next((value for value in column if type(value) is not str), None)
        if bad is not None or any(value is None for value in column):
            raise ScenarioError(f"public field '{name}': its values are str, got {bad!r}")
        return column
    given = np.asarray(values)
    if size and (given.dtype.kind not in _FITS[kind] or given.ndim != 1):
        raise ScenarioError(f"public field '{name}': its values are {kind.__name__}, got {given.dtype} {given.shape}")
    if given.dtype.kind == "u" and size and given.max() > np.iinfo(np.int64).max:
        raise ScenarioError(f"public field '{name}': {given.max()} does not fit 64 bits")
    return given.astype(_DTYPES[kind])


def _start_column(name: str, kind: type, values: Sequence[Any] | NDArray[Any], size: int) -> NDArray[Any]:
    """The same; an array that nobody can write to stands for itself."""
    column = values if isinstance(values, np.ndarray) and values.shape == (size,) else None
    if column is None or column.dtype != _DTYPES[kind] or column.flags.writeable or column.base is not None:
        return _column(name, kind, values, size)
    return column


def _join(digests: Mapping[str, RowDigests]) -> bytes:
    return join_digests(*(digests[key].digest() for key in sorted(digests)))


def _shown(column: NDArray[Any]) -> Any:
    return column.tolist() if column.dtype.kind == "O" else column


def _plain(columns: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    return {
        name: column.tolist() if column.dtype == object else column.copy() if column.flags.writeable else column
        for name, column in columns.items()
    }


def _sealed(columns: Columns) -> Columns:
    """Columns that nobody can write to from now on, but for those of str: whoever keeps them need not copy them."""
    for column in columns.values():
        column.flags.writeable = column.dtype == object
    return columns


def _read_only(values: NDArray[Any]) -> NDArray[Any]:
    view = values.view()
    view.flags.writeable = False
    return view
