"""Runs a seed and judges what came of it."""

from __future__ import annotations

import random
from collections import Counter
from functools import lru_cache

import msgspec

from populace.cluster.coordinator import DEATHS
from populace.core.errors import ActorLost
from populace.core.records import Counts
from support.simulator.driver import make_run
from support.simulator.hosts import ShardProcess, WorldProcess
from support.simulator.society import TICKS
from support.simulator.universe import Faults

SHARDS = 3


class Undisturbed(msgspec.Struct, frozen=True):
    hashes: list[str]
    total: Counts
    calls: int
    asked: set[tuple[int, int, int, bytes]]
    steps: int


@lru_cache
def undisturbed(shards: int = SHARDS) -> Undisturbed:
    run = make_run(Faults(), shards)
    hashes, total = run.run()
    assert run.deaths == 0
    return Undisturbed(hashes, total, run.paid, run.asked, run.steps)


def faults_of(seed: int) -> Faults:
    """5 % doubled, 5 % reordered, 1 % dropped, and up to four crashes at any steps."""
    draw = random.Random(f"faults {seed}")
    crashes = draw.choices((0, 1, 2, 3, 4), (3, 3, 2, 1, 1))[0]
    steps = frozenset(draw.randrange(1, 2 * undisturbed().steps) for _ in range(crashes))
    return Faults(seed, doubled=0.05, reordered=0.05, dropped=0.01, crashes=steps, zombies=0.5)


def judge(faults: Faults, seen: Counter[str] | None = None) -> str:
    """What came of a run. Raises AssertionError unless it is the undisturbed result, or a clean and earned failure."""
    base, run = undisturbed(), make_run(faults, SHARDS)
    outcome = run.run()
    why = f"{faults}: {run.stories}"
    caused = run.crashed.total() + run.dropped
    assert run.deaths <= caused, f"somebody was lost for no reason: {why}"
    assert run.asked <= base.asked, f"the model was asked what no undisturbed run asks: {why}"
    assert run.paid <= base.calls + run.lost_calls, f"the model was paid twice: {why}"
    if seen is not None:
        seen.update(dropped=run.dropped, doubled=run.doubled, crashes=run.crashed.total())
        seen.update({"calls": run.paid, "calls in flight when lost": run.lost_calls})
        seen.update({f"crashed: {who}": n for who, n in run.crashed.items()})
    if isinstance(outcome, ActorLost):
        assert run.deaths >= DEATHS, why
        assert "It is the third time" in str(outcome), why
        return "clean failure: ActorLost"
    hashes, total = outcome
    assert hashes == base.hashes, f"another trace: {why}"
    assert len(hashes) == TICKS
    assert total == base.total, f"other books: {why}"
    for process in run.processes.values():
        if process.alive and isinstance(process, ShardProcess):
            process.shard.validate()
        if process.alive and isinstance(process, WorldProcess):
            assert process.environment.world.tick <= TICKS
    return f"same hash after {run.deaths} recoveries" if run.deaths else "same hash, nobody lost"
