"""Forks and what they came from: the runs of a shelf as a family, and where two of them part."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from populace.core.errors import PopulaceError
from populace.page.overview import status_of
from populace.page.shelf import Shelf
from populace.runs.diff import Diff, diff_runs
from populace.runs.diff_text import setting_text
from populace.store.folder import read_run_file
from populace.store.manifest import MANIFEST, read_manifest

_MOST_SETTINGS: Final = 40
_MOST_LETTERS: Final = 4000


class Relative(msgspec.Struct, frozen=True):
    """A run among others: its id, its parent's, and before which tick they part; None for a run that is no fork."""

    name: str
    run: str
    status: str
    scenario: str
    ticks: int | None
    cost_usd: float | None
    parent: str | None
    at_tick: int | None
    levers: list[str]
    experiment: str
    arm: str
    error: str = ""


def family(shelf: Shelf) -> list[Relative]:
    """All runs of a shelf, with whom they were forked from."""
    return [_relative(name, folder) for name, folder in shelf.runs().items()]


def _relative(name: str, folder: Path) -> Relative:
    try:
        file = read_run_file(folder)
        ended: dict[str, Any] = read_manifest(folder) if (folder / MANIFEST).exists() else {}
        settings, parent = file.settings, file.parent
        return Relative(
            name, file.run, status_of(folder), str(ended.get("scenario") or file.origin.rpartition("/")[2]),
            ended.get("ticks"), ended.get("cost_usd"), parent.run if parent else None,
            parent.at_tick if parent else None, [_said(one) for one in settings.get("levers", [])][:20],
            str(settings.get("experiment", "")), str(settings.get("arm", "")),
        )  # fmt: skip
    except PopulaceError as error:
        return Relative(name, "", "unreadable", "", None, None, None, None, [], "", "", str(error))


def _said(lever: Any) -> str:
    given = (
        {key: value for key, value in lever.items() if value not in (None, [], {})}
        if isinstance(lever, dict)
        else lever
    )
    return msgspec.json.encode(given).decode()[:300]


def compared(a: Path, b: Path) -> dict[str, Any]:
    """Two runs compared, as a page shows it; see `populace.runs.diff`."""
    return _brief(diff_runs(a, b))


def _brief(diff: Diff) -> dict[str, Any]:
    first, settings = diff.first, list(diff.settings.items())[:_MOST_SETTINGS]
    outcomes: dict[str, dict[str, list[Any]]] = {}
    for one in diff.outcomes:
        series = outcomes.setdefault(one.name, {"ticks": [], "a": [], "b": []})
        series["ticks"].append(one.tick)
        series["a"].append(one.a)
        series["b"].append(one.b)
    return {
        "ticks_a": diff.ticks_a,
        "ticks_b": diff.ticks_b,
        "parted_at": diff.parted_at,
        "world_parted_at": diff.world_parted_at,
        "identical": diff.identical,
        "first": None
        if first is None
        else {
            "tick": first.tick, "agent": first.agent, "what": first.what, "about": first.about,
            "a": None if first.text_a is None else first.text_a[:_MOST_LETTERS],
            "b": None if first.text_b is None else first.text_b[:_MOST_LETTERS],
        },
        "touched": {"ticks": [one.tick for one in diff.ticks], "agents": [one.touched_so_far for one in diff.ticks]},
        "outcomes": outcomes,
        "settings": {key: [setting_text(one)[:300] for one in pair] for key, pair in settings},
        "notes": diff.notes,
    }  # fmt: skip
