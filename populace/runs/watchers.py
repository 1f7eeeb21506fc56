"""Who watches a run because its settings say so: its metrics, its log, its traces."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from populace.budget.accounts import accounts_of
from populace.monitoring.log_file import LogFile
from populace.monitoring.metrics import Ceilings, Metrics
from populace.monitoring.progress_file import ProgressFile
from populace.monitoring.report import Observer
from populace.monitoring.traces import Traces
from populace.settings import Settings


class Watcher(Observer, Protocol):
    """An observer that holds something open."""

    def close(self) -> None:
        """Let go of it; a second call does nothing."""


def watchers_of(settings: Settings, run: str, folder: Path, say: Callable[[str], None]) -> list[Watcher]:
    """Those who watch a run in its folder, by its settings; `say` is told what one could not do."""
    found: list[Watcher] = [ProgressFile(folder)]
    if settings.shows_metrics:
        found.append(metrics_of(settings, run, folder))
    if settings.log.file:
        found.append(LogFile(settings.log, run))
    if settings.traces.wanted:
        found.append(Traces(settings, run, say))
    return found


def metrics_of(settings: Settings, run: str, folder: Path) -> Metrics:
    """The run's metrics, by its settings."""
    accounts = accounts_of(settings)
    requests = math.fsum(one.requests_per_minute for one in accounts)
    tokens = math.fsum(one.tokens_per_minute for one in accounts)
    ceilings = Ceilings(
        settings.budget.usd,
        settings.budget.tokens,
        requests if accounts and math.isfinite(requests) else None,
        tokens if accounts and math.isfinite(tokens) else None,
    )
    return Metrics(
        settings.metrics_host,
        settings.metrics_port or 0,
        experiment=settings.experiment,
        arm=settings.arm,
        run=run,
        ceilings=ceilings,
        folder=folder,
        targets=Path(settings.metrics_targets).expanduser() if settings.metrics_targets else None,
    )
