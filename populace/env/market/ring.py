"""A table in columns whose rows have numbers from 0 on; the last `keep` are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.digest import RowDigests, join_digests

_FIRST_ROWS: Final = 64


class Ring:
    """Rows in the order in which they came; row `number` stands at `number % keep`. Columns grow as rows come.

    The digest is kept as rows come and change: who changes a kept row says so with `touch`.

    >>> ring = Ring("sales", {"cents": np.int64, "text": str}, keep=2)
    >>> [ring.add(cents=5, text="a"), ring.add(cents=6, text="b"), ring.add(cents=7, text="c")]
    [0, 1, 2]
    >>> ring.column("cents").tolist(), ring.of(2)
    ([6, 7], {'cents': 7, 'text': 'c'})
    """

    def __init__(self, name: str, columns: Mapping[str, type], keep: int) -> None:
        """`columns` have a NumPy type each, or `str`."""
        self.name = name
        self.keep = keep
        self.count = 0
        """How many rows there have been."""
        self._text = frozenset(column for column, kind in columns.items() if kind is str)
        self._columns: dict[str, NDArray[Any]] = {
            column: np.zeros(0, object if kind is str else kind) for column, kind in columns.items()
        }
        self._digests: RowDigests | None = None
        self._digested = 0
        self._touched: list[int] = []

    @property
    def oldest(self) -> int:
        """The number of the oldest kept row."""
        return max(0, self.count - self.keep)

    def kept(self, number: int) -> bool:
        """Whether there is such a row, and it is kept."""
        return self.oldest <= number < self.count

    def numbers(self) -> NDArray[np.int64]:
        """The kept rows' numbers, oldest first."""
        return np.arange(self.oldest, self.count, dtype=np.int64)

    def add(self, **values: Any) -> int:
        """Append a row with a value for each column; gives its number."""
        place = self.count % self.keep
        self._room(place + 1)
        for name, column in self._columns.items():
            column[place] = values[name]
        self.count += 1
        return self.count - 1

    def _room(self, rows: int) -> None:
        had = len(next(iter(self._columns.values())))
        if rows > had:
            more = min(self.keep, max(_FIRST_ROWS, 2 * had, rows)) - had
            for name, column in self._columns.items():
                self._columns[name] = np.concatenate((column, np.zeros(more, column.dtype)))

    def column(self, name: str, numbers: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """A column's values for these kept rows, or for all kept ones, oldest first."""
        return self._columns[name][(self.numbers() if numbers is None else numbers) % self.keep]

    def get(self, name: str, number: int) -> Any:
        """A value of a kept row."""
        value = self._columns[name][number % self.keep]
        return value if name in self._text else value.item()

    def put(self, name: str, number: int, value: Any) -> None:
        """Change a value of a kept row."""
        self._columns[name][number % self.keep] = value
        self.touch(number)

    def touch(self, number: int) -> None:
        """A kept row has changed."""
        if self._digests is not None:
            self._touched.append(number)

    def of(self, number: int) -> dict[str, Any]:
        """A kept row."""
        return {name: self.get(name, number) for name in self._columns}

    def digest(self) -> bytes:
        """16 bytes over the kept rows and the number of all."""
        if self._digests is None:
            self._digests, self._digested = RowDigests(self.name, *self._columns), 0
        first = max(self._digested, self.oldest)
        touched = np.unique(np.array(self._touched, np.int64))
        changed = touched[(touched >= self.oldest) & (touched < first)]
        numbers = np.concatenate((changed, np.arange(first, self.count, dtype=np.int64)))
        at = numbers % self.keep
        self._digests.put(at, numbers, *(column[at] for column in self._columns.values()))
        self._digested = self.count
        self._touched.clear()
        return join_digests(self._digests.digest(), self.count)

    def state(self) -> dict[str, Any]:
        """The kept rows, oldest first, and how many there have been."""
        columns = {name: self.column(name) for name in self._columns}
        return {"count": self.count, **{k: v.tolist() if k in self._text else v for k, v in columns.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state. Raises ScenarioError for one of which another number of rows was kept."""
        rows = len(state[next(iter(self._columns))])
        if rows != min(state["count"], self.keep):
            raise ScenarioError(f"the checkpoint keeps {rows} {self.name}, this part {self.keep}: open it as that was")
        self.count = state["count"]
        at = self.numbers() % self.keep
        size = int(at.max(initial=-1)) + 1
        for name, had in self._columns.items():
            column = np.zeros(size, had.dtype)
            column[at] = state[name]
            self._columns[name] = column
        self._digests = None
        self._touched.clear()
