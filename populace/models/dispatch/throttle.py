"""What a dispatcher may spend and how fast: the only module that imports asyncio_throttle.

The quota says how many requests there are and how many a second; two throttlers keep to that within the second. One
lets no more pass in any quarter of a second than evenly spaced calls would put there; the other spreads them, a little
faster than the pace, so that calls which are late on the way don't meet those after them. Each polls while it waits,
and is not first in, first out: so both have one waiter, the dispatcher, which keeps the queue.
"""

from __future__ import annotations

import math
from typing import Final, Protocol

from asyncio_throttle import Throttler

from populace.budget.lease import Lease, Purse, Want
from populace.models.dispatch.retry import Pending
from populace.models.endings import Ending, tokens_used

_QUARTER_S: Final = 0.25
_SPREAD_S: Final = 0.05
_FASTER: Final = 1.5
_POLL_S: Final = 0.002


class Link(Protocol):
    """The way to the central quota."""

    async def exchange(self, want: Want) -> Lease:
        """One exchange.

        Raises OSError when the quota cannot be reached: the same want is then sent again. Raises PopulaceError when
        it never will be: no further call is made.
        """


def windows(pace_per_s: float) -> tuple[tuple[int, float], tuple[int, float]]:
    """What a pace allows: (calls, seconds) of a quarter of a second, and of the shorter window that spreads them."""
    calls = math.ceil(pace_per_s * _SPREAD_S)
    return (
        (math.floor(pace_per_s * _QUARTER_S) + 1, _QUARTER_S),
        (calls, min(_QUARTER_S, calls / (_FASTER * pace_per_s))),
    )


class Limiter:
    """What a dispatcher may spend, when anything limits it: its purse, the link to the quota, and its pace."""

    def __init__(self, purse: Purse, link: Link) -> None:
        self.purse = purse
        self.link = link
        self._throttlers: tuple[Throttler, ...] = ()
        self._passed = 0

    def keep_to(self, pace_per_s: float) -> None:
        """From now on, let so many calls a second pass; any number where it is infinite."""
        if math.isinf(pace_per_s):
            self._throttlers, self._passed = (), 0
            return
        if not self._throttlers:
            self._throttlers = (Throttler(1, retry_interval=_POLL_S), Throttler(1, retry_interval=_POLL_S))
        for throttler, (calls, period_s) in zip(self._throttlers, windows(pace_per_s), strict=True):
            throttler.rate_limit, throttler.period = calls, period_s

    def passes(self) -> bool:
        """Whether the throttlers let the next call pass at once; it counts as passed then."""
        while self._passed < len(self._throttlers):
            attempt = self._throttlers[self._passed].acquire()
            try:
                attempt.send(None)
            except StopIteration:
                self._passed += 1
                continue
            attempt.close()
            return False
        self._passed = 0
        return True

    async def pass_next(self) -> None:
        """Wait until the throttlers let the next call pass. One waiter at a time."""
        waiting_for, self._passed = self._throttlers[self._passed :], 0  # calls that end meanwhile begin others
        for throttler in waiting_for:
            await throttler.acquire()

    def settle(self, pending: Pending, outcome: Ending) -> None:
        """Book what a call came to. A call whose fate is unknown may have been billed: it counts as its worst case."""
        used, allowance = tokens_used(outcome), self.purse.allowance
        if used == (0, 0):
            allowance.release(pending.worst)
            self.purse.returned(pending.estimate, 0)
            return
        tokens_in, tokens_out = (pending.worst_in, pending.ask.max_tokens) if used is None else used
        allowance.settle(pending.worst, pending.rate, tokens_in, tokens_out, "", pending.ask.purpose)
        self.purse.returned(pending.estimate, tokens_in + tokens_out)
