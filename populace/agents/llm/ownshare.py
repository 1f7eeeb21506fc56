"""A shard's own, fixed share of the limits: stands in for the central quota where there is none.

Two buckets, of requests and tokens, that fill at their rates and hold what `burst_s` seconds yield. The arithmetic
takes time as an argument, in monotonic seconds; `OwnShare` is its thin shell. Money is not limited here.
"""

from __future__ import annotations

import asyncio
import math

from populace.agents.llm.lease import Lease, Want

_AGAIN_S = 0.1
_LASTS_S = 1.0
_TINY = 1e-9


class Buckets:
    """The arithmetic. Rates are per minute; `math.inf` limits nothing."""

    __slots__ = ("_at_s", "_burst_s", "_levels", "_rates")

    def __init__(self, requests_per_minute: float, tokens_per_minute: float, burst_s: float = 0.25) -> None:
        self._rates = (requests_per_minute / 60.0, tokens_per_minute / 60.0)
        self._burst_s = burst_s
        self._levels = [0.0, 0.0]
        self._at_s = -math.inf

    def lease(self, want: Want, now_s: float) -> Lease:
        """Lease what is wanted and there; nothing when it does not even send the first ask.

        What is handed back counts as never used, and a call that took more than it paid is paid for now.
        """
        heads = (1, want.head_tokens)
        gone_s = min(60.0, max(0.0, now_s - self._at_s))
        self._at_s = now_s
        for kind, back in enumerate((want.unused_requests, want.unused_tokens)):
            rate = self._rates[kind]
            if math.isinf(rate):
                continue
            cap = max(rate * self._burst_s, float(heads[kind]))
            filled = 1.0 * heads[kind] if math.isinf(gone_s) else rate * gone_s
            self._levels[kind] = min(cap, self._levels[kind] + back + filled)
        amounts = [0, 0]
        for kind, (wanted, head) in enumerate(zip((want.requests, want.tokens), heads, strict=True)):
            have = wanted if math.isinf(self._rates[kind]) else int(self._levels[kind] + _TINY)
            if not wanted or have < min(head, wanted):
                return Lease(want.nth, money=want.money, lasts_s=_LASTS_S, again_s=max(_AGAIN_S, want.hold_s))
            amounts[kind] = min(have, wanted)
        for kind, amount in enumerate(amounts):
            if not math.isinf(self._rates[kind]):
                self._levels[kind] -= amount
        return Lease(want.nth, amounts[0], amounts[1], want.money, _LASTS_S, max(_AGAIN_S, want.hold_s))


class OwnShare:
    """The link to a share that nobody else draws on."""

    def __init__(self, requests_per_minute: float, tokens_per_minute: float) -> None:
        self._buckets = Buckets(requests_per_minute, tokens_per_minute)

    async def exchange(self, want: Want) -> Lease:
        """One exchange; it never waits."""
        return self._buckets.lease(want, asyncio.get_running_loop().time())
