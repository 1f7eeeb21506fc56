"""What passes between a dispatcher and the central quota, and the dispatcher's half of it: the `Purse`.

A limit belongs to an account, not to a process, so a central quota (`populace.budget.quota`) leases requests, tokens
and money to every shard's dispatcher, in batches and for a short time. An exchange is one `Want` answered by one
`Lease`. The purse holds what was leased, pays for calls out of it, and says what it wants next and what it gives back.

Pure: time is an argument, in monotonic seconds of the dispatcher's own clock; leases tell durations, so the clocks of
the two sides need not agree.
"""

from __future__ import annotations

import math
from collections import deque

import msgspec

from populace.budget.amounts import NOTHING, Allowance, Amount


class Want(msgspec.Struct, frozen=True):
    """A dispatcher's side of one exchange.

    `nth` rises by one with each exchange of an attempt; a Want that is sent again (its answer was lost) is answered
    by the same Lease. `requests` and `tokens` are what the waiting asks need beyond what is held; `head_tokens` is
    what the first of them needs, so that no lease is too small to be of use. `unused_*` go back (tokens below 0 are
    owed: calls took more than they had paid); `money` is what is wanted on top, `least_money` the worst case of one
    call, `spent` what calls came to since the last exchange. `hold_s` passes a server's Retry-After on to everybody.
    `account` says of which of the run's accounts it is wanted. Dispatchers of one shard on one account count as shards
    of their own.
    """

    shard: int
    attempt: int
    nth: int
    requests: int = 0
    tokens: int = 0
    head_tokens: int = 0
    unused_requests: int = 0
    unused_tokens: int = 0
    money: Amount = NOTHING
    least_money: Amount = NOTHING
    spent: Amount = NOTHING
    unused_money: Amount = NOTHING
    hold_s: float = 0.0
    account: int = 0


class Lease(msgspec.Struct, frozen=True):
    """The quota's side of one exchange: come again after `again_s`.

    Its requests may be used from `starts_in_s` on, for `lasts_s`, and no faster than `pace_per_s` requests a second:
    the paces of all that hold a lease add up to the account's limit at most.

    `refused` is '' or says why nothing was leased: 'attempt' (a newer attempt of this shard runs: stop), 'budget'
    (the call can never fit under the ceiling: stop), or 'held' (it does not fit now, since calls in flight hold their
    worst cases, but may when they have settled).
    """

    nth: int
    requests: int = 0
    tokens: int = 0
    money: Amount = NOTHING
    lasts_s: float = 0.0
    again_s: float = 0.0
    refused: str = ""
    starts_in_s: float = 0.0
    pace_per_s: float = math.inf


class _Lot(msgspec.Struct):
    """What is left of one lease, good from `starts_s` until `ends_s`."""

    starts_s: float
    ends_s: float
    requests: int
    tokens: int


