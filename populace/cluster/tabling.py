"""Puts what a run's ticks came to into its tables. A shell: Parquet files, through `populace.store.tables.tables`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from populace.cluster.transport import Opened
from populace.core.tables import TABLES, TableRows
from populace.kernel.environment import WorldDone
from populace.kernel.events import RunDone, TickDone
from populace.kernel.turn import Failure
from populace.store.tables.tables import Tables

_NOTES_A_TICK: Final = 3


def record_opening(tables: Tables, agents: int, opened: Opened) -> None:
    """The world before tick 0."""
    _record_agents(tables, 0, np.arange(agents, dtype=np.int32), opened.fields)
    _record_outcomes(tables, 0, opened.outcomes)


def record_tick(
    tables: Tables, tick: int, parts: Sequence[TickDone], world: WorldDone, note: Callable[[str], None]
) -> None:
    """A committed tick: what the shards' turns came to (sorted by shard), and the world after it."""
    _record_rows(tables, [world.rows, *(part.rows for part in parts)])
    _record_agents(tables, tick + 1, world.changed, world.fields)
    _record_outcomes(tables, tick + 1, world.outcomes)
    failures = [failure for part in parts for failure in part.failures]
    if failures:
        failures.sort(key=lambda failure: failure.agent)
        names = ("tick", "agent", "error", "story")
        rows = [(one.tick, one.agent, str(one), one.story) for one in failures]
        tables.add("failures", dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
        alike: dict[tuple[str, str, str], list[Failure]] = {}
        for one in failures:
            alike.setdefault((one.error, one.message, one.where), []).append(one)
        for same in [*alike.values()][:_NOTES_A_TICK]:
            more = f"; {len(same) - 1:,} more like it in this tick" if len(same) > 1 else ""
            note(f"a turn failed: {same[0]}{more}")
        if unshown := sum(map(len, [*alike.values()][_NOTES_A_TICK:])):
            note(f"and {unshown:,} turns failed otherwise in tick {tick}; see failures.parquet")


def record_expired(tables: Tables, ended: Sequence[RunDone]) -> None:
    """The messages that nobody will read."""
    _record_rows(tables, [done.rows for done in ended])


def _record_rows(tables: Tables, given: Sequence[dict[str, TableRows]]) -> None:
    for name in TABLES:
        if batches := [rows[name] for rows in given if name in rows]:
            tables.add(name, _stack(batches))


def _record_agents(tables: Tables, tick: int, agents: Any, fields: dict[str, list[Any]]) -> None:
    if fields and len(agents):
        tables.add("agents", {"tick": np.full(len(agents), tick, np.int32), "agent": agents, **fields})


def _record_outcomes(tables: Tables, tick: int, outcomes: dict[str, float]) -> None:
    if outcomes:
        names = list(outcomes)
        tables.add("outcomes", {"tick": [tick] * len(names), "name": names, "value": list(outcomes.values())})


def _stack(batches: list[TableRows]) -> TableRows:
    """One batch from several with the same columns."""
    if len(batches) == 1:
        return batches[0]
    return {
        name: np.concatenate([batch[name] for batch in batches])
        if isinstance(batches[0][name], np.ndarray)
        else [value for batch in batches for value in batch[name]]
        for name in batches[0]
    }
