"""What is said of a run when it is sealed, and held against it when it is recomputed: settings and figures. Shell."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from populace.core.errors import SealBroken
from populace.data.societies import load_society
from populace.experiments.design import Design, Task
from populace.experiments.playing import settings_of
from populace.experiments.sealing.listed import FIGURES
from populace.experiments.values import series_of
from populace.settings import Settings, changed_keys
from populace.store.tables.tables import outcome_series

COLUMNS: Final = ("run", "arm", "replicate", "tick", "outcome", "value")
Row = tuple[str, str, int, int, str, float]
CLOSE: Final = 1e-9
"""How far a figure may be from the sealed one, relative to it, where a sum came out otherwise on another processor."""
_FREE: Final = (
    "budget", "endpoint", "checkpoint", "metrics_port", "metrics_host", "metrics_targets", "transport", "shards",
    "journal", "record", "society", "levers", "limits", "log", "traces", "remote",
)  # fmt: skip


def figures_of(run: Path, design: Design, task: Task) -> Iterator[Row]:
    """The outcomes of a run, and its scores on instruments, by tick. Raises SettingsError, StorageError."""
    series: dict[str, Any] = dict(outcome_series(run))
    for one in design.outcomes:
        if one.scale is not None:
            series[one.name] = series_of(run, one)
    for name, values in series.items():
        for tick, value in enumerate(values):
            yield task.run, task.arm, task.replicate, tick, name, float(value)


def written(rows: Iterable[Row]) -> bytes:
    """Rows as CSV; a value has as many digits as it takes to read it back as it was."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((*row[:-1], repr(row[-1])) for row in rows)
    return text.getvalue().encode()


def read_figures(content: bytes) -> dict[str, dict[tuple[int, str], float]]:
    """The sealed figures, by run, tick and outcome. Raises SealBroken."""
    found: dict[str, dict[tuple[int, str], float]] = {}
    try:
        reader = csv.reader(io.StringIO(content.decode()))
        if tuple(next(reader, ())) != COLUMNS:
            raise SealBroken(f"{FIGURES}: has not the columns {', '.join(COLUMNS)}.")
        for run, _, _, tick, outcome, value in reader:
            found.setdefault(run, {})[int(tick), outcome] = float(value)
    except (ValueError, csv.Error) as error:
        raise SealBroken(f"{FIGURES}: is not what populace wrote: {error}.") from None
    return found


def alike(sealed: float, now: float) -> str:
    """'same', 'close' or 'other'."""
    if sealed == now or (math.isnan(sealed) and math.isnan(now)):
        return "same"
    return "close" if math.isclose(sealed, now, rel_tol=CLOSE, abs_tol=0.0) else "other"


def strays(design: Design, task: Task, settings: Settings) -> list[str]:
    """What a run's settings say otherwise than the design does of it, by name; it loads the society."""
    arm = design.arm(task.arm)
    wanted = settings_of(design, arm, task.replicate)
    keys = [key for key in changed_keys(wanted, settings) if key.partition(".")[0] not in _FREE]
    society = load_society(design.societies[arm.society])
    if society.with_parameters(wanted.society) != society.with_parameters(settings.society):
        keys.append("society")
    if _levers(wanted) != _levers(settings):
        keys.append("levers")
    return keys


def _levers(settings: Settings) -> list[str]:
    return sorted(json.dumps(one, sort_keys=True) for one in settings.model_dump(mode="json")["levers"])


def first_other(
    sealed: Mapping[tuple[int, str], float], now: Mapping[tuple[int, str], float]
) -> tuple[int, str, float | None, float | None] | None:
    """The first figure that is another, by tick and name: tick, outcome, as it was sealed, as it is now."""
    for tick, name in sorted(sealed.keys() | now.keys()):
        was, found = sealed.get((tick, name)), now.get((tick, name))
        if was is None or found is None or alike(was, found) == "other":
            return tick, name, was, found
    return None
