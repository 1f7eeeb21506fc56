"""How a run has gone so far: what it told in `progress.jsonl`, joined with its table of outcomes and its manifest."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Final

import numpy as np

from populace.monitoring.pace import Left, Pace
from populace.monitoring.progress_file import ProgressReader, Told
from populace.page.rows import Rows, Stamp

MOST_POINTS: Final = 2000
_NOTES: Final = 50


class History:
    """What is known of a run's ticks. `update` reads what is new; the fields say what that came to.

    `last` is the newest line of a tick, `sign` the newest of any kind, `began` the newest beginning of an attempt.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reader = ProgressReader(folder)
        self._lock = threading.Lock()
        self._told: dict[int, dict[str, float | None]] = {}
        self._table: dict[str, dict[int, float]] = {}
        self._stamps: list[Stamp] = []
        self._pace = Pace()
        self._attempt_turns = 0
        self.began: Told | None = None
        self.last: Told | None = None
        self.sign: Told | None = None
        self.pulse: Told | None = None
        self.notes: list[str] = []

    def update(self) -> None:
        """Read what the run has left since the last time."""
        with self._lock:
            while lines := self._reader.more():
                for line in lines:
                    self._take(line)
            self._read_table()

    def _take(self, line: Told) -> None:
        if line.event == "note":
            self.notes = [*self.notes, line.text][-_NOTES:]
            return
        self.sign = line
        if line.event == "begin":
            self.began, self._pace = line, Pace()
            self.pulse = None
        elif line.event == "pulse":
            self.pulse = line
        elif line.event == "tick":
            if self.last is not None and line.tick < self.last.tick:  # it has gone back
                self._told = {tick: one for tick, one in self._told.items() if tick < line.tick}
                self._pace = Pace()
            self.last, self.pulse = line, None
            self._told[line.tick] = line.outcomes
            if line.ticks:
                self._pace.see(line.wall_s, line.tick / line.ticks, line.turns)

    def _read_table(self) -> None:
        rows = Rows(self._folder, "outcomes")
        if rows.stamps == self._stamps:
            return
        known = len(self._stamps)
        if rows.stamps[:known] != self._stamps:
            self._table, known = {}, 0
        fresh = set(rows.stamps[known:])
        for group in rows.groups:
            if group.stamp in fresh:
                table = rows.read(group, ("tick", "name", "value")).to_pydict()
                for tick, name, value in zip(table["tick"], table["name"], table["value"], strict=True):
                    self._table.setdefault(name, {})[tick] = value
        self._stamps = rows.stamps

    @property
    def left(self) -> Left | None:
        """How long the run still has."""
        return self._pace.left()

    @property
    def turns_per_s(self) -> float:
        """Turns a second, over the later half of the attempt so far."""
        return self._pace.turns_per_s

    @property
    def ticks(self) -> int:
        """The last tick of which an outcome is known, or that was told."""
        known = [max(values) for values in self._table.values() if values]
        told = self.last.tick if self.last is not None else 0
        return max([*known, told], default=0)

    def curves(self, after: int = -1, most: int = MOST_POINTS) -> dict[str, Any]:
        """The outcomes as `ticks`, `names` and `values` (a row an outcome); None where there is no number.

        Those of ticks after `after`, which is said again. Of more ticks than `most` some are left out, evenly; the last
        one is there.
        """
        with self._lock:
            names = list(dict.fromkeys([*self._table, *(name for one in self._told.values() for name in one)]))
            ticks = sorted({*self._told, *(tick for values in self._table.values() for tick in values)})
            if len(ticks) > most:
                places = np.unique(np.linspace(0, len(ticks) - 1, most).astype(int))
                ticks = [ticks[at] for at in places.tolist()]
            ticks = [tick for tick in ticks if tick > after]
            values = [[_number(self._value(name, tick)) for tick in ticks] for name in names]
        return {"after": after, "ticks": ticks, "names": names, "values": values}

    def _value(self, name: str, tick: int) -> float | None:
        known = self._table.get(name, {})
        return known[tick] if tick in known else self._told.get(tick, {}).get(name)


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
