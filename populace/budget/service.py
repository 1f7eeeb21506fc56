"""The run's account with its model's provider: the central quota behind a clock, and the dispatchers' ways to it.

One `AccountService` stands for a run. In one process the shards' gateways reach it through a `LocalLink`; elsewhere it
is hosted where the coordinator is, and they reach it through a `RemoteLink`, which sends packed wants and gets packed
leases back.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from populace.budget.accounts import Account, accounts_of, batch_account
from populace.budget.amounts import NOTHING, UNLIMITED, Allowance, Amount, ceiling
from populace.budget.lease import Lease, Want
from populace.budget.local_share import Buckets
from populace.budget.quota import Limits, Quota
from populace.budget.shares import Register, Terms
from populace.budget.sharing import SharedWith, Sharing
from populace.settings import Settings

_PACK: Final = msgspec.msgpack.Encoder().encode
_WANT: Final = msgspec.msgpack.Decoder(Want)
_STEPS: Final = 64

Mark: TypeAlias = Callable[[Amount], None]
"""Keeps what a run may have spent at most, so that it outlives the process."""

_LEASE: Final = msgspec.msgpack.Decoder(Lease)


class AccountService:
    """The quotas of a run with these settings, one an account (and `batch_account`), on this process's monotonic clock.

    They lend money from one `allowance`, since the ceiling is the run's. `spent` is what the run had spent before: a
    resumed run goes on from there, under the same ceiling. `mark` is told what the run may have spent at most, before
    it may: from that, what a killed process spent is bounded.

    `shared` are the accounts, by their numbers, that separate runs share, each with where they do. Such a service is
    opened before its first exchange, and closed.
    """

    def __init__(
        self,
        settings: Settings,
        spent: Amount = NOTHING,
        mark: Mark | None = None,
        shared: Mapping[int, tuple[Register, Terms]] | None = None,
    ) -> None:
        budget = settings.budget
        self._whole = ceiling(budget.usd, budget.tokens)
        self._mark = mark
        self.allowance = Allowance(self._whole if mark is None else spent.at_most(self._whole), spent)
        self._quotas = [
            Quota(Limits(one.requests_per_minute, one.tokens_per_minute), self.allowance)
            for one in accounts_of(settings)
        ]
        if batch_account(settings) is not None:
            self._quotas.append(Quota(Limits(), self.allowance))
        self._lock = threading.Lock()
        self._sharing: Sharing | None = None
        self._outage_s = settings.endpoint.outage_s
        if shared:
            at = settings.endpoint.share_limits or ""
            parts = [(self._quotas[index], register, terms) for index, (register, terms) in shared.items()]
            self._sharing = Sharing(at, parts, self._lock)

    def open(self) -> None:
        """Join the runs that share its accounts; blocks. Raises StorageError where that cannot be done."""
        if self._sharing is not None:
            self._sharing.open()

    def close(self) -> None:
        """Leave the runs that share its accounts; blocks for a moment. Nothing is leased afterwards."""
        if self._sharing is not None:
            self._sharing.close()

    @property
    def shared_with(self) -> SharedWith | None:
        """Where the limits are shared, and with how many runs; None where they are this run's own."""
        return None if self._sharing is None else self._sharing.shared_with

    def exchange(self, want: Want) -> Lease:
        """One exchange. Raises what `mark` raises, and lends nothing then; IndexError for an account there is not.

        Where accounts are shared, StorageError once that could not be done for `endpoint.outage_s`.
        """
        if self._mark is not None and want.money != NOTHING:
            self._draw(self._mark, want.money + want.spent)
        if self._sharing is None:
            return self._quotas[want.account].handle(want, time.monotonic())
        self._sharing.check(self._outage_s)
        with self._lock:
            now_s = time.monotonic()
            lease = self._quotas[want.account].handle(want, now_s)
            self._sharing.hurry(now_s)
            return lease

    def exchange_packed(self, want: bytes) -> bytes:
        """One exchange in MessagePack. Raises msgspec.ValidationError for what is no want."""
        return _PACK(self.exchange(_WANT.decode(want)))

    def _draw(self, mark: Mark, wanted: Amount) -> None:
        """Raise the allowance's ceiling, up to the run's, so that what is wanted has room; in few steps."""
        allowance, whole = self.allowance, self._whole
        if wanted.fits(allowance.room) or allowance.ceiling == whole:
            return
        step = Amount(_step(whole.tokens, wanted.tokens), _step(whole.pico_usd, wanted.pico_usd))
        raised = (allowance.spent + allowance.held + wanted + step).at_least(allowance.ceiling).at_most(whole)
        mark(raised)
        allowance.ceiling = raised

    @property
    def spent(self) -> Amount:
        """What the run has spent at most: what is out with a shard, or in flight, counts as spent."""
        return self.allowance.spent + self.allowance.held


def _step(whole: int, wanted: int) -> int:
    return whole // _STEPS if whole < UNLIMITED.tokens else _STEPS * wanted


def is_limited(settings: Settings, account: Account) -> bool:
    """Whether requests, tokens or money are limited for an account of the run, so that calls have to be paid for."""
    return account.is_limited or settings.budget.usd is not None or settings.budget.tokens is not None


def account_for(
    settings: Settings,
    spent: Amount = NOTHING,
    mark: Mark | None = None,
    shared: Mapping[int, tuple[Register, Terms]] | None = None,
) -> AccountService | None:
    """The accounts of a run with these settings; None where nothing is limited, so that nobody has to ask."""
    limited = any(is_limited(settings, account) for account in accounts_of(settings))
    return AccountService(settings, spent, mark, shared) if limited else None


class LocalLink:
    """The way to an account in the same process."""

    def __init__(self, account: AccountService) -> None:
        self._account = account

    async def exchange(self, want: Want) -> Lease:
        """One exchange; it never waits."""
        return self._account.exchange(want)


class RemoteLink:
    """The way to an account elsewhere: `call` takes a packed want and gives a packed lease, or raises OSError."""

    def __init__(self, call: Callable[[bytes], Awaitable[bytes]]) -> None:
        self._call = call

    async def exchange(self, want: Want) -> Lease:
        """One exchange."""
        return _LEASE.decode(await self._call(_PACK(want)))


class OwnShare:
    """The link to a share of the limits that nobody else draws on, and to an allowance of money."""

    def __init__(self, requests_per_minute: float, tokens_per_minute: float, allowance: Allowance) -> None:
        self._buckets = Buckets(requests_per_minute, tokens_per_minute, allowance)

    async def exchange(self, want: Want) -> Lease:
        """One exchange; it never waits."""
        return self._buckets.lease(want, asyncio.get_running_loop().time())
