"""What a cell's run tells of each tick, appended to `scaling.jsonl` in its folder. Shell: clocks, processes, a file.

A run that is gone on with tells on: each line is of one tick in one attempt, and the last line of a tick holds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import psutil

from populace.monitoring.report import Pulse, TickReport

TICKS: Final = "scaling.jsonl"


class TickTold(msgspec.Struct, frozen=True):
    """A tick of a cell. `wall_s` is from its start to its edge, checkpoints included; `stages_s` by stage.

    `cpu_s` is processor time of the run's processes, all together, in that time, and `rss_bytes` their resident memory
    at its end (shared pages count for each). `turns`, `asks` and `messages` are the tick's. `model_s` is the longest
    time that one agent waited for the model in it, all its answers together: no engine ends the tick sooner.
    """

    tick: int
    wall_s: float
    cpu_s: float
    rss_bytes: int
    turns: int
    asks: int
    messages: int
    model_s: float
    stages_s: dict[str, float]


class Watching:
    """The observer of a cell."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None
        self._encode = msgspec.json.Encoder().encode
        self._edge_s = 0.0
        self._cpu_s = 0.0

    def begin(self, *_: object) -> None:
        """The first tick is yet to begin."""

    def pulse(self, pulse: Pulse) -> None:
        """Where a tick begins that is the first of this attempt, it is timed from here."""
        if not self._edge_s and pulse.turns_due:
            self._mark()

    def note(self, text: str) -> None:
        """Nothing to measure."""

    def end(self, status: str, manifest: Mapping[str, Any]) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def tick(self, report: TickReport) -> None:
        """Tell of the tick, but of the first of an attempt, whose beginning nobody saw."""
        before_s, cpu_s = self._edge_s, self._cpu_s
        rss_bytes = self._mark()
        if not before_s or not report.stages_s:
            return
        told = TickTold(
            report.tick,
            self._edge_s - before_s,
            self._cpu_s - cpu_s,
            rss_bytes,
            report.counts.turns,
            report.counts.asked,
            report.counts.sent,
            _longest_s(report.asks),
            report.stages_s,
        )
        if self._file is None:
            self._file = (self._folder / TICKS).open("ab")
        self._file.write(self._encode(told) + b"\n")
        self._file.flush()

    def _mark(self) -> int:
        """An edge is now; the memory of all processes."""
        self._edge_s, self._cpu_s, rss_bytes = time.perf_counter(), 0.0, 0
        own = psutil.Process()
        for process in (own, *own.children(recursive=True)):
            with suppress(psutil.Error):
                times = process.cpu_times()
                self._cpu_s += times.user + times.system
                rss_bytes += process.memory_info().rss
        return rss_bytes


def _longest_s(asks: list[dict[str, Any]]) -> float:
    """The longest sum of latencies of one agent."""
    waited: dict[int, float] = {}
    for columns in asks:
        for agent, latency_s in zip(columns["agent"], columns["latency_s"], strict=True):
            waited[int(agent)] = waited.get(int(agent), 0.0) + float(latency_s or 0.0)
    return max(waited.values(), default=0.0)
