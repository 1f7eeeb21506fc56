"""Damages bytes as disks, copies and cables do: flipped bits, overwritten runs, cut ends."""

from __future__ import annotations

import random


def corrupt(rng: random.Random, data: bytes) -> bytes:
    """The data with one damage of any kind."""
    changed = bytearray(data)
    kind = rng.randrange(4)
    if kind <= 1:
        for _ in range(1 + 7 * kind):
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 2:
        at = rng.randrange(len(data))
        changed[at : at + rng.randrange(1, 64)] = rng.randbytes(rng.randrange(64))
    else:
        del changed[rng.randrange(len(data)) :]
    return bytes(changed)
