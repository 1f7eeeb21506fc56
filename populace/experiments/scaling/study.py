"""Runs the cells of a scaling study one after another, and what there is of it already stays. Shell: processes, files.

A cell whose run is complete is not run again; one that was cut off goes on, with no answer paid for twice. All runs are
of one experiment, so one ledger bounds what they spend (`budget.experiment_usd`).
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from populace.core.errors import (
    BudgetSpent,
    DiskFull,
    Interrupted,
    ModelError,
    PopulaceError,
    RunFailed,
    SettingsError,
    StorageError,
    TransportError,
)
from populace.data.societies import find_society, load_society
from populace.experiments.scaling.cells import cells_of
from populace.experiments.scaling.coordinator import OTHERS, SHARDS, coordinator_s
from populace.experiments.scaling.measures import Measured, measured, read_ticks
from populace.settings import Assignment, load_settings
from populace.store.manifest import is_complete, read_manifest

STUDY: Final = "scaling.json"
_COORDINATED_TICKS: Final = 9
_GO_ON: Final = "What is measured stays; give the same command again to go on."
_KINDS: Final[dict[int, type[PopulaceError]]] = {
    one.exit_code: one
    for one in (SettingsError, ModelError, TransportError, StorageError, DiskFull, BudgetSpent, Interrupted)
}
"""What a cell's exit code says."""


class Study(msgspec.Struct, frozen=True):
    """A scaling study as it was measured.

    `coordinator` is (simulated shards, processor seconds a tick of the coordinator, median), each shard sending to 16
    others. `machine` says where: processors and memory in bytes. `cost_usd` is what its runs cost.
    """

    society: str
    model: str
    transport: str
    ticks: int
    machine: dict[str, Any]
    measured: list[Measured]
    coordinator: list[tuple[int, float]]
    cost_usd: float


def scale(
    society: str,
    out: str | Path,
    *,
    agents: Sequence[int],
    shards: Sequence[int] = (1,),
    repeats: int = 1,
    set_: Sequence[str | Assignment] = (),
    say: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> Study:
    """Measure a society at each of these sizes on each of these numbers of shards, in `out`, and give what it came to.

    `set_` and `options` are settings as in a run: `ticks=20`, `model__kind="scripted"`, `transport="ray"`. Raises
    SettingsError, StorageError where `out` holds another study, and what ends a run early: the study can then be gone
    on with by the same call.
    """
    folder, cells = Path(out), cells_of(agents, shards, repeats)
    shared = {"experiment": options.pop("experiment", None) or f"scaling-{folder.name}"}
    settings = {
        cell: load_settings(None, set_, agents=cell.agents, shards=cell.shards, **shared, **options) for cell in cells
    }
    ticks = settings[cells[0]].ticks or load_society(find_society(society)).ticks
    if ticks < 2:
        raise SettingsError("ticks: at least 2; the first of a run is not timed")
    folder.mkdir(parents=True, exist_ok=True)
    for nth, cell in enumerate(cells, 1):
        place = folder / cell.name
        how = "complete already" if is_complete(place) else "running"
        say(f"cell {nth} of {len(cells)}: {cell.agents:,} agents, shards {cell.shards}, repeat {cell.repeat}: {how}")
        _play(society, settings[cell].model_dump(mode="json"), place)
    others = {path.name for path in folder.glob("agents-*-shards-*-*")} - {cell.name for cell in cells}
    if others:
        say(f"not in the report, since they are not asked for now: {', '.join(sorted(others))}")
    say("the coordinator, over simulated shards")
    study = Study(
        society=society,
        model=settings[cells[0]].model.label,
        transport=settings[cells[0]].transport,
        ticks=ticks,
        machine=_machine(),
        measured=[measured(cell, read_ticks(folder / cell.name)) for cell in cells],
        coordinator=[
            (of, sorted(coordinator_s(of, OTHERS, _COORDINATED_TICKS))[_COORDINATED_TICKS // 2]) for of in SHARDS
        ],
        cost_usd=sum(float(read_manifest(folder / cell.name).get("cost_usd") or 0.0) for cell in cells),
    )
    (folder / STUDY).write_bytes(msgspec.json.format(msgspec.json.encode(study)))
    return study


def read_study(folder: str | Path) -> Study:
    """A study that was measured. Raises StorageError."""
    path = Path(folder) / STUDY
    try:
        return msgspec.json.decode(path.read_bytes(), type=Study)
    except (OSError, msgspec.DecodeError) as error:
        raise StorageError(f"{path}: no study: {error}. Measure one: populace scale SOCIETY --out DIR") from None


def _play(society: str, settings: dict[str, Any], place: Path) -> None:
    """Run a cell in a process of its own, or go on with it. Raises what ended it, by its exit code."""
    order = msgspec.json.encode({"society": society, "settings": settings}) + b"\n"
    command = [sys.executable, "-m", "populace.experiments.scaling.cell", str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as running:  # noqa: S603  # it is ours
        try:
            _, said = running.communicate(order)
        except KeyboardInterrupt:  # the terminal has told the run, too, which saves what it has
            running.wait()
            raise Interrupted(f"{place}: {_GO_ON}") from None
    if running.returncode:
        text = said.decode(errors="replace").strip() or f"it ended with exit code {running.returncode}"
        where = "" if text.startswith(str(place)) else f"{place}: "
        changed = running.returncode == SettingsError.exit_code
        next_step = (
            f"To measure it as it is asked for now, give another --out, or remove {place}." if changed else _GO_ON
        )
        raise _KINDS.get(running.returncode, RunFailed)(f"{where}{text}\n{next_step}")


def _machine() -> dict[str, Any]:
    return {
        "processors": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
        "system": platform.platform(),
    }
