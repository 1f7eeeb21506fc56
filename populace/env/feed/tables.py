"""Tables in columns whose digest is kept as rows change: rows of numbers by key, and sets of pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from populace.env.digest import DIGEST_BYTES, RowDigests

_NOBODY: frozenset[int] = frozenset()


class Table:
    """Columns of numbers, a row for each key, which count from 0. With `ring`, the last so many keys have a row.

    `columns` gives each column's dtype and what it holds in a new row. `table["strikes"]` is a whole column, in the
    order of places; the row of key k stands at place k, or k % ring. Whoever changes a row has to `touch` it.
    """

    def __init__(self, name: str, columns: Mapping[str, tuple[DTypeLike, int]], *, ring: int = 0) -> None:
        self._name = name
        self._kinds = dict(columns)
        self._ring = ring
        self.written = 0
        """How many keys there have been."""
        self._columns = {name: np.zeros(0, dtype) for name, (dtype, _) in columns.items()}
        self._digests: RowDigests | None = None
        self._touched: list[NDArray[np.int64]] = []
        self._one_by_one: list[int] = []

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._columns[name]

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return list(self._columns)

    def value(self, name: str, key: int) -> int:
        """What a column holds for a key, as an int."""
        return int(self._columns[name][key % self._ring if self._ring else key])

    @property
    def oldest(self) -> int:
        """The first key that has a row."""
        return max(0, self.written - self._ring) if self._ring else 0

    def places(self, keys: NDArray[np.integer]) -> NDArray[np.integer]:
        """Where rows stand in the columns."""
        return keys % self._ring if self._ring else keys

    def extend(self, rows: int) -> None:
        """So many new keys, with the values of new rows."""
        if not self._columns or not rows:
            self.written += rows
            return
        keys = np.arange(self.written, self.written + rows)
        self.written += rows
        needed = min(self.written, self._ring) if self._ring else self.written
        for name, (dtype, start) in self._kinds.items():
            column = self._columns[name]
            if needed > len(column):
                size = max(needed, min(2 * len(column), self._ring or needed))
                self._columns[name] = np.concatenate((column, np.full(size - len(column), start, dtype)))
            self._columns[name][self.places(keys)] = start
        self.touch(keys)

    def touch(self, keys: NDArray[np.integer] | list[int]) -> None:
        """The rows of these keys have changed."""
        if self._digests is not None:
            self._touched.append(np.asarray(keys, np.int64))

    def put(self, name: str, key: int, value: float) -> None:
        """Put a value into a column of one row, and touch it."""
        self._columns[name][key % self._ring if self._ring else key] = value
        if self._digests is not None:
            self._one_by_one.append(key)

    def add(self, name: str, key: int) -> None:
        """Add one to a column of one row, and touch it."""
        self._columns[name][key % self._ring if self._ring else key] += 1
        if self._digests is not None:
            self._one_by_one.append(key)

    def digest(self) -> bytes:
        """16 bytes over the rows that there are. The first takes all of them, later ones those that were touched."""
        if not self._kinds:
            return bytes(DIGEST_BYTES)
        if self._digests is None:
            self._digests = RowDigests(self._name, *self._kinds)
            self._touched = [np.arange(self.oldest, self.written)]
        if self._touched or self._one_by_one:
            keys = np.unique(np.concatenate([*self._touched, np.array(self._one_by_one, np.int64)]))
            keys = keys[keys >= self.oldest]
            at = self.places(keys)
            self._digests.put(at, keys, *(column[at] for column in self._columns.values()))
            self._touched, self._one_by_one = [], []
        return self._digests.digest()

    def state(self) -> dict[str, Any]:
        """The rows that there are, in the order of their keys."""
        at = self.places(np.arange(self.oldest, self.written))
        return {"written": self.written, "columns": {name: column[at] for name, column in self._columns.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what `state` gave."""
        self.written = int(state["written"])
        at = self.places(np.arange(self.oldest, self.written))
        self._columns = {name: np.zeros(len(at), dtype) for name, (dtype, _) in self._kinds.items()}
        for name, column in self._columns.items():
            column[at] = state["columns"][name]
        self._digests, self._touched, self._one_by_one = None, [], []


class Pairs:
    """A set of pairs (key, agent): who has flagged a post, whom an agent has muted."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._sets: dict[int, set[int]] = {}
        self._digests: RowDigests | None = None
        self._came: list[tuple[int, int]] = []
        self._went: list[tuple[int, int]] = []
        self._sorted: NDArray[np.int64] | None = None

    def has(self, key: int, agent: int) -> bool:
        """Whether the pair is there."""
        return agent in self._sets.get(key, _NOBODY)

    def add(self, key: int, agent: int) -> bool:
        """Put a pair in; False where it is there."""
        if self.has(key, agent):
            return False
        self._sets.setdefault(key, set()).add(agent)
        self._sorted = None
        if self._digests is not None:
            self._came.append((key, agent))
        return True

    def remove(self, key: int, agent: int) -> bool:
        """Take a pair out; False where it is not there."""
        if not self.has(key, agent):
            return False
        self._sets[key].discard(agent)
        self._sorted = None
        if self._digests is not None:
            self._went.append((key, agent))
        return True

    def drop(self, key: int) -> None:
        """Take out all pairs of a key."""
        gone = self._sets.pop(key, None)
        if gone:
            self._sorted = None
            if self._digests is not None:
                self._went += [(key, agent) for agent in gone]

    def array(self) -> NDArray[np.int64]:
        """The pairs in order, (n, 2); read-only."""
        if self._sorted is None:
            rows = [(key, agent) for key in sorted(self._sets) for agent in sorted(self._sets[key])]
            self._sorted = np.array(rows, np.int64).reshape(-1, 2)
            self._sorted.flags.writeable = False
        return self._sorted

    def digest(self) -> bytes:
        """16 bytes over the pairs."""
        if self._digests is None:
            self._digests = RowDigests(self._name, "agent")
            self._digests.add(self.array()[:, 0], self.array()[:, 1])
        for rows, take in ((self._came, self._digests.add), (self._went, self._digests.remove)):
            if rows:
                pairs = np.array(rows, np.int64)
                take(pairs[:, 0], pairs[:, 1])
        self._came, self._went = [], []
        return self._digests.digest()

    def restore(self, pairs: Any) -> None:
        """Take what `array` gave."""
        self._sets = {}
        for key, agent in np.asarray(pairs, np.int64).tolist():
            self._sets.setdefault(key, set()).add(agent)
        self._digests, self._sorted, self._came, self._went = None, None, [], []
