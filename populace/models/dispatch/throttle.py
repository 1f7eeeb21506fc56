"""What a dispatcher may spend and how fast: the only module that imports asyncio_throttle."""

from __future__ import annotations

import math
from typing import Final, Protocol

from asyncio_throttle import Throttler

from populace.budget.amounts import Rate
from populace.budget.lease import Lease, Purse, Want
from populace.models.dispatch.retry import Pending
from populace.models.endings import Ending, tokens_used

_PERIOD_S: Final = 0.25
_POLL_S: Final = 0.005
_HEADROOM: Final = 1.25
"""The throttler's rate over that of the quota, which is the one that counts: it only spreads what is leased."""


class Link(Protocol):
    """The way to the central quota."""

    async def exchange(self, want: Want) -> Lease:
        """One exchange.

        Raises OSError when the quota cannot be reached: the same want is then sent again. Raises PopulaceError when
        it never will be: no further call is made.
        """


class Limiter:
    """What a dispatcher may spend, when anything limits it: its purse, the link to the quota, and its pace."""

    def __init__(self, purse: Purse, link: Link, rate: Rate, requests_per_minute: float = math.inf) -> None:
        self.purse = purse
        self.link = link
        self.rate = rate
        self.throttler: Throttler | None = None
        if math.isfinite(requests_per_minute):
            burst = max(1, math.ceil(requests_per_minute / 60.0 * _PERIOD_S * _HEADROOM))
            self.throttler = Throttler(rate_limit=burst, period=_PERIOD_S, retry_interval=_POLL_S)

    def passes(self) -> bool:
        """Whether the throttler lets a call pass at once; it counts as passed then."""
        if self.throttler is None:
            return True
        attempt = self.throttler.acquire()
        try:
            attempt.send(None)
        except StopIteration:
            return True
        attempt.close()
        return False

    def settle(self, job: Pending, outcome: Ending) -> None:
        """Book what a call came to. A call whose fate is unknown may have been billed: it counts as its worst case."""
        used, allowance = tokens_used(outcome), self.purse.allowance
        if used == (0, 0):
            allowance.release(job.worst)
            self.purse.returned(job.estimate, 0)
            return
        tokens_in, tokens_out = (job.worst_in, job.ask.max_tokens) if used is None else used
        allowance.settle(job.worst, self.rate, tokens_in, tokens_out, "", job.ask.purpose)
        self.purse.returned(job.estimate, tokens_in + tokens_out)
