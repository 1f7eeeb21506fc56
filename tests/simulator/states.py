"""Stand-in for the export and restore of a run's state."""

from __future__ import annotations

import copy
from typing import Any

import msgspec

from populace.cluster.barrier import Barrier
from populace.cluster.bus import Frame
from populace.cluster.environment import Environment
from populace.cluster.shard import Shard
from populace.core.draws import WORLD
from populace.core.records import Counts


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    tick: int
    shards: list[Any]
    mail: list[list[Frame]]
    world: dict[str, Any]
    total: Counts
    hashes: list[str]

    def part(self, role: int) -> Any:
        return self.world if role == WORLD else self.shards[role]


def export_shard(shard: Shard) -> Any:
    assert not shard._open
    return [msgspec.msgpack.encode(agent) for agent in shard.agents], copy.deepcopy(shard.timers)


def restore_shard(shard: Shard, tick: int, state: Any) -> None:
    kind = type(shard.agents[0])
    shard.agents[:] = [msgspec.msgpack.decode(packed, type=kind) for packed in state[0]]
    shard.timers = copy.deepcopy(state[1])
    shard.scope.tick = tick - 1


def export_world(environment: Environment) -> dict[str, Any]:
    return copy.deepcopy(environment.world.state())


def restore_world(environment: Environment, state: dict[str, Any]) -> None:
    environment.world.restore(copy.deepcopy(state))


def save(barrier: Barrier, parts: dict[int, Any]) -> RunState:
    return RunState(
        tick=barrier.tick,
        shards=[parts[shard] for shard in range(barrier.shards)],
        mail=[list(barrier._mail[shard]) for shard in range(barrier.shards)],
        world=parts[WORLD],
        total=copy.deepcopy(barrier.total),
        hashes=list(barrier.trace.ticks),
    )


def make_barrier(shards: int, ticks: int, attempt: int, state: RunState | None) -> Barrier:
    barrier = Barrier(shards, ticks, 0 if state is None else state.tick)
    barrier.attempts, barrier.world_attempt = [attempt] * shards, attempt
    if state is not None:
        barrier.trace.ticks = list(state.hashes)
        barrier.trace._hash = bytes.fromhex(state.hashes[-1])
        barrier.total = copy.deepcopy(state.total)
        for shard, frames in enumerate(state.mail):
            barrier._mail[shard] = [msgspec.structs.replace(frame, attempt=attempt, source=WORLD) for frame in frames]
            n = sum(map(len, frames))
            barrier._expected[shard] = {WORLD: n} if n else {}
    return barrier
