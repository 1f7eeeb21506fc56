"""The trace hash: what a run committed, in the total order, as one number.

Each turn has a digest over what it committed: its messages, its actions, its asks' content keys and how each
ended, its public fields. A tick's digest runs over these in the order of the agents, then over what the world
sent; the run's hash chains the ticks. No wall-clock value stands in it, and neither does the number of shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES: Final = 16
TRACE_VERSION: Final = 2
"""How a new run is traced. A run keeps its version for life: resume, replay and fork compute what its parent did.

1: whatever takes effect in order does so in the order (sender, nth); the world's state has no hash.
2: the fair order, and a hash of the world's state beside the trace's.
"""


class Trace:
    """The hash of a run so far, 32 hexadecimal digits; `ticks` keeps the hash after each tick, or goes on from them."""

    __slots__ = ("_hash", "ticks")

    def __init__(self, ticks: Sequence[str] = ()) -> None:
        self.ticks: list[str] = list(ticks)
        self._hash = bytes.fromhex(ticks[-1]) if ticks else bytes(DIGEST_BYTES)

    def commit(self, tick: int, turns: Sequence[tuple[NDArray[np.int32], bytes]], world: bytes) -> str:
        """Chain one tick: (agents, 16 bytes a turn) of each shard in any order, and the world's digest."""
        agents = np.concatenate([ids for ids, _ in turns]) if turns else np.empty(0, np.int32)
        digests = np.frombuffer(b"".join([packed for _, packed in turns]), np.uint8).reshape(-1, DIGEST_BYTES)
        order = np.argsort(agents, kind="stable")
        chain = blake2b(self._hash, digest_size=DIGEST_BYTES, person=b"populace.trace1")
        chain.update(tick.to_bytes(8, "little"))
        chain.update(agents[order].astype("<i4").tobytes())
        chain.update(digests[order].tobytes())
        chain.update(world)
        self._hash = chain.digest()
        self.ticks.append(self.hash)
        return self.hash

    @property
    def hash(self) -> str:
        """The hash after the last tick committed."""
        return self._hash.hex()
