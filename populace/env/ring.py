"""The last rows of something that goes on and on: a ring in columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace.env.digest import RowDigests, join_digests


class Ring:
    """Rows of these `columns` (name and dtype), numbered from 0; the last `keep` are kept. `written` counts them all.

    >>> ring = Ring("sales", {"tick": np.int32, "price": np.float64}, keep=2)
    >>> [ring.add(tick=at, price=9.5) for at in range(3)]
    [0, 1, 2]
    >>> ring.columns()["tick"].tolist()
    [1, 2]
    """

    def __init__(self, name: str, columns: Mapping[str, Any], keep: int) -> None:
        self.name = name
        self.keep = keep
        self.written = 0
        self._columns = {column: np.zeros(0, dtype) for column, dtype in columns.items()}
        self._digests = RowDigests(name, *columns)

    def add(self, **values: Any) -> int:
        """Write a row with a value for each column; gives its number."""
        at = self.written % self.keep
        size = len(next(iter(self._columns.values())))
        if at >= size:
            more = min(self.keep, max(64, 2 * size)) - size
            for name, column in self._columns.items():
                self._columns[name] = np.concatenate([column, np.zeros(more, column.dtype)])
        for name, column in self._columns.items():
            column[at] = values[name]
        place = np.array([at])
        self._digests.put(place, np.array([self.written]), *(column[place] for column in self._columns.values()))
        self.written += 1
        return self.written - 1

    def columns(self) -> dict[str, NDArray[Any]]:
        """The kept rows, oldest first."""
        rows = np.arange(max(0, self.written - self.keep), self.written) % self.keep
        return {name: column[rows] for name, column in self._columns.items()}

    def digest(self) -> bytes:
        """16 bytes over the kept rows; costs nothing but what was written."""
        return join_digests(self.written, self._digests.digest())

    def state(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {"written": self.written, "columns": self.columns()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take a state of a ring that keeps as many rows of the same columns."""
        self.written = int(state["written"])
        rows = np.arange(max(0, self.written - self.keep), self.written)
        for name, column in self._columns.items():
            self._columns[name] = np.zeros(len(rows), column.dtype)
            self._columns[name][rows % self.keep] = state["columns"][name]
        self._digests = RowDigests(self.name, *self._columns)
        self._digests.put(rows % self.keep, rows, *(column[rows % self.keep] for column in self._columns.values()))
