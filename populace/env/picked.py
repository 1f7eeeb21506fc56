"""What agents are shown of the same rows: each row once, and which of them each agent sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray

_FLAT: Final = frozenset({str, int, float, bool, bytes, type(None)})


class Picked(Sequence[list[dict[str, Any]]]):
    """For each of n agents a list of some of `rows`: `[rows[at] for at in places[agent, :ends[agent]]]`.

    `rows` are alike. `places` is an (n, m) array of integers, of which those before `ends` (n) count. Where it is
    packed, each row crosses once, and each reader has copies of its own.
    """

    __slots__ = ("ends", "places", "rows")

    def __init__(self, rows: list[dict[str, Any]], places: NDArray[np.integer], ends: NDArray[np.integer]) -> None:
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
        return all(type(one) in _FLAT for one in self.rows[0].values()) if self.rows else True

    def copied(self) -> list[list[dict[str, Any]]]:
        """The lists, whose rows are copies: no two of them share one."""
        rows, width = self.rows, self.places.shape[1]
        if (self.ends == width).all():
            return [[rows[place].copy() for place in line] for line in self.places.tolist()]
        lines = zip(self.places.tolist(), self.ends.tolist(), strict=True)
        return [[rows[place].copy() for place in line[:end]] for line, end in lines]
