"""Births and exits: what parts ask for while a tick ends, collected, and done at the tick's edge all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from operator import index
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.core.roster import STAYS, Roster
from populace.env.plain import plain, with_order

Newborn = Callable[[str, dict[str, list[Any]], list[int]], dict[str, list[Any]]]
"""Tries that agents of a type can be made of columns, and gives those of their public fields, defaults among them.

Raises ScenarioError, naming class, field and agent, where they cannot."""


class Birth(msgspec.Struct, frozen=True):
    """So many newborns of a type; `columns` give their fields, and what groups of levers go by, a value each."""

    type: str
    count: int
    columns: dict[str, list[Any]]


class Turnover:
    """The births and exits of one tick's end, in the order in which parts asked for them.

    `public` has the newborns' public fields, a mapping a birth.
    """

    def __init__(self, roster: Roster, newborn: Newborn) -> None:
        self.born: list[Birth] = []
        self.public: list[dict[str, list[Any]]] = []
        self.size = roster.size
        self._roster = roster
        self._newborn = newborn
        self._left: set[int] = set()

    @property
    def left(self) -> NDArray[np.int32]:
        """Who leaves, sorted."""
        return np.array(sorted(self._left), np.int32)

    def spawn(
        self,
        type: str,  # noqa: A002
        columns: dict[str, list[Any]],
        count: int,
    ) -> NDArray[np.int32]:
        """See `World.spawn`; the columns are plain data of this length."""
        self._roster.place_of(type)
        ids = list(range(self.size, self.size + count))
        if count:
            self.public.append(self._newborn(type, columns, ids))
            self.born.append(Birth(type, count, columns))
            self.size += count
        return np.array(ids, np.int32)

    def retire(self, agents: int | Iterable[int]) -> None:
        """See `World.retire`."""
        try:
            given = [index(one) for one in agents] if isinstance(agents, Iterable) else [index(agents)]
        except TypeError as error:
            raise ScenarioError(f"retire: takes an agent's id, or several: {error}") from None
        for one in given:
            if self._roster.size <= one < self.size:
                raise ScenarioError(
                    f"retire({one}): that agent is born at this tick's end, and can leave from the next"
                )
            if not 0 <= one < self._roster.size:
                raise ScenarioError(f"retire({one}): there is no such agent; ids go from 0 to {self._roster.size - 1}")
        self._left.update(np.array(given, np.int64)[self._roster.lives(given)].tolist())


def columns_of(given: Mapping[str, Any] | None, count: int | None) -> tuple[dict[str, list[Any]], int]:
    """Columns of newborns and how many these are, from columns or from one row and a `count`. Raises ScenarioError."""
    rows = {} if given is None else given
    if not isinstance(rows, Mapping):
        raise ScenarioError(
            f'spawn: the fields are a dictionary, {{"wealth": [1.0, 2.0]}}, not a {type(rows).__name__}'
        )
    if count is not None:
        n = index(count)
        if n < 0:
            raise ScenarioError(f"spawn: n = {n}: there cannot be fewer than no newborns")
        if n >= STAYS:
            raise ScenarioError(f"spawn: n = {n:,}: there cannot be more than {STAYS:,} agents")
        settled = {name: with_order(value) for name, value in rows.items()}
        return {name: [plain(value) for _ in range(n)] for name, value in settled.items()}, n
    if not rows:
        return {}, 1
    for name, column in rows.items():
        if isinstance(column, str | bytes | Mapping | AbstractSet) or not hasattr(column, "__len__"):
            raise ScenarioError(
                f"spawn: {name!r} has to be a column, with a value for each newborn, and is a {type(column).__name__}. "
                "For newborns that are alike give one row and their number: spawn(type, {...}, n)"
            )
    sizes = {name: len(column) for name, column in rows.items()}
    if len(set(sizes.values())) != 1:
        raise ScenarioError(f"spawn: columns have to be of one length, got {sizes}")
    return {name: list(with_order(column)) for name, column in rows.items()}, next(iter(sizes.values()))
