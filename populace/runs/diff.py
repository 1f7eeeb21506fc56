"""Where two runs part, whom it touched, and what became of it: from their manifests and tables.

Everything is read a tick at a time, and nothing of the ticks before the trace hashes part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from populace.runs.differences import ComparedRun, ComparedTables, Difference, TickDiff
from populace.runs.shown import Shown
from populace.settings import migrated
from populace.store.tables.tables import read_table, table_files

_IDENTITY: Final = ("scenario", "agents")  # of the manifest


class OutcomeDiff(msgspec.Struct, frozen=True):
    """An outcome of both runs at a tick, and b - a; None where a run has none."""

    tick: int
    name: str
    a: float | None
    b: float | None
    difference: float | None


class Diff(Shown, msgspec.Struct, frozen=True):
    """Two runs compared over the ticks that both have.

    `parted_at` is the first tick whose trace hash (or, where a run left none, whose rows) differs; None: none does.
    `world_parted_at` is the first tick after which the world's state differs, and `world_parts` the parts in which it
    does then; None also where a run left no hashes of it. `settings` holds those that differ, as (a, b). `notes` say
    what could not be compared.
    """

    a: str
    b: str
    ticks_a: int
    ticks_b: int
    parted_at: int | None
    first: Difference | None
    ticks: list[TickDiff]
    outcomes: list[OutcomeDiff]
    settings: dict[str, tuple[Any, Any]]
    notes: list[str]
    world_parted_at: int | None = None
    world_parts: list[str] = []

    def text(self) -> str:
        """What the command prints."""
        from populace.runs.diff_text import print_diff

        stream = StringIO()
        print_diff(self, stream)
        return stream.getvalue()

    @property
    def identical(self) -> bool:
        """Whether no tick that both runs have differs, neither in the trace nor in the world's state."""
        return self.parted_at is None and self.world_parted_at is None


def diff_runs(
    run_a: str | Path, run_b: str | Path, hashes_a: Sequence[str] | None = None, hashes_b: Sequence[str] | None = None
) -> Diff:
    """Compare two runs, given their folders; runs may be of different length, interrupted or killed.

    Of runs of different scenarios only settings and outcomes are compared.

    Trace hashes, one a tick, are those that the runs left unless they are given. Raises SettingsError for a folder that
    holds no run.
    """
    one, other = ComparedRun(Path(run_a), hashes_a), ComparedRun(Path(run_b), hashes_b)
    shared = min(one.ticks, other.ticks)
    (scenario_a, scenario_b), sizes = ([(run.manifest or {}).get(key) for run in (one, other)] for key in _IDENTITY)
    notes: list[str] = []
    if None not in sizes and sizes[0] != sizes[1]:
        notes.append(f"The runs are of different sizes: A has {sizes[0]:,} agents, B {sizes[1]:,}.")
    strangers = None not in (scenario_a, scenario_b) and scenario_a != scenario_b
    if strangers:
        notes.append(
            f"The runs are of different scenarios ({scenario_a} and {scenario_b}), so their settings and outcomes "
            "alone were compared."
        )
        parted, first_tick = 0, shared
    elif one.hashes is None or other.hashes is None:
        parted, first_tick = None, 0
        notes.append("A run left no trace hashes, so the tables alone were compared.")
    else:
        parted = next((t for t in range(shared) if one.hashes[t] != other.hashes[t]), None)
        first_tick = shared if parted is None else parted
    ticks: list[TickDiff] = []
    first: Difference | None = None
    if first_tick < shared:
        rows = ComparedTables(one, other, shared, first_tick)
        notes += rows.notes
        so_far = np.empty(0, np.int64)
        for tick in range(-1 if first_tick == 0 else first_tick, shared):
            found = rows.take(tick)
            if first is None and found:
                first = rows.first(tick, found)
                parted = max(tick, 0) if parted is None else parted
            touched = found.touched()
            so_far = np.union1d(so_far, touched)
            if tick >= 0 or found:
                ticks.append(found.counted(tick, touched, len(so_far)))
        if parted is None:
            ticks = []
        elif first is None:
            notes.append("The tables of both runs agree, so what differs is in none that both kept (record.*).")
    world = None if strangers else one.world.difference(other.world)
    if not strangers and bool(one.world.hashes) != bool(other.world.hashes):
        which = "B" if one.world.hashes else "A"
        notes.append(f"{which} left no hashes of the world's state, so that was not compared.")
    return Diff(
        a=str(run_a),
        b=str(run_b),
        ticks_a=one.ticks,
        ticks_b=other.ticks,
        parted_at=parted,
        first=first,
        ticks=ticks,
        outcomes=_outcomes(one.folder, other.folder),
        settings=_settings(one.manifest, other.manifest),
        notes=notes,
        world_parted_at=None if world is None else world[0],
        world_parts=[] if world is None else world[1],
    )


def first_difference(
    run_a: str | Path, run_b: str | Path, hashes_a: Sequence[str] | None = None, hashes_b: Sequence[str] | None = None
) -> Difference | None:
    """The first thing in which two runs differ, in the ticks that both have; None where their tables show none.

    Reads only as far as that. See `diff_runs`.
    """
    one, other = ComparedRun(Path(run_a), hashes_a), ComparedRun(Path(run_b), hashes_b)
    shared = min(one.ticks, other.ticks)
    start = 0
    if one.hashes is not None and other.hashes is not None:
        start = next((t for t in range(shared) if one.hashes[t] != other.hashes[t]), shared)
    if start == shared:
        return None
    rows = ComparedTables(one, other, shared, start)
    for tick in range(-1 if start == 0 else start, shared):
        if found := rows.take(tick):
            return rows.first(tick, found)
    return None


def _outcomes(run_a: Path, run_b: Path) -> list[OutcomeDiff]:
    sides = []
    for run in (run_a, run_b):
        table = read_table(run, "outcomes") if table_files(run, "outcomes") else pa.table({})
        columns = table.to_pydict() or {"tick": [], "name": [], "value": []}
        sides.append(dict(zip(zip(columns["tick"], columns["name"], strict=True), columns["value"], strict=True)))
    names = list(dict.fromkeys(name for side in sides for _, name in side))
    rows = []
    for tick in sorted({tick for side in sides for tick, _ in side}):
        for name in names:
            a, b = (side.get((tick, name)) for side in sides)
            if a is not None or b is not None:
                rows.append(OutcomeDiff(tick, name, a, b, None if a is None or b is None else b - a))
    return rows


def _settings(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> dict[str, tuple[Any, Any]]:
    if a is None or b is None:
        return {}
    one, other = (dict(_leaves(_said(manifest))) for manifest in (a, b))
    keys = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    return {key: (one.get(key), other.get(key)) for key in keys}


def _said(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A run's settings, with all parameters of its society: also those that it left as they are declared."""
    settings = migrated(manifest["settings"])
    return settings | {"society": manifest.get("parameters") or settings.get("society", {})}


def _leaves(values: Mapping[str, Any], at: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        found += _leaves(value, f"{at}{key}.") if isinstance(value, Mapping) else [(f"{at}{key}", value)]
    return found
