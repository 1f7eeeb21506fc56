"""The runs in a folder, in a line each: what they are, how far they came, how old they are, what they cost."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import msgspec

from populace.core.errors import PopulaceError, SettingsError
from populace.monitoring.progress_file import first_and_last
from populace.runs.result import Run
from populace.store.folder import RUN_FILE, read_run_file

_EXPERIMENT: Final = "experiment.json"
"""What stands in an experiment's folder beside the folders of its runs (`populace.experiments.design`)."""


class Listed(msgspec.Struct, frozen=True):
    """A run. Of one at work or killed, figures are as it last told of them; None where it never did.

    `ticks` are complete, of `planned`. `age_s` is seconds since the run began, `told_s` since it last told of itself.
    `error` says why it cannot be read.
    """

    run: str
    status: str
    scenario: str = ""
    agents: int | None = None
    ticks: int | None = None
    asks: int | None = None
    cost_usd: float | None = None
    valid: bool | None = None
    error: str = ""
    planned: int | None = None
    age_s: float | None = None
    told_s: float | None = None
    experiment: str = ""
    arm: str = ""


def runs_in(folder: Path) -> list[Listed]:
    """The runs that stand in a folder (or the one that it is), with those of experiments in it, in order of names.

    Numbers go by value. Raises SettingsError where there is none.
    """
    if (folder / RUN_FILE).exists():
        return [_listed(folder)]
    places = [folder, *(path.parent for path in folder.glob(f"*/{_EXPERIMENT}"))]
    found = [path.parent for place in places for path in place.glob(f"*/{RUN_FILE}")]
    if not found:
        raise SettingsError(f"{folder}: holds no run. Give a folder of runs; `populace run` makes them in runs/.")
    return [_listed(path) for path in sorted(found, key=lambda path: (str(path.parent), _by_number(path)))]


def _listed(folder: Path) -> Listed:
    try:
        run = Run(folder)
        status = run.status  # before the rest: what ends meanwhile is seen whole the next time
        settings = read_run_file(folder).read_settings()
        first, last = first_and_last(folder)
        now = time.time()
        began_s = (folder / RUN_FILE).stat().st_mtime if first is None else first.at_s
        listed = Listed(
            str(folder), status, planned=(last.ticks if last else 0) or settings.ticks, age_s=max(0.0, now - began_s),
            told_s=None if last is None else max(0.0, now - last.at_s), experiment=settings.experiment,
            arm=settings.arm,
        )  # fmt: skip
        told: dict[str, Any] = {}
        if status not in ("at work", "killed"):
            of = run.manifest
            told = {name: of[name] for name in ("scenario", "agents", "ticks", "cost_usd")}
            told |= {"asks": of["asks"]["made"], "valid": bool(of.get("valid", True))}
        elif first is not None and last is not None:
            told = {"scenario": first.scenario, "agents": last.agents or first.agents, "ticks": last.tick}
            told |= {"asks": last.asks, "cost_usd": last.cost_usd}
        return msgspec.structs.replace(listed, **told)
    except (PopulaceError, OSError) as error:
        return Listed(str(folder), "unreadable", error=str(error))


def _by_number(folder: Path) -> tuple[str, int, str]:
    name, _, number = folder.name.rpartition("-")
    return (name, int(number), "") if number.isdecimal() else (folder.name, 0, "")
