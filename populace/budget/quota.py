"""The central quota: one account's limits, leased to many dispatchers for moments at a time.

Each limit (requests, tokens) is a rate. What it yields as time passes is shared out at once among the shards that
want it, equally, and what one does not want goes to the others (max-min fairness by progressive filling; Bertsekas
and Gallager, "Data Networks", 1992, section 6.5.2). A shard's share gathers until its next exchange.
Nothing is leased before it has been yielded, and nobody's idle time is saved up beyond `burst_s` seconds' worth, so
over any time `w` the account sends at most

    rate * (w + 2 * burst_s + lasts_s) + the largest single ask of each waiting shard

and in practice, with everybody asking, `rate * w` and a few. Leases end after `lasts_s`; what was not used goes back
with the next exchange. What a dead shard held counts as used, since nobody can know.

Within a second requests are paced. What is yielded is equal for all, so at a low limit it would be whole for all at one
moment: leases begin one request's time apart at least. And with its lease each shard is told how fast it may use it,
a max-min fair part of the limit by what the shards ask for, what is left over shared equally; a shard whose part is
still in the hands of others waits until they come again. So at every moment the paces add up to the limit at most.

Where separate runs share the account (`populace.budget.shares`), `share` says what part of the rates is this run's
for a while: what is yielded goes by it, and nothing is leased after its end. What had gathered above what the part
allows is let go, so that what all runs have gathered is never more than what one that was alone could have.

Money is lent from the run's `Allowance`, with the ceiling exact (see `populace.budget.amounts`).

Attempts fence: when a shard is rebuilt, its new attempt's first Want ends the old one's holding, and whatever an
older attempt still sends is refused and changes nothing. What the old attempt was lent and had not accounted for
stays booked as spent until `reconcile` says, from the journal, what it really spent.

Pure: time is an argument, in monotonic seconds of one clock.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable
from typing import Final

import msgspec

from populace.budget.amounts import NOTHING, Allowance, Amount
from populace.budget.lease import Lease, Want

_TINY: Final = 1e-9
_AGAIN_SOON_S: Final = 0.02
_AGAIN_PACED_S: Final = 0.02
_ENOUGH: Final = 0.5
"""The part of its fair pace that a shard begins with, sooner than wait for the rest."""


def fair_part(limit: float, asks: float, asking: Iterable[float]) -> float:
    """The max-min fair part of one who asks for `asks`, and an equal part of what nobody asks for.

    `asking` is what all ask for who are to have of the limit, that one among them; one at least.
    """
    wanting = sorted(asking)
    left, level = limit, math.inf
    for nth, one in enumerate(wanting):
        equal = left / (len(wanting) - nth)
        if one > equal:
            left, level = 0.0, equal
            break
        left -= one
    return min(asks, level) + left / len(wanting)


class Limits(msgspec.Struct, frozen=True):
    """An account's limits, and how finely they are leased.

    `again_s` is the time between exchanges of a shard, `lasts_s` how long a lease lasts, `burst_s` how many seconds'
    worth may gather unused, `silent_s` after how long a shard that says nothing gets no share any more.
    Raises ValueError unless all are positive and again_s <= lasts_s, burst_s, silent_s.
    """

    requests_per_minute: float = math.inf
    tokens_per_minute: float = math.inf
    again_s: float = 0.25
    lasts_s: float = 0.5
    burst_s: float = 1.0
    silent_s: float = 2.0

    def __post_init__(self) -> None:
        values = [getattr(self, name) for name in self.__struct_fields__]
        if not all(value > 0.0 for value in values) or not self.again_s <= min(values[3:]):
            raise ValueError(f"quota limits must be positive, and again_s the shortest of the times: {self}")


class _Holder(msgspec.Struct):
    """One attempt of one shard: what it wants, what has gathered for it, what is out."""

    attempt: int
    heard_s: float
    nth: int = -1
    wants: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0])
    heads: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0])
    gathered: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0])
    out: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    demand_per_s: float = 0.0
    pace_per_s: float = 0.0
    paced_until_s: float = -math.inf
    lent: Amount = NOTHING
    last: Lease | None = None


class Quota:
    """The state machine: `handle(want, now_s)` gives the lease. One instance stands for one account at a provider."""

    __slots__ = (
        "_asked_at_s",
        "_asked_leased",
        "_at_s",
        "_caps",
        "_held_until_s",
        "_holders",
        "_pool",
        "_rates",
        "_slots",
        "_until_s",
        "allowance",
        "leased",
        "limits",
    )

    def __init__(self, limits: Limits, allowance: Allowance | None = None) -> None:
        self.limits = limits
        self.allowance = Allowance() if allowance is None else allowance
        self.leased = [0, 0]
        self._set_rates((limits.requests_per_minute / 60.0, limits.tokens_per_minute / 60.0))
        self._until_s = math.inf
        self._pool = [0.0, 0.0]
        self._holders: dict[int, _Holder] = {}
        self._at_s = -math.inf
        self._held_until_s = -math.inf
        self._slots: list[tuple[float, int]] = []
        self._asked_leased, self._asked_at_s = (0, 0), -math.inf

    def handle(self, want: Want, now_s: float) -> Lease:
        """One exchange. Time that runs backwards is an error (ValueError), as is a Want with negative numbers."""
        _check(want)
        holder = self._holders.get(want.shard)
        if holder is not None and want.attempt < holder.attempt:
            return Lease(want.nth, refused="attempt")
        if holder is not None and want.attempt == holder.attempt and want.nth <= holder.nth:
            # Sent again. The latest is answered as before; an older one is a straggler that nobody waits for.
            return holder.last if holder.last is not None and want.nth == holder.nth else Lease(want.nth)
        self.advance(now_s)
        if holder is None or want.attempt > holder.attempt:
            if holder is not None:
                self._bury(holder)
            holder = self._holders[want.shard] = _Holder(want.attempt, now_s)
        holder.nth = want.nth
        holder.heard_s = now_s
        self._take_back(holder, want)
        if want.hold_s > 0.0:
            self._held_until_s = max(self._held_until_s, now_s + want.hold_s)
        holder.wants = [float(want.requests), float(want.tokens)]
        holder.heads = [1.0, float(want.head_tokens)]
        holder.demand_per_s = want.requests / self.limits.again_s
        if not want.requests and not want.head_tokens:  # nothing waits there, and what it held came back
            holder.paced_until_s = -math.inf
            self._slots = [slot for slot in self._slots if slot[1] != want.shard]
        self._share([0.0, 0.0])
        holder.last = self._grant(holder, want, now_s)
        return holder.last

    def advance(self, now_s: float) -> None:
        """Share out what the limits yielded since the last time. Called by `handle`; harmless to call more often."""
        if now_s < self._at_s:
            raise ValueError(f"the quota's clock ran back from {self._at_s} to {now_s}: give it one monotonic clock")
        since = max(self._at_s, self._held_until_s)
        gone = max(0.0, min(now_s, self._until_s) - since) if math.isfinite(since) else 0.0
        self._at_s = now_s
        for holder in self._holders.values():
            if now_s - holder.heard_s > self.limits.silent_s:
                holder.wants = [0.0, 0.0]
                holder.demand_per_s = 0.0
        self._share([rate * gone if math.isfinite(rate) else 0.0 for rate in self._rates])
        if now_s >= self._until_s:
            self._until_s = math.inf
            self._set_rates(tuple(rate if math.isinf(rate) else 0.0 for rate in self._rates))
            self._share([0.0, 0.0])

    def share(self, per_s: tuple[float, float], now_s: float, until_s: float) -> None:
        """From now on these are the rates, of requests and tokens a second, until `until_s`, and then none.

        What is unlimited stays so. What was yielded at the former rates stays, as far as it may gather at these.
        """
        self.advance(now_s)
        self._until_s = until_s
        pairs = zip(self._rates, per_s, strict=True)
        self._set_rates(tuple(rate if math.isinf(rate) else part for rate, part in pairs))
        self.advance(now_s)
        self._share([0.0, 0.0])

    def asked(self, now_s: float) -> tuple[float, float]:
        """How much of requests and tokens a second was leased since this was asked last, and is waited for now."""
        gone_s = max(self.limits.again_s, now_s - self._asked_at_s)
        waits = [math.fsum(holder.wants[kind] for holder in self._holders.values()) for kind in (0, 1)]
        leased = [max(0, self.leased[kind] - self._asked_leased[kind]) for kind in (0, 1)]
        self._asked_leased, self._asked_at_s = (self.leased[0], self.leased[1]), now_s
        return (leased[0] + waits[0]) / gone_s, (leased[1] + waits[1]) / gone_s

    @property
    def rates_per_s(self) -> tuple[float, float]:
        """Requests and tokens a second that the account yields now; infinite where they are not limited."""
        return self._rates[0], self._rates[1]

    @property
    def owed_s(self) -> float:
        """For how many seconds the rates must yield to make up for tokens that calls took beyond what they had paid."""
        return max(
            (-self._pool[kind] / rate for kind, rate in enumerate(self._rates) if self._pool[kind] < 0.0 < rate),
            default=0.0,
        )

    @property
    def is_short(self) -> bool:
        """Whether somebody waits for more than has been yielded."""
        return any(
            holder.wants[kind] > 0.0
            for holder in self._holders.values()
            for kind, rate in enumerate(self._rates)
            if math.isfinite(rate)
        )

    def _set_rates(self, rates: tuple[float, ...]) -> None:
        self._rates = rates
        self._caps = tuple(rate * self.limits.burst_s for rate in rates)

    def leave(self, shard: int, attempt: int) -> None:
        """A shard's attempt is known to be dead: give its share to the others at once, and fence it."""
        holder = self._holders.get(shard)
        if holder is not None and holder.attempt == attempt:
            self._bury(holder)
            self._holders[shard] = _Holder(attempt + 1, -math.inf)

    def _share(self, yielded: list[float]) -> None:
        """Fill the wanting holders from what was yielded, the pool, and what others no longer want.

        The pool is below 0 while calls took more tokens than they had paid; nobody gets any until that is made up.
        """
        holders = list(self._holders.values())
        for kind in (0, 1):
            wanting = sum(holder.wants[kind] > 0.0 for holder in holders)
            stock = self._pool[kind] + yielded[kind]
            gaps: list[tuple[float, _Holder]] = []
            for holder in holders:
                cap = max(self._caps[kind] / max(1, wanting), holder.heads[kind])
                target = min(holder.wants[kind], cap)
                gap = target - holder.gathered[kind]
                if gap < 0.0:
                    stock -= gap
                    holder.gathered[kind] = target
                elif gap > 0.0:
                    gaps.append((gap, holder))
            gaps.sort(key=lambda pair: pair[0])
            for nth, (gap, holder) in enumerate(gaps):
                given = max(0.0, min(gap, stock / (len(gaps) - nth)))
                holder.gathered[kind] += given
                stock -= given
            self._pool[kind] = min(stock, self._caps[kind])

    def _pace(self, holder: _Holder, now_s: float) -> float:
        """How many requests a second this shard may send until it comes again; 0.0 when others still hold its part."""
        rate = self._rates[0]
        if math.isinf(rate):
            return rate
        others = [one for one in self._holders.values() if one is not holder]
        free = rate - math.fsum(one.pace_per_s for one in others if one.paced_until_s > now_s)
        wanting = [one.demand_per_s for one in (*others, holder) if one.demand_per_s > 0.0]
        fair = fair_part(rate, holder.demand_per_s, wanting)
        return 0.0 if free < _ENOUGH * min(fair, holder.demand_per_s) else min(free, fair)

    def _grant(self, holder: _Holder, want: Want, now_s: float) -> Lease:
        limits = self.limits
        amounts = [0, 0]
        pace_per_s = self._pace(holder, now_s) if want.requests else 0.0
        ready = now_s >= self._held_until_s and pace_per_s > 0.0
        for kind, rate in enumerate(self._rates):
            wanted, head = holder.wants[kind], holder.heads[kind]
            have = wanted if math.isinf(rate) else holder.gathered[kind] + _TINY
            ready = ready and rate > 0.0 and have >= min(head, wanted)
            amounts[kind] = int(min(have, wanted))
        if math.isfinite(pace_per_s):
            amounts[0] = min(amounts[0], max(1, math.ceil(pace_per_s * limits.lasts_s)))
        if want.requests == 0 or not ready:
            amounts = [0, 0]
        money = NOTHING
        refused = ""
        if want.money != NOTHING:
            money = self.allowance.lend(want.money, want.least_money)
            if money == NOTHING and want.least_money != NOTHING:
                refused = "held" if self.allowance.could_fit_later(want.least_money) else "budget"
                amounts = [0, 0]
        holder.lent += money
        for kind, amount in enumerate(amounts):
            if amount and math.isfinite(self._rates[kind]):
                holder.gathered[kind] = max(0.0, holder.gathered[kind] - amount)
            holder.wants[kind] -= amount
            holder.out[kind] += amount
            self.leased[kind] += amount
        # Money does not gather with time: it comes back with the next calls that end. And who got all that it wanted
        # is short of nothing: it need not wait with what it wants next.
        moneyed = refused == "held" or not any(map(math.isfinite, self._rates))
        plenty = amounts[0] >= want.requests and amounts[1] >= want.tokens
        again_s = min(limits.again_s, _AGAIN_SOON_S) if moneyed or plenty else limits.again_s
        again_s = max(again_s, self._held_until_s - now_s)
        starts_in_s = self._begin(holder, want.shard, now_s, pace_per_s) if amounts[0] else 0.0
        if want.requests and pace_per_s == 0.0:
            again_s = max(min(again_s, _AGAIN_PACED_S), self._held_until_s - now_s)
        pace_per_s = pace_per_s or math.inf
        return Lease(want.nth, amounts[0], amounts[1], money, limits.lasts_s, again_s, refused, starts_in_s, pace_per_s)

    def _begin(self, holder: _Holder, shard: int, now_s: float, pace_per_s: float) -> float:
        """A lease of requests begins: in how many seconds it may be used, one request's time from all others."""
        if math.isinf(pace_per_s):
            return 0.0
        apart_s, starts_s = 1.0 / self._rates[0], now_s
        self._slots = [slot for slot in self._slots if slot[0] > now_s - apart_s]
        for slot_s, _ in self._slots:
            if slot_s - starts_s >= apart_s:
                break
            starts_s = max(starts_s, slot_s + apart_s)
        insort(self._slots, (starts_s, shard))
        holder.pace_per_s, holder.paced_until_s = pace_per_s, starts_s + self.limits.lasts_s
        return starts_s - now_s

    def _take_back(self, holder: _Holder, want: Want) -> None:
        for kind, unused in enumerate((want.unused_requests, want.unused_tokens)):
            # Never more than is out: a shard cannot make quota of nothing.
            taken = min(unused, holder.out[kind])
            holder.out[kind] -= taken
            self._pool[kind] += taken
            self.leased[kind] -= taken
        holder.lent = self.allowance.take_back(holder.lent, want.spent, want.unused_money)

    def _bury(self, holder: _Holder) -> None:
        for kind in (0, 1):
            self._pool[kind] += holder.gathered[kind]
        if holder.lent != NOTHING:
            self.allowance.take_back(holder.lent, holder.lent, NOTHING)


def _check(want: Want) -> None:
    numbers = (want.nth, want.requests, want.tokens, want.head_tokens, want.unused_requests)
    if min(numbers) < 0 or not 0.0 <= want.hold_s < math.inf:
        raise ValueError(f"a want must have no negative and only finite numbers: {want}")