class Purse:
    """What one dispatcher holds of the quota. Calls pay from the lease that ends first.

    `refund` says whether tokens that a call reserved and did not use count as unused at the provider; set it False
    for providers that charge the estimate (OpenAI counts `max_tokens` in full against the limit per minute).
    """

    __slots__ = (
        "_again_at_s",
        "_hold_s",
        "_lots",
        "_nth",
        "_open",
        "_reported",
        "_unused",
        "account",
        "allowance",
        "attempt",
        "refund",
        "refused",
        "shard",
    )

    def __init__(self, shard: int, attempt: int = 0, refund: bool = True, account: int = 0) -> None:
        self.account = account
        self.shard = shard
        self.attempt = attempt
        self.refund = refund
        self.refused = ""
        self.allowance = Allowance(ceiling=NOTHING)
        self._lots: deque[_Lot] = deque()
        self._unused = [0, 0]
        self._reported = NOTHING
        self._nth = 0
        self._open: Want | None = None
        self._again_at_s = 0.0
        self._hold_s = 0.0

    def holds(self, now_s: float, by_s: float | None = None) -> tuple[int, int]:
        """(requests, tokens) that may be used now, or by a time to come."""
        self._expire(now_s)
        by_s = now_s if by_s is None else by_s
        requests = tokens = 0
        for lot in self._lots:
            if lot.starts_s <= by_s:
                requests += lot.requests
                tokens += lot.tokens
        return requests, tokens

    def starts_s(self, now_s: float) -> float:
        """When the next lease that is held and can't be used yet may be; infinite when there is none."""
        return min((lot.starts_s for lot in self._lots if lot.starts_s > now_s), default=math.inf)

    def affords(self, tokens: int, worst: Amount, now_s: float) -> bool:
        """Whether `pay` would."""
        self._expire(now_s)
        lots = self._lots
        if lots and lots[0].requests >= 1 and lots[0].tokens >= tokens and lots[0].starts_s <= now_s:
            return self.allowance.fits(worst)
        requests, held = self.holds(now_s)
        return requests >= 1 and held >= tokens and self.allowance.fits(worst)

    def pay(self, tokens: int, worst: Amount, now_s: float) -> bool:
        """Pay for one call that will take about so many tokens, and reserve its worst case; False: not now.

        After the call, `allowance.settle` (or `release`) its worst case and `returned` its tokens.
        """
        if not self.affords(tokens, worst, now_s):
            return False
        self.take(tokens, worst)
        return True

    def take(self, tokens: int, worst: Amount) -> None:
        """Pay, right after `affords` has said that it can be done."""
        reserved = self.allowance.reserve(worst)
        assert reserved, "affords is asked first"
        lots = self._lots
        first = lots[0]
        if first.requests >= 1 and first.tokens >= tokens:
            first.requests -= 1
            first.tokens -= tokens
        else:
            one = 1
            for lot in lots:
                taken, paid = min(one, lot.requests), min(tokens, lot.tokens)
                lot.requests -= taken
                lot.tokens -= paid
                one, tokens = one - taken, tokens - paid
        while lots and not (lots[0].requests or lots[0].tokens):
            lots.popleft()

    def returned(self, paid_tokens: int, used_tokens: int, sent: bool = True) -> None:
        """A call that paid so many tokens used so many; not `sent` at all gives its request back, too.

        The difference is settled with the next exchange, whichever way it lies: so pay what a call typically takes,
        not its worst case. (What is paid too much can't be used by others until then.)
        """
        if not sent:
            self._unused[0] += 1
            self._unused[1] += paid_tokens
        elif self.refund or used_tokens > paid_tokens:
            self._unused[1] += paid_tokens - used_tokens

    def hold(self, seconds: float) -> None:
        """A server asked to wait this long: tell the quota with the next exchange."""
        self._hold_s = max(self._hold_s, seconds)

    def due(self, now_s: float) -> bool:
        """Whether the next exchange may begin: none is open, and the time that the quota named has come."""
        return self._open is None and now_s >= self._again_at_s

    @property
    def exchanging(self) -> bool:
        """Whether an exchange is open; where its answer is not awaited any more, it is to be tried again."""
        return self._open is not None

    @property
    def again_at_s(self) -> float:
        """When the next exchange may begin."""
        return self._again_at_s

    def want(
        self,
        now_s: float,
        requests: int,
        tokens: int,
        head_tokens: int,
        worst: Amount = NOTHING,
        head_worst: Amount = NOTHING,
    ) -> Want:
        """Begin an exchange for waiting asks: their number, tokens and worst cases, and those of the first of them.

        Name all that wait, or as many as the free permits of a second or two: what gathers centrally until the next
        exchange is for those that are named now. While an exchange is open, the same Want comes again (its answer
        was lost).
        """
        if self._open is not None:
            return self._open
        held_requests, held_tokens = self.holds(now_s, math.inf)
        if requests == 0 or held_requests < 1 or held_tokens < head_tokens:
            # What is held does not even send the first ask: it goes back, so that it is of use to others.
            self._drop(len(self._lots))
            held_requests = held_tokens = 0
        # Money that does not pay for the first ask goes back as well: many such remainders could stop a run.
        unused_money = self.allowance.hand_back(worst if head_worst.fits(self.allowance.room) else NOTHING)
        self._open = Want(
            self.shard,
            self.attempt,
            self._nth,
            max(0, requests - held_requests),
            max(0, tokens - held_tokens),
            head_tokens,
            self._unused[0],
            self._unused[1],
            (worst - self.allowance.room).or_nothing(),
            (head_worst - self.allowance.room).or_nothing(),
            self.allowance.spent - self._reported,
            unused_money,
            self._hold_s,
            self.account,
        )
        self._reported = self.allowance.spent
        self._unused = [0, 0]
        self._hold_s = 0.0
        self._nth += 1
        return self._open

    def receive(self, lease: Lease, now_s: float) -> None:
        """End the exchange with its lease. One that answers another Want is ignored."""
        if self._open is None or lease.nth != self._open.nth:
            return
        self._open = None
        self.refused = lease.refused
        self._again_at_s = now_s + lease.again_s
        self.allowance.borrow(lease.money)
        if lease.requests or lease.tokens:
            starts_s = now_s + lease.starts_in_s
            self._lots.append(_Lot(starts_s, starts_s + lease.lasts_s, lease.requests, lease.tokens))

    def _expire(self, now_s: float) -> None:
        if not self._lots or self._lots[0].ends_s > now_s:
            return
        over = 0
        while over < len(self._lots) and self._lots[over].ends_s <= now_s:
            over += 1
        self._drop(over)

    def _drop(self, lots: int) -> None:
        for _ in range(lots):
            lot = self._lots.popleft()
            self._unused[0] += lot.requests
            self._unused[1] += lot.tokens
