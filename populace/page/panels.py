"""A public field of all agents at all ticks, made ready for a page: a tick's row, or an agent's column, at one read.

A run's table of agents holds what changed; here every tick stands whole, as float64, in a temporary file without a name
outside the run's folder, which is gone with this process. Of texts the file holds places in `labels`. Where it would be
too large, it has every so many-th tick (`every`). Shell: files.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from populace.core.errors import StorageError
from populace.page.over_time import OverTime
from populace.page.rows import Group, Rows
from populace.page.shelf import NotThere
from populace.store.tables.tables import public_fields

MOST_BYTES: Final = 2 * 2**30
MOST_AGENTS: Final = 50_000_000
"""For more there is no memory; so many stand in a damaged table rather than in a run."""
MOST_LABELS: Final = 200
"""Of a field of texts with more different ones than this, all others are one."""
OTHERS: Final = "others"


def fields_of(rows: Rows) -> list[str]:
    """The public fields of a run's agents."""
    return public_fields(rows.names)


class Changed(Exception):
    """What was read is another by now: a panel is to be made anew."""


class Panel(OverTime):
    """One field of a run. `update` takes what the run has written since; it may run in a thread of its own.

    `ticks` is how many ticks are ready, `low` and `high` the range of all values so far, `kind` one of number, whole,
    truth and text.
    """

    def __init__(self, folder: Path, field: str, cache: Path, most_bytes: int = MOST_BYTES) -> None:
        super().__init__(folder, cache, most_bytes)
        self.field = field
        self.kind = "number"
        self.low, self.high = np.nan, np.nan
        self.labels: list[str] = []
        self._numbers: dict[str, int] = {}
        self._now: NDArray[np.float64] = np.empty(0)

    def update(self) -> None:
        """Take what is new on the disk. Raises StorageError, NotThere where there is no such field, Changed."""
        with self._lock:
            rows = Rows(self.folder, "agents")
            if self.field not in fields_of(rows):
                raise NotThere(f"agents have no public field {self.field!r}")
            if rows.stamps == self._read:
                return
            known = len(self._read)
            extremes = rows.extremes("agent")
            agents = int(extremes[1]) + 1 if extremes else 0
            if agents > MOST_AGENTS:
                raise StorageError(f"{self.folder}: {agents:,} agents; a page shows {MOST_AGENTS:,} at most.")
            if self._file < 0:
                self._begin(rows, agents)
            elif rows.stamps[:known] != self._read or agents > self.agents:
                raise Changed
            self._gone = exits_of(self.folder)
            fresh = set(rows.stamps[known:])
            todo = [group for group in rows.groups if group.stamp in fresh]
            for number, group in enumerate(todo):
                self._take(rows, group)
                self.share = (number + 1) / len(todo)
            if self._at >= 0:
                self._write()
            self._read = rows.stamps

    def row(self, tick: int) -> NDArray[np.float64]:
        """All agents' values at a tick, or at the last one ready before it; NaN where an agent has none."""
        return np.frombuffer(self._stored(tick, 0, 8 * self.agents), np.float64)

    def series(self, agent: int) -> tuple[list[int], list[float]]:
        """An agent's values over the ticks that the file holds. Raises NotThere."""
        ticks, read = self._stored_of(agent, 0, 8)
        return ticks, np.frombuffer(read, np.float64).tolist()

    def text(self, value: float) -> str | float | bool | None:
        """A value as the run has it."""
        if np.isnan(value):
            return None
        if self.kind == "text":
            return self.labels[int(value)]
        return bool(value) if self.kind == "truth" else int(value) if self.kind == "whole" else float(value)

    @property
    def ready(self) -> bool:
        """Whether all that is on the disk was taken once."""
        return bool(self._read)

    def _begin(self, rows: Rows, agents: int) -> None:
        first, last = map(int, rows.extremes("tick") or (0, 0))
        self._open(agents, 8, first, last - first + 1)
        self._now = np.full(agents, np.nan)
        self.low = self.high = np.nan
        self.labels, self._numbers = [], {}

    def _take(self, rows: Rows, group: Group) -> None:
        table = rows.read(group, ("tick", "agent", self.field))
        tick, agent = table.column("tick").to_numpy(), table.column("agent").to_numpy()
        values = self._numeric(table.column(self.field).combine_chunks())
        if len(values) and not np.isnan(values).all():
            self.low, self.high = np.fmin(self.low, np.nanmin(values)), np.fmax(self.high, np.nanmax(values))
        edges = [0, *(np.flatnonzero(np.diff(tick)) + 1).tolist(), len(tick)]
        for begin, end in itertools.pairwise(edges):
            if begin == end:
                continue
            self._forward(int(tick[begin]))
            given = values[begin:end]
            there = ~np.isnan(given)
            self._now[agent[begin:end][there]] = given[there]

    def _let_go(self, agent: int) -> None:
        self._now[agent] = np.nan

    def _record(self, tick: int) -> bytes:
        return self._now.tobytes()

    def _numeric(self, column: Any) -> NDArray[np.float64]:
        kind = column.type
        if pa.types.is_dictionary(kind):
            column, kind = column.cast(pa.string()), pa.string()
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            self.kind = "text"
            coded = pc.dictionary_encode(column)
            places = np.array([self._number(text) for text in coded.dictionary.to_pylist()] or [0], np.float64)
            where = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)
            return np.where(where < 0, np.nan, places[np.maximum(where, 0)])
        self.kind = "truth" if pa.types.is_boolean(kind) else "whole" if pa.types.is_integer(kind) else "number"
        return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)

    def _number(self, text: str) -> int:
        if text not in self._numbers:
            if len(self.labels) >= MOST_LABELS:
                text = OTHERS
            if text not in self._numbers:
                self._numbers[text] = len(self.labels)
                self.labels.append(text)
        return self._numbers[text]


def exits_of(folder: Path) -> dict[int, list[int]]:
    """Who has left, by the first tick in which it no longer lives."""
    gone: dict[int, list[int]] = {}
    rows = Rows(folder, "turnover")
    for group in rows.groups:
        table = rows.read(group, ("tick", "agent", "what")).to_pydict()
        for tick, agent, what in zip(table["tick"], table["agent"], table["what"], strict=True):
            if what == "left":
                gone.setdefault(tick, []).append(agent)
    return gone
