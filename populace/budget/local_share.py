"""A shard's own, fixed share of the limits: stands in for the central quota where there is none.

Two buckets, of requests and tokens, that fill at their rates and hold what `burst_s` seconds yield. Money comes from
an allowance of its own: an equal part of the run's ceiling, so that the whole is never passed, though one shard may
reach its part early. Pure: time is an argument, in monotonic seconds.
"""

from __future__ import annotations

import math

from populace.budget.amounts import NOTHING, Allowance
from populace.budget.lease import Lease, Want

_AGAIN_S = 0.1
_LASTS_S = 1.0
_TINY = 1e-9


class Buckets:
    """The arithmetic. Rates are per minute; `math.inf` limits nothing."""

    __slots__ = ("_at_s", "_burst_s", "_lent", "_levels", "_rates", "allowance")

    def __init__(
        self,
        requests_per_minute: float,
        tokens_per_minute: float,
        allowance: Allowance | None = None,
        burst_s: float = 0.25,
    ) -> None:
        self.allowance = Allowance() if allowance is None else allowance
        self._lent = NOTHING
        self._rates = (requests_per_minute / 60.0, tokens_per_minute / 60.0)
        self._burst_s = burst_s
        self._levels = [0.0, 0.0]
        self._at_s = -math.inf

    def lease(self, want: Want, now_s: float) -> Lease:
        """Lease what is wanted and there; nothing when it does not even send the first ask.

        What is handed back counts as never used, and a call that took more than it paid is paid for now.
        """
        self._lent = self.allowance.take_back(self._lent, want.spent, want.unused_money)
        self._fill(want, now_s)
        again_s = max(_AGAIN_S, want.hold_s)
        money = self.allowance.lend(want.money, want.least_money) if want.money != NOTHING else NOTHING
        self._lent += money
        if money == NOTHING and want.least_money != NOTHING:
            refused = "held" if self.allowance.could_fit_later(want.least_money) else "budget"
            return Lease(want.nth, lasts_s=_LASTS_S, again_s=again_s, refused=refused)
        amounts = [0, 0]
        for kind, (wanted, head) in enumerate(((want.requests, 1), (want.tokens, want.head_tokens))):
            have = wanted if math.isinf(self._rates[kind]) else int(self._levels[kind] + _TINY)
            if have < min(head, wanted):
                return Lease(want.nth, money=money, lasts_s=_LASTS_S, again_s=again_s)
            amounts[kind] = min(have, wanted)
        for kind, amount in enumerate(amounts):
            if not math.isinf(self._rates[kind]):
                self._levels[kind] -= amount
        return Lease(want.nth, amounts[0], amounts[1], money, _LASTS_S, again_s, pace_per_s=self._rates[0])

    def _fill(self, want: Want, now_s: float) -> None:
        gone_s = now_s - self._at_s
        self._at_s = now_s
        parts = ((want.unused_requests, 1), (want.unused_tokens, want.head_tokens))
        for kind, (back, head) in enumerate(parts):
            rate = self._rates[kind]
            if math.isinf(rate):
                continue
            # At first there is what sends one ask; nobody's idle time is saved up beyond `burst_s`.
            filled = float(head) if math.isinf(gone_s) else rate * max(0.0, gone_s)
            self._levels[kind] = min(max(rate * self._burst_s, float(head)), self._levels[kind] + back + filled)
