"""What calls in batches may spend: the worst case of each is reserved before its batch is sent. Shell: an event loop.

A batch holds what it has reserved for as long as it is out. The rates of an account are not for its calls: endpoints
bound batches apart, and that refusal is waited out where it is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from populace.budget.amounts import NOTHING, Amount
from populace.budget.lease import Lease
from populace.core.errors import PopulaceError
from populace.models.dispatch.retry import Pending
from populace.models.dispatch.throttle import Limiter
from populace.models.endings import Ending, tokens_used

_AGAIN_S: Final = 0.25


class Unaffordable(Exception):
    """No further call will be paid for; `why` is a dispatcher's word: 'budget', 'attempt', 'account'."""

    def __init__(self, why: str, detail: str = "") -> None:
        super().__init__(detail)
        self.why = why


class BatchPurse:
    """Reserves and settles calls of batches out of what `limiter` leases.

    A quota that cannot be reached for `outage_s` pays no more.
    """

    def __init__(self, limiter: Limiter, outage_s: float) -> None:
        self._purse = limiter.purse
        self._limiter = limiter
        self._outage_s = outage_s
        self._reserved: set[int] = set()
        self._one = asyncio.Lock()

    async def pay(self, batch: Sequence[Pending]) -> int:
        """Reserve for as many of these as there is money for, in their order: one at least, which is waited for.

        Raises Unaffordable where none will ever fit; nothing is reserved then.
        """
        paid = 0
        while paid < len(batch):
            paid += self._take(batch[paid:])
            if paid == len(batch):
                break
            lease = await self._exchange(batch[paid:])
            if lease.refused == "held" and paid:
                break
            if lease.refused in ("budget", "attempt"):
                self.unpay(batch[:paid])
                raise Unaffordable(lease.refused)
        return paid

    async def owe(self, batch: Sequence[Pending]) -> None:
        """Reserve for calls that are out already, as far as there is money: what is beyond it is booked in the end."""
        paid = 0
        while True:
            paid += self._take(batch[paid:])
            if paid == len(batch) or (await self._exchange(batch[paid:])).refused:
                return

    def unpay(self, batch: Sequence[Pending]) -> None:
        """Give back what was reserved for calls that were never made."""
        for pending in batch:
            if id(pending) in self._reserved:
                self._reserved.discard(id(pending))
                self._purse.allowance.release(pending.worst)
                self._purse.returned(pending.estimate, 0, sent=False)

    def settle(self, pending: Pending, outcome: Ending) -> None:
        """Book what a call came to, whether it was reserved or not."""
        if id(pending) in self._reserved:
            self._reserved.discard(id(pending))
            self._limiter.settle(pending, outcome)
            return
        used = tokens_used(outcome)
        if used != (0, 0):
            tokens_in, tokens_out = (pending.worst_in, pending.ask.max_tokens) if used is None else used
            allowance = self._purse.allowance
            allowance.settle(NOTHING, pending.rate, tokens_in, tokens_out, "", pending.ask.purpose)

    async def report(self) -> None:
        """Tell the quota what was spent, and give back what is not reserved: others may wait for it."""
        async with self._one:
            now_s = asyncio.get_running_loop().time()
            try:
                lease = await self._limiter.link.exchange(self._purse.want(now_s, 0, 0, 0))
            except (OSError, PopulaceError):  # the next exchange tells it
                return
            self._purse.receive(lease, now_s)

    def _take(self, batch: Sequence[Pending]) -> int:
        """Reserve for as many of these as can be paid for at once."""
        now_s = asyncio.get_running_loop().time()
        for nth, pending in enumerate(batch):
            if not self._purse.affords(pending.estimate, pending.worst, now_s):
                return nth
            self._purse.take(pending.estimate, pending.worst)
            self._reserved.add(id(pending))
        return len(batch)

    async def _exchange(self, batch: Sequence[Pending]) -> Lease:
        loop, head = asyncio.get_running_loop(), batch[0]
        since_s = loop.time()
        async with self._one:
            while True:
                await asyncio.sleep(max(0.0, min(_AGAIN_S, self._purse.again_at_s - loop.time())))
                worst = Amount(sum(one.worst.tokens for one in batch), sum(one.worst.pico_usd for one in batch))
                tokens = sum(one.estimate for one in batch)
                want = self._purse.want(loop.time(), len(batch), tokens, head.estimate, worst, head.worst)
                try:
                    lease = await self._limiter.link.exchange(want)
                except OSError as error:
                    if loop.time() - since_s > self._outage_s:
                        raise Unaffordable("account", str(error)) from error
                    await asyncio.sleep(_AGAIN_S)
                    continue
                except PopulaceError as error:
                    raise Unaffordable("account", str(error)) from error
                self._purse.receive(lease, loop.time())
                return lease
