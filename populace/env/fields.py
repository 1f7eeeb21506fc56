"""The agents' public fields as NumPy columns: what the world, the outcomes and the levers see of agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.digest import RowDigests, column_words, join_digests
from populace.env.part import Opening, Part, query

_DTYPES: Mapping[type, np.dtype[Any]] = {
    float: np.dtype(np.float64),
    int: np.dtype(np.int64),
    bool: np.dtype(np.bool_),
    str: np.dtype(object),
}
_FITS = {float: "fiub", int: "iu", bool: "b"}


class Fields(Part):
    """One column for each public field: float64, int64, bool, or object holding str. Every world has this part.

    `values` are the columns as of the start of the tick and `start` those as of tick 0; both are read-only views
    by field name. `values` follows the run: copy a column to keep it.
    """

    name = "columns"
    unsaved = ("_digests", "_start_digest")

    def __init__(self) -> None:
        super().__init__()
        self._types: dict[str, type] = {}
        self._now: dict[str, NDArray[Any]] = {}
        self._agents = 0
        self._digests: dict[str, RowDigests] = {}
        self._start_digest = b""
        self.values: Mapping[str, NDArray[Any]] = MappingProxyType({})
        self.start: Mapping[str, NDArray[Any]] = MappingProxyType({})

    def open(self, opening: Opening) -> None:
        """Take the public fields' initial values. Raises ScenarioError where a column is missing or does not fit."""
        self._agents = opening.agents
        self._types = dict(opening.fields)
        now = {}
        for name, kind in self._types.items():
            if kind not in _DTYPES:
                raise ScenarioError(f"public field '{name}': its type is float, int, bool or str, not {kind!r}")
            if name not in opening.columns:
                raise ScenarioError(f"public field '{name}': the opening has no initial values for it")
            now[name] = _column(name, kind, opening.columns[name], opening.agents).copy()
        self._take(now, {name: values.copy() for name, values in now.items()})

    def put(self, agents: NDArray[np.int32], fields: Mapping[str, Sequence[Any] | NDArray[Any]]) -> NDArray[np.int32]:
        """Set fields of `agents` (different ids); gives those of which any value changed, sorted. NaN equals NaN.

        Raises ScenarioError, and changes nothing, for a field that is not public, an unknown agent, or values of
        another type or number.
        """
        agents = np.asarray(agents, dtype=np.int32)
        if agents.size and not 0 <= agents.min() <= agents.max() < self._agents:
            raise ScenarioError(f"public fields of an unknown agent: ids go from 0 to {self._agents - 1}")
        new = {name: _column(name, self._type(name), values, len(agents)) for name, values in fields.items()}
        changed = np.zeros(len(agents), dtype=np.bool_)
        for name, values in new.items():
            old = self._now[name][agents]
            differs = old != values
            if values.dtype.kind == "f":
                differs &= ~(np.isnan(old) & np.isnan(values))
            changed |= differs.astype(np.bool_)
            self._now[name][agents] = values
            if name in self._digests:
                self._keep_digest(name, agents, values, old)
        return np.unique(agents[changed])

    @query
    def of(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[dict[str, list[Any]]]:
        """`of(agents=[...], fields=[...])`: for each field (all public ones unless named) its values, one an agent."""
        return [self._of(**one) for one in args]

    def _of(self, *, agents: Any = None, fields: Any = None, **rest: Any) -> dict[str, list[Any]]:
        if rest or not isinstance(agents, list):
            raise ValueError(f"write columns.of(agents=[...], fields=[...]), got agents={agents!r} {rest or ''}")
        if not all(type(agent) is int and 0 <= agent < self._agents for agent in agents):
            raise ValueError(f"columns.of: agents are ids from 0 to {self._agents - 1}, got {agents!r}")
        names = list(self._now) if fields is None else fields
        if not isinstance(names, list) or not all(isinstance(name, str) and name in self._now for name in names):
            raise ValueError(f"columns.of: fields are of {', '.join(self._now) or 'none'}, got {fields!r}")
        return {name: self._now[name][agents].tolist() if agents else [] for name in names}

    def _keep_digest(self, name: str, agents: NDArray[np.int32], values: NDArray[Any], old: NDArray[Any]) -> None:
        """Old values out of a column's digest, new ones in; -0.0 is another than 0.0."""
        other = old != values if values.dtype == object else column_words(old) != column_words(values)
        which = np.flatnonzero(other)
        self._digests[name].put(agents[which], agents[which], values[which])

    def digest(self) -> bytes:
        """16 bytes over the columns now and at the start. The first takes all; from then on only what is put."""
        if not self._start_digest:
            self._digests = _digests(self._now)
            self._start_digest = _join(_digests(self.start))
        return join_digests(_join(self._digests), self._start_digest)

    def state(self) -> dict[str, Any]:
        """Columns now and at the start; columns of str as lists."""
        return {"now": _plain(self._now), "start": _plain(self.start)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state of the same fields and number of agents. Raises ScenarioError when it has others."""
        if set(state["now"]) != set(self._types):
            had, has = sorted(state["now"]), sorted(self._types)
            raise ScenarioError(f"the checkpoint has the public fields {had}, not {has}")
        now, start = (
            {name: _column(name, kind, state[key][name], self._agents).copy() for name, kind in self._types.items()}
            for key in ("now", "start")
        )
        self._take(now, start)

    def _take(self, now: dict[str, NDArray[Any]], start: dict[str, NDArray[Any]]) -> None:
        self._now = now
        self._digests, self._start_digest = {}, b""
        self.values = MappingProxyType({name: _read_only(values) for name, values in now.items()})
        self.start = MappingProxyType({name: _read_only(values) for name, values in start.items()})

    def _type(self, name: str) -> type:
        if name not in self._types:
            raise ScenarioError(f"'{name}' is not a public field; there are: {', '.join(self._types) or 'none'}")
        return self._types[name]


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


def _digests(columns: Mapping[str, NDArray[Any]]) -> dict[str, RowDigests]:
    found = {name: RowDigests(name, "value") for name in sorted(columns)}
    for name, digests in found.items():
        ids = np.arange(len(columns[name]))
        digests.put(ids, ids, columns[name])
    return found


def _join(digests: Mapping[str, RowDigests]) -> bytes:
    return join_digests(*(one.digest() for one in digests.values()))


def _plain(columns: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    return {name: column.tolist() if column.dtype == object else column.copy() for name, column in columns.items()}


def _read_only(values: NDArray[Any]) -> NDArray[Any]:
    view = values.view()
    view.flags.writeable = False
    return view
