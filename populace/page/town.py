"""Where the residents of a city are at every tick, made ready for a page, and the places that they go to.

A run's table `whereabouts` holds who is elsewhere than before; here every tick stands whole, as for `panels`, in a
temporary file without a name outside the run's folder. Those at one place stand about it, so that a crowd is seen as
one. Shell: files.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from populace.core.errors import StorageError
from populace.page.over_time import OverTime
from populace.page.panels import MOST_AGENTS, MOST_BYTES, Changed, exits_of
from populace.page.rows import Group, Rows

NOWHERE: Final = np.iinfo(np.int16).min
"""Stands for x and y of an agent that is nowhere."""
_FULL: Final = 32_000
_EVEN: Final = (0.7548776662466927, 0.5698402909980532)
"""Steps whose multiples fill a square evenly (Roberts 2018, the sequence R2): where about its place one stands."""
_WAYS: Final = ("on the way", "turned away", "nowhere")
_COLUMNS: Final = ("tick", "part", "agent", "place", "origin", "to", "arrives")
_MOST_KINDS: Final = 250
_CROWD: Final = 400
"""So many at a place take all the room that a crowd gets."""
SCALE: Final = _FULL / 1.15
"""What 1.0 is in `Town.where`: residents stand about their places, so some are beyond the outermost one."""

Floats = NDArray[np.float64]


class Places(msgspec.Struct, frozen=True):
    """A city's places: x and y from -1 to 1 (y downwards), each one's number among `kinds`, and names ("" for none).

    `block` is how far apart streets are in the same measure, with the first ones at `street` (x, y); 0.0: not known.
    """

    part: str
    x: Floats
    y: Floats
    kind: NDArray[np.uint8]
    kinds: list[str]
    names: list[str]
    block: float
    street: tuple[float, float]


def read_places(folder: Path) -> Places | None:
    """The places of a run's city, of several the first one's; None where there is none on record."""
    rows = Rows(folder, "places")
    if not len(rows):
        return None
    with _as_written(folder, "places"):
        return _read_places(rows)


@contextlib.contextmanager
def _as_written(folder: Path, table: str) -> Iterator[None]:
    """What comes of a table that holds something else than a run writes (another's, a damaged one) names it."""
    try:
        yield
    except (IndexError, KeyError, ValueError, OverflowError) as error:
        raise StorageError(
            f"{folder / table}: does not go with this run's other tables ({error}). Put a good copy back."
        ) from None


def _read_places(rows: Rows) -> Places:
    tables = [rows.read(group, ("part", "place", "kind", "name", "x", "y", "block_m")) for group in rows.groups]
    part = tables[0].column("part")[0].as_py()
    tables = [table.filter(pc.equal(table.column("part"), part)) for table in tables]
    number: dict[str, int] = {}
    kinds = [number.setdefault(one, min(len(number), _MOST_KINDS)) for table in tables for one in _texts(table, "kind")]
    x, y = (np.concatenate([table.column(name).to_numpy() for table in tables]) for name in ("x", "y"))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a place that is nowhere")
    middle = (x.max() + x.min()) / 2.0, (y.max() + y.min()) / 2.0
    reach = max(float(np.abs(x - middle[0]).max()), float(np.abs(y - middle[1]).max()), 1e-9)
    block_m = tables[0].column("block_m")[0].as_py() or 0.0
    block_m = block_m if np.isfinite(block_m) else 0.0
    first = [np.ceil((at - reach) / block_m) * block_m if block_m else 0.0 for at in (middle[0], -middle[1])]
    return Places(
        part, (x - middle[0]) / reach, -(y - middle[1]) / reach, np.array(kinds, np.uint8),
        list(number)[: _MOST_KINDS + 1], [one for table in tables for one in _texts(table, "name")],
        float(block_m / reach), (float(first[0] - middle[0]) / reach, float(first[1] + middle[1]) / reach),
    )  # fmt: skip


def _texts(table: Any, column: str) -> list[str]:
    return [one or "" for one in table.column(column).to_pylist()]


class Town(OverTime):
    """A city of a run over time. `update` takes what the run has written since; it may run in a thread of its own.

    As a field of agents it is called `field`, a text: the kind of place where an agent is, or how it is at none.
    """

    kind: Final = "text"
    low = high = float("nan")

    def __init__(self, folder: Path, places: Places, cache: Path, most_bytes: int = MOST_BYTES) -> None:
        super().__init__(folder, cache, most_bytes)
        self.places = places
        self.field = field_of(places)
        self.labels = labels_of(places)
        self._now = {name: np.empty(0, np.int32) for name in ("place", "origin", "to", "arrives", "since")}
        self._spread = np.empty((2, 0))

    def update(self) -> None:
        """Take what is new on the disk. Raises StorageError, and Changed where what was read is another by now."""
        with self._lock:
            rows, ends = Rows(self.folder, "whereabouts"), Rows(self.folder, "outcomes")
            seen = [*rows.stamps, *ends.stamps]
            if seen == self._read:
                return
            known = [one for one in self._read if one.path.name.startswith("whereabouts")]
            agents = int((rows.extremes("agent") or (0, -1))[1]) + 1
            last = max(int(one[1]) for one in (rows.extremes("tick"), ends.extremes("tick"), (0, self._at)) if one)
            if agents > MOST_AGENTS:
                raise StorageError(f"{self.folder}: {agents:,} residents; a page shows {MOST_AGENTS:,} at most.")
            if self._file < 0:
                self._begin(agents, last + 1)
            elif rows.stamps[: len(known)] != known or agents > self.agents:
                raise Changed
            self._gone = exits_of(self.folder)
            fresh = set(rows.stamps[len(known) :])
            todo = [group for group in rows.groups if group.stamp in fresh]
            with _as_written(self.folder, "whereabouts"):
                for number, group in enumerate(todo):
                    self._take(rows, group)
                    self.share = (number + 1) / (len(todo) + 1)
                self._forward(last)
                self._write()
            self._read = seen

    def where(self, tick: int) -> NDArray[np.int16]:
        """All agents' x and y at a tick, or the last one ready before it: (agents, 2), from -32,000 to 32,000."""
        return np.frombuffer(self._stored(tick, 0, 4 * self.agents), np.int16).reshape(-1, 2)

    def row(self, tick: int) -> Floats:
        """Each agent's place among `labels` at a tick, or the last one ready before it."""
        return self.codes(tick).astype(np.float64)

    def codes(self, tick: int) -> NDArray[np.uint8]:
        """The same as numbers."""
        return np.frombuffer(self._stored(tick, 4 * self.agents, self.agents), np.uint8)

    def series(self, agent: int) -> tuple[list[int], list[float]]:
        """An agent's place among `labels` over the ticks that the file holds. Raises NotThere."""
        ticks, read = self._stored_of(agent, 4 * self.agents, 1)
        return ticks, [float(one) for one in read]

    def text(self, value: float) -> str:
        """A value in words."""
        return self.labels[int(value)]

    def _begin(self, agents: int, ticks: int) -> None:
        self._open(agents, 5, 0, ticks)
        self._now = {name: np.full(agents, -1, np.int32) for name in self._now}
        ids, size = np.arange(agents), min(0.026, 0.32 / np.sqrt(agents or 1))
        far, turn = (np.sqrt((0.5 + ids * _EVEN[0]) % 1.0), 2.0 * np.pi * (ids * _EVEN[1] % 1.0))
        self._spread = size * far * np.array([np.cos(turn), np.sin(turn)])

    def _take(self, rows: Rows, group: Group) -> None:
        table = rows.read(group, _COLUMNS)
        table = table.filter(pc.equal(table.column("part"), self.places.part))
        tick, agent = table.column("tick").to_numpy(), table.column("agent").to_numpy()
        given = {name: pc.fill_null(table.column(name), -1).to_numpy() for name in _COLUMNS[3:]}
        edges = [0, *(np.flatnonzero(np.diff(tick)) + 1).tolist(), len(tick)]
        for begin, end in itertools.pairwise(edges):
            if begin == end:
                continue
            self._forward(int(tick[begin]))
            who = agent[begin:end]
            for name, values in given.items():
                self._now[name][who] = values[begin:end]
            self._now["since"][who] = tick[begin:end] - 1

    def _let_go(self, agent: int) -> None:
        self._now["place"][agent] = self._now["to"][agent] = self._now["origin"][agent] = -1

    def _record(self, tick: int) -> bytes:
        xy, codes = self._seen(tick)
        return xy.tobytes() + codes.tobytes()

    def _seen(self, tick: int) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """Where agents are drawn, and what each is doing, as a tick begins."""
        places, now = self.places, self._now
        place, origin, to = now["place"], now["origin"], now["to"]
        base = np.where(place >= 0, place, origin)
        x, y = places.x[base].copy(), places.y[base].copy()
        way = np.flatnonzero(to >= 0)
        gone = np.clip((tick - now["since"][way]) / np.maximum(now["arrives"][way] - now["since"][way], 1), 0.0, 1.0)
        x[way] += gone * (places.x[to[way]] - x[way])
        y[way] += gone * (places.y[to[way]] - y[way])
        crowd = np.bincount(place[place >= 0], minlength=len(places.x))
        room = np.where(place >= 0, np.sqrt(np.minimum(crowd[place], _CROWD)), 1.0)
        xy = np.column_stack((x, y)) + (self._spread * room).T
        codes = np.where(place >= 0, places.kind[place], len(places.kinds) + 1).astype(np.uint8)
        codes[way] = len(places.kinds)
        found = np.clip(np.rint(xy * SCALE), -_FULL, _FULL).astype(np.int16)
        codes[base < 0], found[base < 0] = len(places.kinds) + 2, NOWHERE
        return found, codes


def labels_of(places: Places) -> list[str]:
    """What a resident may be doing: being at a place of a kind, or at none."""
    return [*places.kinds, *_WAYS]


def field_of(places: Places) -> str:
    """By what name a page colours residents by the kind of place where they are; no public field has such a name."""
    return f"{places.part}.kind"
