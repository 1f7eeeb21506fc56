"""Puts what a run's ticks came to into its tables. A shell: Parquet files, through `populace.store.tables.tables`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from populace.cluster.transport import Opened
from populace.core.table_columns import repeated, stacked
from populace.core.tables import TABLES, TableRows
from populace.kernel.events import RunDone, TickDone
from populace.kernel.reports import WorldDone
from populace.kernel.turn import Failure
from populace.monitoring.report import Happening
from populace.store.tables.tables import Tables

_NOTES_A_TICK: Final = 3
_KINDS_A_TICK: Final = 20
_NAME_LETTERS: Final = 100
"""A class may be named by an agent's text; a log has names of classes only."""


class FailureNotes:
    """Tells of failed turns: of each kind the first time, and again once it has grown tenfold."""

    def __init__(self) -> None:
        self._counted: Counter[tuple[str, str]] = Counter()

    def notes(self, tick: int, failures: Sequence[Failure]) -> list[str]:
        """What to say of a tick's failed turns, in the order of agents. A kind is an error at a place."""
        alike: dict[tuple[str, str], list[Failure]] = {}
        for one in failures:
            alike.setdefault((one.error, one.where), []).append(one)
        told: list[str] = []
        unshown = 0
        for kind, same in alike.items():
            before, now = self._counted[kind], self._counted[kind] + len(same)
            self._counted[kind] = now
            if before and len(str(before)) == len(str(now)):
                continue
            if len(told) == _NOTES_A_TICK:
                unshown += len(same)
            elif before:
                told.append(f"{now:,} turns failed like this by tick {tick}: {same[0]}")
            else:
                more = f"; {len(same) - 1:,} more like it in this tick" if len(same) > 1 else ""
                told.append(f"a turn failed: {same[0]}{more}")
        if unshown:
            told.append(f"and {unshown:,} turns failed otherwise in tick {tick}; see failures.parquet")
        return told


def failed_turns(tick: int, parts: Sequence[TickDone]) -> list[Happening]:
    """A tick's failed turns by shard and kind, an error at a place: how many, and the first agent; none of its text."""
    found = []
    for part in parts:
        kinds: dict[tuple[str, str], list[int]] = {}
        for one in part.failures:
            error = one.error if one.error.isidentifier() and len(one.error) <= _NAME_LETTERS else "Exception"
            kinds.setdefault((error, one.where), []).append(one.agent)
        for (error, where), agents in list(kinds.items())[:_KINDS_A_TICK]:
            told = {"of_tick": tick, "error": error, "where": where, "turns": len(agents), "first_agent": min(agents)}
            found.append(Happening("failed_turns", "warning", tick + 1, part.shard, told))
    return found


def record_opening(tables: Tables, agents: int, opened: Opened) -> None:
    """The world before tick 0."""
    _record_agents(tables, 0, np.arange(agents, dtype=np.int32), opened.fields)
    _record_outcomes(tables, 0, opened.outcomes)
    for name, rows in opened.rows.items():
        tables.add(name, rows)


def tick_notes(tick: int, parts: Sequence[TickDone], world: WorldDone, failed: FailureNotes) -> list[str]:
    """What to say of a committed tick: of turns that failed, and of what the world warns of."""
    return [*failed.notes(tick, _failures(parts)), *world.warnings]


def _failures(parts: Sequence[TickDone]) -> list[Failure]:
    return sorted((one for part in parts for one in part.failures), key=lambda one: one.agent)


def record_tick(tables: Tables, tick: int, parts: Sequence[TickDone], world: WorldDone) -> None:
    """A committed tick: what the shards' turns came to (sorted by shard), and the world after it."""
    _record_rows(tables, [world.rows, *(part.rows for part in parts)])
    _record_agents(tables, tick + 1, world.changed, world.fields)
    _record_outcomes(tables, tick + 1, world.outcomes)
    if failures := _failures(parts):
        names = ("tick", "agent", "error", "story")
        rows = [(one.tick, one.agent, str(one), one.story) for one in failures]
        tables.add("failures", dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def record_expired(tables: Tables, ended: Sequence[RunDone]) -> None:
    """The messages that nobody will read."""
    _record_rows(tables, [done.rows for done in ended])


def _record_rows(tables: Tables, given: Sequence[Mapping[str, TableRows]]) -> None:
    for name in TABLES:
        if batches := [rows[name] for rows in given if name in rows]:
            tables.add(name, {column: stacked([batch[column] for batch in batches]) for column in batches[0]})


def _record_agents(tables: Tables, tick: int, agents: Any, fields: dict[str, Any]) -> None:
    if fields and len(agents):
        tables.add("agents", {"tick": np.full(len(agents), tick, np.int32), "agent": agents, **fields})


def _record_outcomes(tables: Tables, tick: int, outcomes: dict[str, float]) -> None:
    if outcomes:
        names = list(outcomes)
        tables.add("outcomes", {"tick": repeated(tick, len(names)), "name": names, "value": list(outcomes.values())})


def most_often(parts: Sequence[TickDone]) -> str:
    """The failure that most turns of a tick ended by, with its line; '' where none failed."""
    kinds = Counter((one.error, one.message, one.where) for part in parts for one in part.failures)
    if not kinds:
        return ""
    (error, message, where), n = kinds.most_common(1)[0]
    how = "" if len(kinds) == 1 and n == kinds.total() else f"Most often ({n:,} of {kinds.total():,} in this tick): "
    return f"{how}{where}: {error}: {message}{'' if message.endswith('.') else '.'} "
