"""Where a run stands in its present attempt: what the loop moves on, the saver saves and the manifest tells."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from populace.core.errors import Diverged, WorldDiverged
from populace.core.records import Counts
from populace.kernel.barrier import Barrier
from populace.kernel.events import TickDone
from populace.kernel.reports import WorldDone
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


class TickUnderWay:
    """What the tick under way has come to so far, and what its stages took."""

    def __init__(self, shards: int) -> None:
        self.parts: list[TickDone] = []
        self.whole = asyncio.Event()
        """Every shard has settled it."""
        self._shards = shards
        self.world: WorldDone | None = None
        self.stages_s: dict[str, float] = {}
        self._stage_began_s = time.perf_counter()

    def settled(self, part: TickDone) -> None:
        """A shard has settled it."""
        self.parts.append(part)
        if len(self.parts) == self._shards:
            self.whole.set()

    def shard_stages(self) -> dict[str, float]:
        """What the stages took, with those of the shards' turns where they were measured.

        'observe' and 'exchange' lie within 'turns': the most that a shard waited to be shown the world, and how much
        longer the stage was than the turns of the shard that took longest.
        """
        found = dict(self.stages_s)
        told = [part.vitals for part in self.parts if part.vitals is not None]
        if told and "turns" in found:
            found["observe"] = max(one.observe_s for one in told)
            found["exchange"] = max(0.0, found["turns"] - max(one.turns_s for one in told))
        return found

    def stage(self, name: str) -> None:
        """The stage of this name has ended."""
        now_s = time.perf_counter()
        self.stages_s[name] = now_s - self._stage_began_s
        self._stage_began_s = now_s
