"""Whom the levers of an experiment's runs touched, and when. Shell: reads tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from populace.core.errors import SettingsError
from populace.experiments.design import Design, Task
from populace.store.folder import read_run_file
from populace.store.manifest import is_complete
from populace.store.tables.tables import read_table


class Touched(msgspec.Struct, frozen=True):
    """What a lever did in one run: `rows` times on whom, `agents` different ones, from tick `first` to `last`.

    A lever that sets a parameter touches no one in particular: 0 agents. Ticks are None where it never acted.
    """

    run: str
    arm: str
    replicate: int
    lever: str
    kind: str
    rows: int
    agents: int
    first: int | None
    last: int | None


def touched(folder: Path, task: Task) -> list[Touched]:
    """What each lever of a run did, in the order of its settings. Raises SettingsError, StorageError."""
    settings = read_run_file(folder / task.run).read_settings()
    if not settings.levers:
        return []
    try:
        table = read_table(folder / task.run, "levers").to_pydict()
    except SettingsError:  # the table is there only where it has rows
        table = {"lever": [], "agent": [], "tick": []}
    names, agents, ticks = np.array(table["lever"], object), np.array(table["agent"]), np.array(table["tick"])
    found = []
    for at, lever in enumerate(settings.levers):
        name = lever.name or f"levers[{at}]"
        kind = next(one for one in ("set", "send", "block", "change") if hasattr(lever, one))
        rows = names == name if len(names) else np.zeros(0, bool)
        own, when = agents[rows], ticks[rows]
        first, last = (int(when.min()), int(when.max())) if len(when) else (None, None)
        count = len(np.unique(own[own >= 0])) if len(own) else 0
        found.append(Touched(task.run, task.arm, task.replicate, name, kind, len(when), count, first, last))
    return found


def alike(one: Path, other: Path) -> bool:
    """Whether in two runs the same was said, asked, answered and done: levers that changed nothing leave them so."""
    return all(_same(one, other, name, columns) for name, columns in _COMPARED.items())


_COMPARED: dict[str, tuple[str, ...]] = {
    "outcomes": (), "agents": (), "messages": (), "actions": (), "asks": ("tick", "agent", "nth", "key", "answer"),
}  # fmt: skip


def _same(one: Path, other: Path, name: str, columns: tuple[str, ...]) -> bool:
    tables: list[Any] = []
    for folder in (one, other):
        try:
            table = read_table(folder, name)
        except SettingsError:
            tables.append(None)
            continue
        tables.append(table.select(columns) if columns else table)
    if None in tables:
        return tables == [None, None]
    return bool(tables[0].equals(tables[1]))


def all_touched(folder: Path, design: Design) -> list[Touched]:
    """What each lever did in each run that is complete."""
    done = [task for task in design.tasks() if is_complete(folder / task.run)]
    return [one for task in done for one in touched(folder, task)]
