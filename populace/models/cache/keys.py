"""Which asks share an answer, and the seed that is sent for one. Pure.

What counts as the same answer is the society's to say:

- `own` (the default): each agent, tick and replicate has its own sample; the key holds seed, agent, tick and nth.
- `shared`: asks with the same content share one answer (agents as archetypes); the key is the content alone.
- `off`: nothing is kept or looked up.

The seed that is sent to the model is a hash of the same key, so that a model that honours seeds gives the same
sample that the cache would (`off` is seeded as `own`).
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import Final, Literal, TypeAlias

from populace.core.records import Ask

Mode: TypeAlias = Literal["own", "shared", "off"]

_IDENTITY: Final = struct.Struct("<Qqqq").pack
_OWN: Final = blake2b(digest_size=16, person=b"populace.own1")
_SEED: Final = blake2b(digest_size=4, person=b"populace.seed1")
"""Hashes of nothing, to copy: that is quicker than to make one."""


def cache_key(mode: Mode, seed: int, ask: Ask) -> bytes | None:
    """The key under which an ask's answer is kept, 16 bytes; None when it is not kept.

    An embedding has no sample of its own: it is that of its texts, whoever asks.
    """
    if ask.spec.kind == "embedding":
        return None if mode == "off" else ask.key
    match mode:
        case "shared":
            return ask.key
        case "own":
            return _own_key(seed, ask)
        case "off":
            return None
    raise ValueError(f"cache mode must be 'own', 'shared' or 'off', got {mode!r}")


def model_seed(mode: Mode, seed: int, ask: Ask, repair: int = 0) -> int:
    """The seed to send to the model, in [0, 2**31): a hash of the cache's key; a repair samples anew."""
    key = ask.key if mode == "shared" else _own_key(seed, ask)
    hashed = _SEED.copy()
    hashed.update(key + bytes((repair,)))
    return int.from_bytes(hashed.digest(), "little") & 0x7FFF_FFFF


def _own_key(seed: int, ask: Ask) -> bytes:
    identity = _IDENTITY(seed, ask.agent, ask.tick, ask.nth)
    hashed = _OWN.copy()
    hashed.update(ask.key + identity)
    return hashed.digest()
