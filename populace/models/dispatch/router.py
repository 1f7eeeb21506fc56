"""Which of several endpoints takes an ask: weighted rendezvous hashing on the prefix that asks share.

Asks that begin alike (the same system message) go to the same endpoint, so that its prefix cache profits. Each
endpoint scores -weight / ln(u), with u uniform from a hash of (endpoint, prefix), and the highest takes it: shares are
in proportion to weights, and an endpoint that falls out moves its own prefixes only (Thaler and Ravishankar 1998,
doi:10.1109/90.663936; the weighted form: Schindelhauer and Schomaker 2005, doi:10.1145/1073970.1074008).

One prefix for a whole society would leave all endpoints but one idle, so the caller says which are able to take a
call now (healthy, and with a free permit): the best of those takes it, and overflow goes to the second best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import msgspec


class Endpoint(msgspec.Struct, frozen=True):
    """One endpoint: its name (stable over runs, for its name decides what it gets) and its weight, above 0."""

    name: str
    weight: float = 1.0


def shared_prefix(messages: Sequence[tuple[str, str]]) -> bytes:
    """What asks share: a hash of the system messages at their head, 16 bytes; of the first message if there is none."""
    head = []
    for role, content in messages:
        if role != "system":
            break
        head.append(content)
    prefix = "\0".join(head) if head else (messages[0][1] if messages else "")
    return blake2b(prefix.encode(), digest_size=16, person=b"populace.prefix").digest()


class Router:
    """Ranks endpoints for prefixes. Raises ValueError on no endpoints, repeated names, and weights not above 0."""

    __slots__ = ("_rank", "endpoints")

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        names = [endpoint.name for endpoint in endpoints]
        if not endpoints or len(set(names)) < len(names):
            raise ValueError(f"a router needs one or more endpoints with different names, got {names}")
        for endpoint in endpoints:
            if not 0.0 < endpoint.weight < math.inf:
                raise ValueError(f"endpoint {endpoint.name}: weight must be a number above 0, got {endpoint.weight}")
        self.endpoints = tuple(endpoints)
        self._rank = lru_cache(maxsize=65_536)(self._rank_afresh)

    def rank(self, prefix: bytes) -> tuple[str, ...]:
        """All endpoints' names, the best for this prefix first."""
        return self._rank(prefix)

    def _rank_afresh(self, prefix: bytes) -> tuple[str, ...]:
        ranked = sorted(self.endpoints, key=lambda endpoint: (-_score(endpoint, prefix), endpoint.name))
        return tuple(endpoint.name for endpoint in ranked)


def _score(endpoint: Endpoint, prefix: bytes) -> float:
    digest = blake2b(endpoint.name.encode(), key=prefix, digest_size=8, person=b"populace.route1").digest()
    return -endpoint.weight / math.log((int.from_bytes(digest, "little") + 0.5) * 2.0**-64)
