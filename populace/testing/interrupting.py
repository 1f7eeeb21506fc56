"""An observer that ends a run on purpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from populace.monitoring.report import Pulse, TickReport


class Interrupting:
    """Ends a run once `tick` ticks have been closed, by its `stop`, as Ctrl-C does."""

    def __init__(self, tick: int) -> None:
        self._tick = tick
        self.stop: Callable[[], object] = lambda: None

    def begin(self, scenario: str, agents: int, ticks: int, shards: int, model: str) -> None:
        """End it before its first tick, where that is the one."""
        if self._tick == 0:
            self.stop()

    def tick(self, report: TickReport) -> None:
        """End it after the tick that is the one."""
        if report.tick >= self._tick:
            self.stop()

    def pulse(self, pulse: Pulse) -> None:
        """Nothing is to be done within a tick."""

    def note(self, text: str) -> None:
        """A failed turn is no reason to end it."""

    def end(self, status: str, manifest: Mapping[str, Any]) -> None:
        """It has ended."""
