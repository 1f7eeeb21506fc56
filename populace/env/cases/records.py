"""The cases that were answered: a ring of the last ones, in columns."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.env.digest import RowDigests, join_digests

_COLUMNS: Final = {
    "tick": np.int32,
    "solver": np.int32,
    "nth": np.int32,
    "case": np.int32,
    "answer": np.int16,
    "truth": np.int16,
    "questions": np.int32,
    "spent": np.float64,
    "leaks": np.int32,
}


class Records:
    """One row an answered case; the last `keep` are kept. `written` counts all there were.

    `answer` is -1 where the solver gave none in the time it had.
    """

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.written = 0
        self._columns = {name: np.zeros(0, dtype) for name, dtype in _COLUMNS.items()}
        self._digests = RowDigests("records", *_COLUMNS)

    def add(self, **values: Any) -> int:
        """Write a row; gives its number, which counts from 0."""
        at = self.written % self.keep
        size = len(self._columns["tick"])
        if at >= size:
            more = min(self.keep, max(64, 2 * size)) - size
            for name, column in self._columns.items():
                self._columns[name] = np.concatenate([column, np.zeros(more, column.dtype)])
        for name, column in self._columns.items():
            column[at] = values[name]
        row, place = np.array([self.written]), np.array([at])
        self._digests.put(place, row, *(column[place] for column in self._columns.values()))
        self.written += 1
        return self.written - 1

    def columns(self) -> dict[str, NDArray[Any]]:
        """The kept rows, oldest first."""
        rows = np.arange(max(0, self.written - self.keep), self.written) % self.keep
        return {name: column[rows] for name, column in self._columns.items()}

    def digest(self) -> bytes:
        """16 bytes over the kept rows."""
        return join_digests(self.written, self._digests.digest())

    def state(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {"written": self.written, "columns": self.columns()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state of records that keep as many."""
        self.written = int(state["written"])
        rows = np.arange(max(0, self.written - self.keep), self.written)
        self._columns = {name: np.zeros(len(rows), dtype) for name, dtype in _COLUMNS.items()}
        for name, column in self._columns.items():
            column[rows % self.keep] = state["columns"][name]
        self._digests = RowDigests("records", *_COLUMNS)
        self._digests.put(rows % self.keep, rows, *(self._columns[name][rows % self.keep] for name in _COLUMNS))
