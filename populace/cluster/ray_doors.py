"""How a shard on Ray reaches the environment service and the other shards. What crosses is bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.cluster.host import Peers, WorldDoor
from populace.cluster.ray_calls import THE_WORLD, result, shard_name
from populace.cluster.wire import (
    pack,
    unpack_heard,
    unpack_identities,
    unpack_news,
    unpack_shown,
)
from populace.core.claims import Claim, News
from populace.core.records import Answer, Look
from populace.core.rounds import Contribution, Heard
from populace.env.plain import Shown
from populace.kernel.looks import gathered
from populace.kernel.notices import Notice

GAP_S: Final = 0.005
"""How long a shard waits between two calls that tell another one of turns that have ended: a call costs about 1 ms."""


class _World:
    far = True

    def __init__(self, environment: Any, attempt: int) -> None:
        self._environment = environment
        self._attempt = attempt

    async def observe(self, agents: NDArray[np.int32]) -> bytes:
        call = self._environment.observe.remote(agents.astype("<i4").tobytes(), self._attempt)
        packed: bytes = await result(call, THE_WORLD)
        return packed

    async def observe_columns(self, agents: NDArray[np.int32]) -> Shown:
        call = self._environment.observe_columns.remote(agents.astype("<i4").tobytes(), self._attempt)
        return unpack_shown(await result(call, THE_WORLD))

    async def look(self, looks: Sequence[Look]) -> bytes:
        packed: bytes = await result(self._environment.look.remote(pack(gathered(looks)), self._attempt), THE_WORLD)
        return packed

    async def attend(self, shard: int, tick: int, due: NDArray[np.int32]) -> NDArray[np.int32]:
        call = self._environment.attend.remote(shard, tick, due.astype("<i4").tobytes(), self._attempt)
        return np.frombuffer(await result(call, THE_WORLD), "<i4")

    async def tell(self, shard: int, tick: int, said: Sequence[Contribution], left: Sequence[int]) -> list[Heard]:
        ended = np.array(left, "<i4").tobytes()
        call = self._environment.tell.remote(shard, tick, pack(said), ended, self._attempt)
        return unpack_heard(await result(call, THE_WORLD))

    async def hear(self, shard: int, tick: int) -> News:
        return unpack_news(await result(self._environment.hear.remote(shard, tick, self._attempt), THE_WORLD))

    async def claim(self, shard: int, tick: int, claims: Sequence[Claim]) -> list[tuple[int, int]]:
        call = self._environment.claim.remote(shard, tick, pack(claims), self._attempt)
        return unpack_identities(await result(call, THE_WORLD))

    async def tell_answers(self, tick: int, answers: Sequence[Answer]) -> None:
        await result(self._environment.tell_answers.remote(tick, pack(answers), self._attempt), THE_WORLD)


class _Peers:
    gap_s = GAP_S

    def __init__(self, shards: Sequence[Any]) -> None:
        self._shards = shards

    async def tell(self, shard: int, notices: list[Notice]) -> None:
        await result(self._shards[shard].hear.remote(pack(notices)), shard_name(shard))


def world_door(environment: Any, attempt: int) -> WorldDoor:
    """The environment service, an actor, as a shard of this attempt reaches it."""
    return _World(environment, attempt)


def peers_of(shards: Sequence[Any]) -> Peers:
    """The shards of a run, actors by index, as one of them reaches the others."""
    return _Peers(shards)
