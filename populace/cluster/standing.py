"""Where a run stands in its present attempt: what the loop moves on, the saver saves and the manifest tells."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from populace.core.errors import Diverged, WorldDiverged
from populace.core.records import Counts
from populace.kernel.barrier import Barrier
from populace.store.folder import Course
from populace.store.tables.tables import Tables


@dataclass
class Standing:
    """One attempt, from the tick `began_at_tick` on. `wall_before_s` is what the run had taken before it was resumed.

    `unrecorded` is what calls of the tick that was abandoned cost whose answers are not on record.
    """

    out: Path
    agents: int
    barrier: Barrier
    tables: Tables
    began_at_tick: int = 0
    wall_before_s: float = 0.0
    unrecorded: Counts = field(default_factory=Counts)
    _began_s: float = field(default_factory=time.perf_counter)

    def wall_s(self) -> float:
        """Seconds that the run has taken, with those before it was resumed."""
        return self.wall_before_s + time.perf_counter() - self._began_s


class Comparison:
    """Compares a run's hashes with those that its course has on record."""

    def __init__(self, course: Course, note: Callable[[str], None]) -> None:
        self.world_diverged: WorldDiverged | None = None
        """Where the world's state was first another than on record."""
        self._course = course
        self._note = note

    def check(self, tick: int, barrier: Barrier) -> Diverged | None:
        """What ends a run whose trace is another after `tick`. Another state of the world is only noted."""
        expected, found = self._course.expected_world, barrier.world_trace.record
        past = tick < min(len(expected.hashes), len(found.hashes))
        if self.world_diverged is None and past and found.hashes[tick] != expected.hashes[tick]:
            parts = found.parts_other(expected, tick)
            self.world_diverged = WorldDiverged(tick, expected.hashes[tick], found.hashes[tick], parts)
            if not self._course.replay:
                self._note(str(self.world_diverged))
        hashes = self._course.expected
        if tick < len(hashes) and barrier.trace.hash != hashes[tick]:
            return Diverged(tick, hashes[tick], barrier.trace.hash)
        return None
