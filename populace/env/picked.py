"""What agents are shown of the same rows: each row once, and which of them each agent sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

FLAT: Final = frozenset({str, int, float, bool, bytes, type(None)})
"""Types of values that nobody who reads one can change."""

Column: TypeAlias = "NDArray[Any] | list[Any]"


class Rows(Sequence[dict[str, Any]]):
    """Rows that are alike, in columns by name: arrays of numbers or truths, masked where a row has None, or lists.

    As columns they cross to whoever reads them, who makes the dictionaries.
    """

    __slots__ = ("_listed", "columns")

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self.columns = dict(columns)
        self._listed: list[dict[str, Any]] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    @overload
    def __getitem__(self, at: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, at: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, at: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self.listed()[at]

    def listed(self) -> list[dict[str, Any]]:
        """A dictionary of plain values for each row; the same ones each time."""
        if self._listed is None:
            names = tuple(self.columns)
            rows = zip(*map(_plain, self.columns.values()), strict=True)
            self._listed = [dict(zip(names, row, strict=True)) for row in rows]
        return self._listed

    @property
    def flat(self) -> bool:
        """Whether no value can be changed: columns of lists are judged by their first row."""
        return all(isinstance(one, np.ndarray) or not one or type(one[0]) in FLAT for one in self.columns.values())


def _plain(column: Column) -> list[Any]:
    if isinstance(column, list):
        return column
    if not isinstance(column, np.ma.MaskedArray):
        values: list[Any] = column.tolist()
        return values
    given = column.data.astype(object)
    given[np.ma.getmaskarray(column)] = None
    return list(given.tolist())


class Picked(Sequence[list[dict[str, Any]]]):
    """For each of n agents a list of some of `rows`: `[rows[at] for at in places[agent, :ends[agent]]]`.

    `rows` are alike. `places` is an (n, m) array of integers, of which those before `ends` (n) count. Where it is
    packed, each row crosses once, and each reader has copies of its own.
    """

    __slots__ = ("ends", "places", "rows")

    def __init__(
        self, rows: Rows | list[dict[str, Any]], places: NDArray[np.integer], ends: NDArray[np.integer]
    ) -> None:
        self.rows = rows
        self.places = places
        self.ends = ends

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, at: int) -> list[dict[str, Any]]: ...
    @overload
    def __getitem__(self, at: slice) -> Picked: ...
    def __getitem__(self, at: int | slice) -> list[dict[str, Any]] | Picked:
        if isinstance(at, slice):
            return Picked(self.rows, self.places[at], self.ends[at])
        return [self.rows[place] for place in self.places[at, : self.ends[at]].tolist()]

    @property
    def flat(self) -> bool:
        """Whether rows hold text, numbers, truths and None alone, so that a copy of a row shares nothing with it."""
        if isinstance(self.rows, Rows):
            return self.rows.flat
        return all(type(one) in FLAT for one in self.rows[0].values()) if self.rows else True

    def copied(self) -> list[list[dict[str, Any]]]:
        """The lists, whose rows are copies: no two of them share one."""
        rows = self.rows.listed() if isinstance(self.rows, Rows) else self.rows
        width = self.places.shape[1]
        if (self.ends == width).all():
            return [[rows[place].copy() for place in line] for line in self.places.tolist()]
        lines = zip(self.places.tolist(), self.ends.tolist(), strict=True)
        return [[rows[place].copy() for place in line[:end]] for line, end in lines]
