"""Puts what a run's ticks came to into its tables. A shell: Parquet files, through `populace.store.tables.tables`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from populace.cluster.transport import Opened
from populace.kernel.environment import WorldDone
from populace.kernel.events import RunDone, TickDone
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
    for add, batches in (
        (tables.messages, [part.messages for part in parts if part.messages]),
        (tables.asks, [part.asks for part in parts if part.asks]),
        (tables.actions, [world.actions] if world.actions else []),
        (tables.levers, [rows for rows in (world.levers, *(part.levers for part in parts)) if rows]),
    ):
        if batches:
            add(_stack(batches))
    _record_agents(tables, tick + 1, world.changed, world.fields)
    _record_outcomes(tables, tick + 1, world.outcomes)
    failures = [failure for part in parts for failure in part.failures]
    if failures:
        failures.sort(key=lambda failure: failure.agent)
        names = ("tick", "agent", "error", "story")
        rows = [(one.tick, one.agent, str(one), one.story) for one in failures]
        tables.failures(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
        for one in failures[:_NOTES_A_TICK]:
            note(f"a turn failed: {one}")
        if len(failures) > _NOTES_A_TICK:
            note(f"and {len(failures) - _NOTES_A_TICK} more in tick {tick}; see failures.parquet")


def record_expired(tables: Tables, ended: Sequence[RunDone]) -> None:
    """The messages that nobody will read."""
    batches = [done.messages for done in ended if done.messages]
    if batches:
        tables.messages(_stack(batches))


def _record_agents(tables: Tables, tick: int, agents: Any, fields: dict[str, list[Any]]) -> None:
    if fields and len(agents):
        tables.agents({"tick": np.full(len(agents), tick, np.int32), "agent": agents, **fields})


def _record_outcomes(tables: Tables, tick: int, outcomes: dict[str, float]) -> None:
    if outcomes:
        names = list(outcomes)
        tables.outcomes({"tick": [tick] * len(names), "name": names, "value": list(outcomes.values())})


def _stack(batches: list[dict[str, Any]]) -> dict[str, Any]:
    """One batch from several with the same columns."""
    if len(batches) == 1:
        return batches[0]
    return {
        name: np.concatenate([batch[name] for batch in batches])
        if isinstance(batches[0][name], np.ndarray)
        else [value for batch in batches for value in batch[name]]
        for name in batches[0]
    }
