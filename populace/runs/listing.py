"""The runs in a folder, in a line each: what they are, how far they came, what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from populace.core.errors import PopulaceError, SettingsError
from populace.runs.result import Run
from populace.store.folder import RUN_FILE
from populace.store.manifest import MANIFEST


class Listed(msgspec.Struct, frozen=True):
    """A run. `agents`, `ticks` and `cost_usd` are None while it has no manifest; `error` says why it cannot be read."""

    run: str
    status: str
    scenario: str = ""
    agents: int | None = None
    ticks: int | None = None
    asks: int | None = None
    cost_usd: float | None = None
    valid: bool | None = None
    error: str = ""


def runs_in(folder: Path) -> list[Listed]:
    """The runs that stand in a folder (or the one that it is), in order of their names; numbers go by value.

    Raises SettingsError where there is none.
    """
    found = [folder] if (folder / RUN_FILE).exists() else [path.parent for path in folder.glob(f"*/{RUN_FILE}")]
    if not found:
        raise SettingsError(f"{folder}: holds no run. Give a folder of runs; `populace run` makes them in runs/.")
    return [_listed(path) for path in sorted(found, key=_by_number)]


def _listed(folder: Path) -> Listed:
    try:
        run = Run(folder)
        if not (folder / MANIFEST).exists():
            return Listed(str(folder), run.status)
        of: dict[str, Any] = run.manifest
        return Listed(
            str(folder), run.status, of["scenario"], of["agents"], of["ticks"], of["asks"]["made"], of["cost_usd"],
            bool(of.get("valid", True)),
        )  # fmt: skip
    except PopulaceError as error:
        return Listed(str(folder), "unreadable", error=str(error))


def _by_number(folder: Path) -> tuple[str, int, str]:
    name, _, number = folder.name.rpartition("-")
    return (name, int(number), "") if number.isdecimal() else (folder.name, 0, "")
