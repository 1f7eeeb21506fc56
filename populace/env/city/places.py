"""Places in columns: kind, position, seats, opening hours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from populace.core.errors import ScenarioError

Int32 = NDArray[np.int32]
Float = NDArray[np.float64]

Array = TypeVar("Array", bound=NDArray[Any])

NO_LIMIT: Final = 2**31 - 1
"""The seats of a place without a limit."""
NONE: Final = -1
"""Stands for no place, and for no kind."""
DAY_S: Final = 86_400
EVERY_DAY: Final = "1234567"
_KNOWN: Final = ("kind", "x", "y", "capacity", "opens", "closes", "days", "attraction", "name")


class Places:
    """Places by id, which counts from 0 in the order given; columns are read-only.

    `kinds` are the names of kinds in the order in which they first come, `kind` the place's among them (int16); `x`
    and `y` are metres (float64); `capacity` how many may be inside (int32, `NO_LIMIT` for any number); `opens_s` and
    `closes_s` seconds since midnight (int32); `days` the weekdays as bits, Monday the lowest (uint8); `attraction` the
    weight of a place in a gravity choice (float64); `names` texts, "" for none. `hours` is the place's among
    `patterns`, the different (opens_s, closes_s, days) there are. `block_m` is how far apart the streets of a generated
    city are, None where that is not known.
    """

    block_m: float | None = None

    def __init__(
        self,
        kind: Sequence[str],
        x: ArrayLike,
        y: ArrayLike,
        *,
        capacity: Sequence[int | None] | ArrayLike | None = None,
        opens: Sequence[Any] | None = None,
        closes: Sequence[Any] | None = None,
        days: Sequence[Any] | None = None,
        attraction: ArrayLike | None = None,
        name: Sequence[str | None] | None = None,
        where: str = "Places",
    ) -> None:
        """Columns of one length. What is left out is: no limit, open all day and every day, attraction 1, no name.

        `opens` and `closes` are "08:00", or seconds since midnight; one that closes before it opens does so on the
        next day. `days` are the weekdays on which it opens, "12345" from Monday to Friday. Raises ScenarioError,
        beginning with `where` and naming column and row.
        """
        size = len(kind)
        if not size:
            raise ScenarioError(f"{where}: there are no places: a city needs one at least")
        self.where = where
        for at, one in enumerate(kind):
            if not isinstance(one, str) or not one:
                raise self._bad("kind", at, one, "a text such as 'shop'")
        self.kinds: tuple[str, ...] = tuple(dict.fromkeys(kind))
        number = {one: at for at, one in enumerate(self.kinds)}
        self.kind = _fixed(np.fromiter((number[one] for one in kind), np.int16, size))
        self.x, self.y = self._numbers("x", x, size), self._numbers("y", y, size)
        self.attraction = self._numbers("attraction", np.ones(size) if attraction is None else attraction, size)
        if (self.attraction < 0).any():
            at = int(np.argmax(self.attraction < 0))
            raise self._bad("attraction", at, float(self.attraction[at]), "0 or more")
        self.capacity = _fixed(self._capacities(capacity, size))
        self.opens_s = self._times("opens", opens, size, 0)
        self.closes_s = self._times("closes", closes, size, DAY_S)
        self.days: NDArray[np.uint8] = _fixed(self._weekdays(days, size))
        same = self.opens_s == self.closes_s
        if same.any():
            at = int(np.argmax(same))
            raise self._bad("opens", at, int(self.opens_s[at]), "another time than `closes`; all day is 00:00 to 24:00")
        rows = np.column_stack([self.opens_s, self.closes_s, self.days.astype(np.int32)])
        patterns, hours = np.unique(rows, axis=0, return_inverse=True)
        self.patterns, self.hours = _fixed(patterns), _fixed(hours.reshape(-1).astype(np.int32))
        self.names, self.by_name = self._named(name, size)

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]], where: str = "Places.of") -> Self:
        """Places of rows: `[{"kind": "shop", "name": "Baker", "x": 120, "y": 40, "opens": "08:00"}, ...]`.

        A row has `kind`, `x` and `y`, and any other column of the constructor. Raises ScenarioError as that does.
        """
        given = list(rows)
        for at, row in enumerate(given):
            if not {"kind", "x", "y"} <= row.keys() or not row.keys() <= set(_KNOWN):
                raise ScenarioError(
                    f"{where}, row {at}: has {sorted(row)}; it has kind, x, y and may have {_KNOWN[3:]}"
                )
        used = [name for name in _KNOWN[3:] if any(name in row for row in given)]
        default = {"attraction": 1.0}
        columns = {name: [row.get(name, default.get(name)) for row in given] for name in used}
        needed = [[row[name] for row in given] for name in _KNOWN[:3]]
        return cls(needed[0], needed[1], needed[2], **columns, where=where)

    def __len__(self) -> int:
        return len(self.kind)

    def code_of(self, kind: str) -> int:
        """A kind's place among `kinds`; NONE where there is no such kind."""
        return self.kinds.index(kind) if kind in self.kinds else NONE

    def of_kind(self, code: int) -> Int32:
        """The places of a kind, by id."""
        return np.flatnonzero(self.kind == code).astype(np.int32)

    def open_patterns(self, start_s: float, length_s: float, weekday: int) -> NDArray[np.bool_]:
        """Which of `patterns` are open at some moment of the `length_s` from `start_s` seconds into a weekday on."""
        opens, closes, days = (self.patterns[:, at].astype(np.int64) for at in range(3))
        closes = np.where(closes < opens, closes + DAY_S, closes)
        found = np.zeros(len(opens), np.bool_)
        last = min(int((start_s + length_s - 1e-9) // DAY_S), 7)
        for day in range(-1, last + 1):
            begins = day * DAY_S + opens
            on = (days >> ((weekday + day) % 7)) & 1 == 1
            found |= on & (begins < start_s + length_s) & (start_s < begins + closes - opens)
        return found

    def _bad(self, column: str, row: int, value: Any, wanted: str) -> ScenarioError:
        return ScenarioError(f"{self.where}, row {row}: {column} is {value!r}, and has to be {wanted}")

    def _numbers(self, column: str, values: ArrayLike, size: int) -> Float:
        try:
            given = np.array(values, np.float64)
        except (TypeError, ValueError):
            raise ScenarioError(f"{self.where}: {column} holds something that is no number") from None
        if given.shape != (size,):
            raise ScenarioError(f"{self.where}: {column} has the shape {given.shape}, and there are {size} places")
        if not np.isfinite(given).all():
            at = int(np.argmin(np.isfinite(given)))
            raise self._bad(column, at, float(given[at]), "a finite number")
        return _fixed(given)

    def _column(self, column: str, values: Sequence[Any], size: int) -> list[Any]:
        found = list(values)
        if len(found) != size:
            raise ScenarioError(f"{self.where}: {column} has {len(found)} values, and there are {size} places")
        return found

    def _capacities(self, given: Any, size: int) -> Int32:
        if given is None:
            return np.full(size, NO_LIMIT, np.int32)
        found = np.full(size, NO_LIMIT, np.int32)
        for at, one in enumerate(self._column("capacity", given, size)):
            if one is None:
                continue
            if isinstance(one, bool) or not isinstance(one, int | np.integer) or not 0 <= one <= NO_LIMIT:
                raise self._bad("capacity", at, one, "how many may be inside, 0 or more, or None for no limit")
            found[at] = one
        return found

    def _times(self, column: str, given: Sequence[Any] | None, size: int, usual: int) -> Int32:
        if given is None:
            return _fixed(np.full(size, usual, np.int32))
        known: dict[Any, int] = {None: usual}
        found = np.empty(size, np.int32)
        for at, one in enumerate(self._column(column, given, size)):
            if one not in known:
                seconds = seconds_of(one)
                if seconds is None:
                    raise self._bad(column, at, one, "a time such as '08:30', or seconds since midnight, up to 86400")
                known[one] = seconds
            found[at] = known[one]
        return _fixed(found)

    def _weekdays(self, given: Sequence[Any] | None, size: int) -> NDArray[np.uint8]:
        found = np.full(size, 127, np.uint8)
        if given is None:
            return found
        known: dict[Any, int] = {None: 127}
        for at, one in enumerate(self._column("days", given, size)):
            if one not in known:
                text = str(one)
                if not text or set(text) - set(EVERY_DAY):
                    raise self._bad("days", at, one, "weekdays from 1 (Monday) to 7 (Sunday), such as '12345'")
                known[one] = sum(1 << (int(day) - 1) for day in set(text))
            found[at] = known[one]
        return found

    def _named(self, given: Sequence[str | None] | None, size: int) -> tuple[tuple[str, ...], dict[str, int]]:
        if given is None:
            return ("",) * size, {}
        names = tuple("" if one is None else str(one) for one in self._column("name", given, size))
        by_name: dict[str, int] = {}
        for at, one in enumerate(names):
            if one and by_name.setdefault(one, at) != at:
                raise self._bad("name", at, one, f"another than that of row {by_name[one]}")
        return names, by_name


def seconds_of(time: Any) -> int | None:
    """Seconds since midnight of "08:30" or "24:00", or of such a number; None for what is neither."""
    if isinstance(time, str):
        hours, _, minutes = time.partition(":")
        if not (hours.isdecimal() and minutes.isdecimal() and len(minutes) == 2 and int(minutes) < 60):
            return None
        time = 3600 * int(hours) + 60 * int(minutes)
    if isinstance(time, bool) or not isinstance(time, int | float | np.number) or not 0 <= time <= DAY_S:
        return None
    return int(time)


def _fixed(values: Array) -> Array:
    values.flags.writeable = False
    return values
