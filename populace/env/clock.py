"""Simulated time: what the calendar says at each tick. It never reads the real clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.part import Opening, Part, query

_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Clock(Part):
    """Simulated date and time: `start` (ISO 8601) at tick 0, and `tick_seconds` more with each tick.

    Agents see `clock.time` (ISO text), `clock.weekday` ('Monday', ...), `clock.hour` (0 to 23) and `clock.day`
    (whole days since the start). A lever may set `start`: from then on the calendar says another date.
    """

    name = "clock"
    settable: Mapping[str, Any] = {"start": str}

    def __init__(self, start: str = "2024-01-01T00:00", name: str | None = None) -> None:
        """Raises ScenarioError for a start that is not ISO 8601."""
        super().__init__(name)
        self.start = _date(start)
        self.tick_seconds = 0.0

    def open(self, opening: Opening) -> None:
        """Take the length of a tick. Raises ScenarioError unless it is above zero."""
        if not 0 < opening.tick_seconds < float("inf"):
            raise ScenarioError(f"tick_seconds must be above zero, got {opening.tick_seconds}")
        self.tick_seconds = opening.tick_seconds

    def set_parameter(self, name: str, value: Any) -> None:
        """Take another start. Raises ScenarioError for one that is not ISO 8601."""
        self.start = value if isinstance(value, datetime) else _date(value)

    def at(self, tick: int) -> datetime:
        """The simulated time at the start of a tick. Raises ScenarioError after the year 9999."""
        try:
            return self.start + timedelta(seconds=tick * self.tick_seconds)
        except OverflowError:
            raise ScenarioError(f"tick {tick} of {self.tick_seconds} s is past the year 9999") from None

    def reading(self, tick: int) -> dict[str, Any]:
        """Time, weekday, hour and day at a tick, as agents see them."""
        now = self.at(tick)
        return {
            "time": now.isoformat(timespec="seconds"),
            "weekday": _DAYS[now.weekday()],
            "hour": now.hour,
            "day": (now - self.start).days,
        }

    def observe(self, tick: int, agents: NDArray[np.int32]) -> Mapping[str, Sequence[Any]]:
        """The same reading for every agent."""
        return {key: [value] * len(agents) for key, value in self.reading(tick).items()}

    @query
    def read(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """`read(tick=...)`: time, weekday, hour and day at a tick, the present one unless named."""
        return [self._read(**one) for one in args]

    def _read(self, /, *, tick: Any = None, **rest: Any) -> dict[str, Any]:
        tick = self.world.tick if tick is None else tick
        if rest or type(tick) is not int or tick < 0:
            raise ValueError(f"write {self.name}.read(tick=...) with a tick of 0 or more, got {tick!r} {rest or ''}")
        try:
            return self.reading(tick)
        except ScenarioError as error:
            raise ValueError(str(error)) from None


def _date(text: Any) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ScenarioError(f"Clock(start={text!r}): write it as 2024-01-31 or 2024-01-31T08:00") from None
