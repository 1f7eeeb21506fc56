"""The trace hash: what a run committed, in the total order, as one number.

Each turn has a digest over what it committed: its messages, its actions, its asks' content keys and how each
ended, its public fields. A tick's digest runs over these in the order of the agents, then over what the world
sent; the run's hash chains the ticks. The turns of a columnar type have one digest for all: a sum over rows, of two
lanes of 64 bits (`env.digest`), named `rows1` where it is
chained. No wall-clock value stands in it, and neither does the number of shards.

The world's state has a chain of its own, over a digest of each part at each tick's end. It is apart from the first,
since sums of floating-point numbers in a part may come out otherwise on another machine, and what agents do with them
may not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES: Final = 16
TRACE_VERSION: Final = 2
"""How a new run is traced. A run keeps its version to its end: resume, replay and fork compute what its parent did.

1: whatever takes effect in order does so in the order (sender, nth); the world's state has no hash.
2: the fair order, and a hash of the world's state beside the trace's.
"""
_SHOWN_BYTES: Final = 4


class Trace:
    """The hash of a run so far, 32 hexadecimal digits; `ticks` keeps the hash after each tick, or goes on from them."""

    __slots__ = ("_hash", "ticks")

    def __init__(self, ticks: Sequence[str] = ()) -> None:
        self.ticks: list[str] = list(ticks)
        self._hash = bytes.fromhex(ticks[-1]) if ticks else bytes(DIGEST_BYTES)

    def commit(
        self,
        tick: int,
        turns: Sequence[tuple[NDArray[np.int32], bytes]],
        world: bytes,
        sums: Sequence[Mapping[str, tuple[int, bytes]]] = (),
    ) -> str:
        """Chain one tick: (agents, 16 bytes a turn) of each shard in any order, and the world's digest.

        `sums` are, of each shard by columnar type, how many turns there were and the sum of their rows' digests: two
        lanes of 64 bits, which add up.
        """
        agents = np.concatenate([ids for ids, _ in turns]) if turns else np.empty(0, np.int32)
        digests = np.frombuffer(b"".join([packed for _, packed in turns]), np.uint8).reshape(-1, DIGEST_BYTES)
        order = np.argsort(agents, kind="stable")
        chain = blake2b(self._hash, digest_size=DIGEST_BYTES, person=b"populace.trace1")
        chain.update(tick.to_bytes(8, "little"))
        chain.update(agents[order].astype("<i4").tobytes())
        chain.update(digests[order].tobytes())
        for name in sorted({name for one in sums for name in one}):
            given = [one[name] for one in sums if name in one]
            lanes = np.frombuffer(b"".join([packed for _, packed in given]), "<u8").reshape(-1, 2)
            chain.update(b"rows1\0" + name.encode() + b"\0" + sum(n for n, _ in given).to_bytes(8, "little"))
            chain.update(lanes.sum(axis=0, dtype=np.uint64).astype("<u8").tobytes())
        chain.update(world)
        self._hash = chain.digest()
        self.ticks.append(self.hash)
        return self.hash

    @property
    def hash(self) -> str:
        """The hash after the last tick committed."""
        return self._hash.hex()


class WorldHashes(msgspec.Struct, frozen=True):
    """The hash of the world's states after each tick, and what tells its parts apart.

    `hashes` chain the ticks, 32 hexadecimal digits each; `parts` has, by name of the part, 8 hexadecimal digits of its
    own state's digest after each tick. Both are empty in a run of version 1.
    """

    hashes: list[str] = []
    parts: dict[str, list[str]] = {}

    def difference(self, other: WorldHashes) -> tuple[int, list[str]] | None:
        """The first tick of those that both have after which the states differ, and in which parts they do then."""
        ticks = min(len(self.hashes), len(other.hashes))
        tick = next((tick for tick in range(ticks) if self.hashes[tick] != other.hashes[tick]), None)
        if tick is None:
            return None
        return tick, self.parts_other(other, tick)

    def parts_other(self, other: WorldHashes, tick: int) -> list[str]:
        """The parts whose states differ after a tick that both have, sorted."""
        names = sorted(self.parts.keys() | other.parts.keys())
        return [name for name in names if self._part(name, tick) != other._part(name, tick)]

    def _part(self, name: str, tick: int) -> str | None:
        digests = self.parts.get(name, [])
        return digests[tick] if tick < len(digests) else None


NO_WORLD_HASHES: Final = WorldHashes()


class WorldTrace:
    """The hash of the world's states of a run so far; goes on from `record`."""

    __slots__ = ("_hash", "record")

    def __init__(self, record: WorldHashes = NO_WORLD_HASHES) -> None:
        self.record = WorldHashes(list(record.hashes), {name: list(digests) for name, digests in record.parts.items()})
        self._hash = bytes.fromhex(record.hashes[-1]) if record.hashes else bytes(DIGEST_BYTES)

    def commit(self, tick: int, digests: Mapping[str, bytes]) -> str:
        """Chain the states of the parts, 16 bytes each by name, as they are at the tick's end."""
        chain = blake2b(self._hash, digest_size=DIGEST_BYTES, person=b"populace.world1")
        chain.update(tick.to_bytes(8, "little"))
        for name, digest in sorted(digests.items()):
            chain.update(name.encode() + b"\0" + digest)
            self.record.parts.setdefault(name, []).append(digest[:_SHOWN_BYTES].hex())
        self._hash = chain.digest()
        self.record.hashes.append(self._hash.hex())
        return self._hash.hex()
