"""What a tick costs the coordinator as shards grow: the barrier's state machine over simulated shards. Shell: a clock.

A simulated shard hands in what a real one does: its due agents, a digest of 16 bytes for each, counts, and parcels (on
a cluster references, which nobody opens) for some other shards. Per shard 100 agents; parcels for 16 others, and for
all. Measured is processor time of the barrier, the hashing of the trace with it; what Ray takes to carry the calls is
not in it.
"""

from __future__ import annotations

import time
from typing import Any, Final

import numpy as np

from populace.core.draws import WORLD
from populace.core.records import Counts
from populace.kernel.barrier import Barrier, Begin, Open, Resolve, ShardDone, TickClosed, WorldClosed

AGENTS: Final = 100
OTHERS: Final = 16
SHARDS: Final = (1, 10, 100, 300, 1000)


def _done(shard: int, shards: int, tick: int, others: int) -> ShardDone:
    """What a shard hands in for a tick."""
    agents = np.arange(shard * AGENTS, (shard + 1) * AGENTS, dtype=np.int32)
    to = [(shard + other + 1) % shards for other in range(min(others, shards))]
    parcels: list[tuple[int, Any]] = [*((one, b"") for one in to), (WORLD, b"")]
    sent = dict.fromkeys(to, 3)
    counts = Counts(turns=AGENTS, sent=3 * len(to), delivered=3 * len(to))
    return ShardDone(shard, 0, tick, agents, bytes(16 * AGENTS), counts, parcels, sent)


def coordinator_s(shards: int, others: int, ticks: int) -> list[float]:
    """Processor seconds of the barrier for each of so many ticks, where each shard sends to so many `others`."""
    barrier = Barrier(shards, ticks + 1)
    effects = barrier.handle(Begin())
    taken = []
    for tick in range(ticks):
        events = [_done(shard, shards, tick, others) for shard in range(shards)]
        began_s = time.process_time()
        for event in events:
            effects = barrier.handle(event)
        assert isinstance(effects[0], Resolve)
        effects = barrier.handle(WorldClosed(tick, bytes(16), Counts(), [], {}))
        taken.append(time.process_time() - began_s)
        assert isinstance(effects[0], TickClosed | Open)
    return taken
