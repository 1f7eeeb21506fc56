"""The observer that shows a run's numbers while it goes on.

A scrape comes in its own thread. Everything that it shows is one frozen value, which the run replaces whole at
each tick's end and at each pulse, so a scrape sees a tick entirely or not at all, and no lock is held.

Counters rise at a tick's end; a run shorter than the scrape interval may end between two scrapes. Its last values stay
in `metrics.prom`, and its totals in `manifest.json`.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from populace.core.errors import SettingsError, StorageError
from populace.core.records import Counts
from populace.core.traffic import Upkeep, Vitals
from populace.monitoring.metrics.families import families
from populace.monitoring.metrics.files import write_page, write_target
from populace.monitoring.metrics.seen import Ceilings, Seen, Stage, at_least, by_process, together
from populace.monitoring.metrics.server import Server
from populace.monitoring.report import Pulse, TickReport

WRITE_EVERY_S: Final = 5.0
"""How often the page's file is written while nothing is saved."""
_SAVED_EVERY_S: Final = 1.0
"""How often it is written at most, where a checkpoint is saved at each tick."""
_WITHIN: Final = frozenset({"observe", "exchange"})
"""Stages that lie within another."""


class Metrics:
    """An observer that serves the run's numbers over HTTP from `begin` to `end`.

    `port` 0 takes a free one; from `begin` on, `port` and `url` are the true ones. Nothing listens and no thread
    runs after `end` or `close`. `begin` raises SettingsError when the address cannot be had. The page is left in
    `folder` as `metrics.prom`, where one is given. In `targets`, a folder, there is a target for Prometheus while the
    run lasts; `run` is its name. Neither file is worth ending a run for: one that cannot be written is left out.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        experiment: str = "",
        arm: str = "",
        run: str = "",
        ceilings: Ceilings = Ceilings(),  # noqa: B008 - it is frozen
        folder: Path | None = None,
        targets: Path | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._labels = {"experiment": experiment, "arm": arm, "run": run}
        self._ceilings = ceilings
        self._folder = folder
        self._targets = targets
        self._target: Path | None = None
        self._seen: Seen | None = None
        self._server: Server | None = None
        self._registry = CollectorRegistry()
        self._registry.register(_Page(self))
        self._went_back = self._told = False
        self._written_s = time.monotonic()
        self._checkpoints = 0
        self._process = f"{socket.gethostname()}/{os.getpid()}"

    @property
    def url(self) -> str:
        """Where a scraper finds the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/metrics"

    def begin(self, scenario: str, agents: int, ticks: int, shards: int, model: str) -> None:
        """Start to serve. Raises SettingsError when the address cannot be had, or no target be written."""
        labels = {key: value for key, value in self._labels.items() if key != "run" or value}
        self._seen = Seen(scenario, model, labels, shards, agents, ticks, self._ceilings, ticked_at_s=time.time())
        try:
            self._server = Server(self.host, self.port, self._registry)
        except OSError as error:
            raise SettingsError(
                f"metrics_port = {self.port}: cannot listen on {self.host}:{self.port} ({error.strerror}). "
                "Choose another port with --metrics-port, or 0 to have a free one picked."
            ) from None
        self.port = self._server.port
        if self._targets is not None:
            name = self._labels["run"] or f"run-{os.getpid()}-{self.port}"
            try:
                said = {**self._labels, "scenario": scenario}
                self._target = write_target(self._targets, name, self.host, self.port, said)
            except StorageError as error:
                self.close()
                raise SettingsError(f"metrics_targets = {str(self._targets)!r}: {error}") from None

    def pulse(self, pulse: Pulse) -> None:
        """Show what waits for the model now, and how the processes fare."""
        if self._seen is None:
            return
        self._seen = msgspec.structs.replace(
            self._seen,
            asks_waiting=pulse.asks_waiting,
            asks_in_flight=pulse.asks_in_flight,
            upkeep=pulse.upkeep,
            **self._fares(pulse.vitals),
        )
        self._told = True
        self._write(pulse.upkeep)

    def tick(self, report: TickReport) -> None:
        """Show the totals after this tick."""
        seen = self._seen
        if seen is None:
            return
        stages, turns_s = dict(seen.stages), dict(seen.turns_s)
        for stage, seconds in report.stages_s.items():
            stages[stage] = stages.get(stage, Stage()).and_also(seconds)
        shards = [one for one in report.vitals if one.shard >= 0] if "turns" in report.stages_s else []
        for one in shards:
            turns_s[one.shard] = turns_s.get(one.shard, 0.0) + one.turns_s
        took_s = math.fsum(seconds for stage, seconds in report.stages_s.items() if stage not in _WITHIN)
        share = (
            min(1.0, max(one.turns_s for one in shards) / took_s) if shards and took_s > 0.0 else seen.critical_share
        )
        self._seen = msgspec.structs.replace(
            seen,
            tick=report.tick,
            furthest=max(seen.furthest, report.tick),
            ticked_at_s=time.time(),
            ticks=report.ticks,
            agents=report.agents,
            total=self._total(report),
            stages=stages,
            turns_s=turns_s,
            critical_share=share,
            simulated_s=max(seen.simulated_s, report.tick * report.tick_seconds),
            outcomes=dict(report.outcomes),
            asks_waiting=0,
            asks_in_flight=0,
            upkeep=report.upkeep,
            **self._fares(report.vitals),
        )
        self._told = True
        self._write(report.upkeep)

    def note(self, text: str) -> None:
        """Notes are for persons; a failed turn is counted."""

    def end(self, status: str, manifest: Mapping[str, Any]) -> None:
        """Leave the last values, and stop to serve."""
        if self._told:  # a run that never began leaves nothing
            self._write(None)
        self.close()

    def close(self) -> None:
        """Stop listening and wait for the threads, and take the target back; a second call does nothing."""
        target, self._target = self._target, None
        if target is not None:
            with contextlib.suppress(OSError):  # a run's end is no place to fail for a target where nobody answers
                target.unlink(missing_ok=True)
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def families(self) -> Iterator[Metric]:
        """Everything that a scrape shows; called in the scraper's thread."""
        if self._seen is not None:
            yield from families(self._seen)

    def _total(self, report: TickReport) -> Counts:
        """The run's counts, which never fall for whoever watches, though a run goes back to a checkpoint."""
        assert self._seen is not None
        total, shown = Counts(), self._seen
        total.add(report.total)  # a copy: the run goes on adding to its own
        self._went_back = self._went_back or report.tick < shown.tick
        if report.tick < shown.furthest:
            return shown.total
        return at_least(total, shown.total) if self._went_back else total

    def _fares(self, vitals: list[Vitals]) -> dict[str, Any]:
        if not vitals:
            return {}
        rss, lag = by_process(vitals, self._process)
        return {"rss_bytes": rss, "lag_s": lag, "endpoints": together(vitals)}

    def _write(self, upkeep: Upkeep | None) -> None:
        """Write the page's file, if it is time; `upkeep` None: in any case."""
        if self._folder is None:
            return
        since_s, saved = time.monotonic() - self._written_s, False
        if upkeep is not None:
            saved, self._checkpoints = upkeep.checkpoints > self._checkpoints, upkeep.checkpoints
        if upkeep is not None and since_s < (_SAVED_EVERY_S if saved else WRITE_EVERY_S):
            return
        self._written_s = time.monotonic()
        try:
            write_page(self._folder, self._registry)
        except StorageError:
            self._folder = None  # the disk is full, or the folder gone: the run tells where that matters


class _Page(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return self._metrics.families()
