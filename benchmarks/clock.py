"""CPU time of a run from the end of tick 0 on, for the benchmarks that run in their own process."""

from __future__ import annotations

import cProfile
import time
from collections.abc import Mapping
from typing import Any

from populace.monitoring.report import Pulse, TickReport


class Clock:
    """An observer that notes CPU time and turns from the end of tick 0; `profile` runs from there too."""

    def __init__(self, profile: cProfile.Profile | None) -> None:
        self.began_s = 0.0
        self.ended_s = 0.0
        self.turns = 0
        self._profile = profile

    def begin(self, scenario: str, agents: int, ticks: int, shards: int, model: str) -> None: ...

    def pulse(self, pulse: Pulse) -> None: ...

    def note(self, text: str) -> None:
        raise RuntimeError(text)

    def end(self, status: str, manifest: Mapping[str, Any]) -> None: ...

    def tick(self, report: TickReport) -> None:
        if not self.began_s:
            if self._profile is not None:
                self._profile.enable()
            self.began_s = time.process_time()
        else:
            self.turns += report.counts.turns
            self.ended_s = time.process_time()
