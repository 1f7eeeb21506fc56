"""Holds a run's part of the accounts that it shares with other runs: a thread that renews it. Shell: clock, thread.

See `populace.budget.shares`. The thread does what may block (files, a store, a cluster), so an exchange never waits for
it. While what is shared can't be reached, the run goes on by what it holds, and then sends nothing more until it can.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from populace.budget.quota import Quota
from populace.budget.shares import Rates, Register, Share, Terms
from populace.core.errors import StorageError

_TRIES: Final = 30
"""How often a write is tried that others are before with."""
_PAUSE_S: Final = 0.01
"""How long to wait, about, after the first of these; a little longer after each."""
_OPENING_S: Final = 20.0
"""How long a run that begins waits for what is busy."""
_CLOSING_S: Final = 2.0


class Busy(StorageError):
    """Somebody else is at it, or it has just begun anew: it will be free soon."""


class SharedWith(msgspec.Struct, frozen=True):
    """Where a run shared its limits, and the most runs that did so at once, itself among them.

    `apart` is how many runs named other limits for the same account, so that they were not counted in.
    """

    at: str
    runs: int = 1
    apart: int = 0


class _Account:
    def __init__(self, quota: Quota, register: Register, terms: Terms) -> None:
        limits = tuple(0.0 if rate == float("inf") else rate for rate in quota.rates_per_s)
        self.quota = quota
        self.register = register
        self.share = Share(secrets.token_hex(8), (limits[0], limits[1]), terms)
        self.renewed_s = 0.0
        self.next_s = 0.0
        self.failing_since_s: float | None = None
        self.failure: StorageError | None = None


class Sharing:
    """The shared accounts of one run: `quotas` with their registers, on this process's monotonic clock.

    `lock` is held while a quota is used. A quota yields nothing before `open`.
    """

    def __init__(self, at: str, shared: Sequence[tuple[Quota, Register, Terms]], lock: threading.Lock) -> None:
        self.at = at
        self._lock = lock
        self._accounts = [_Account(quota, register, terms) for quota, register, terms in shared]
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._left = False
        for one in self._accounts:
            one.quota.share((0.0, 0.0), time.monotonic(), float("inf"))

    def open(self) -> None:
        """Join the others; blocks. Raises StorageError where that cannot be done."""
        for one in self._accounts:
            until_s = time.monotonic() + _OPENING_S
            while True:
                try:
                    self._renew(one, one.share.limits)
                    break
                except Busy:
                    if time.monotonic() > until_s:
                        raise
                    time.sleep(10 * _PAUSE_S)
        self._thread = threading.Thread(target=self._run, name="populace shared limits", daemon=True)
        self._thread.start()

    def hurry(self, now_s: float) -> None:
        """Somebody waits: see soon whether there is more to have. Called with the lock held."""
        for one in self._accounts:
            soon_s = one.renewed_s + 0.5 * one.share.terms.again_s
            if one.next_s > max(now_s, soon_s) and one.quota.is_short and not one.share.asks_all:
                one.next_s = max(now_s, soon_s)
                self._wake.set()

    def check(self, outage_s: float) -> None:
        """Raise StorageError where an account could not be reached for so long."""
        for one in self._accounts:
            since_s = one.failing_since_s
            if since_s is not None and one.failure is not None and time.monotonic() - since_s > outage_s:
                raise one.failure

    @property
    def shared_with(self) -> SharedWith:
        """How many runs there were."""
        shares = [one.share for one in self._accounts]
        return SharedWith(self.at, max(one.most for one in shares), max(one.others for one in shares))

    def close(self) -> None:
        """Leave: others may have this run's part at once. What can't be told them ends by itself."""
        if self._left:
            return
        self._left = True
        self._ended.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_CLOSING_S)
        for one in self._accounts:
            with self._lock:
                owes = one.quota.owed_s > 0.0
                one.quota.share((0.0, 0.0), time.monotonic(), float("inf"))
            if not owes:  # else its part makes up for that until it ends
                with contextlib.suppress(StorageError):
                    self._leave(one)

    def _run(self) -> None:
        while not self._ended.is_set():
            now_s = time.monotonic()
            for one in self._accounts:
                if one.next_s <= now_s and not self._ended.is_set():
                    self._renew_if_possible(one)
            self._wake.wait(max(0.0, min(one.next_s for one in self._accounts) - time.monotonic()))
            self._wake.clear()

    def _renew_if_possible(self, one: _Account) -> None:
        try:
            with self._lock:
                wants = one.quota.asked(time.monotonic())
            self._renew(one, wants)
        except Exception as error:  # noqa: BLE001 - else the run would lease nothing more, and not say why
            told = error if isinstance(error, StorageError) else StorageError(f"{one.register.place}: {error!r}")
            one.failing_since_s = one.failing_since_s or time.monotonic()
            one.failure = told
            one.next_s = time.monotonic() + 0.5 * one.share.terms.again_s
        else:
            one.failing_since_s = one.failure = None

    def _renew(self, one: _Account, wants: Rates) -> None:
        for nth in range(_TRIES):
            text, mark = one.register.read()
            with _placed(one):
                plan = one.share.plan(text, wants, time.monotonic())
            with self._lock:
                one.quota.share(plan.meanwhile, time.monotonic(), one.share.until_s)
            sent_s = time.monotonic()
            if one.register.write(plan.text, mark):
                with self._lock:
                    until_s = one.share.wrote(plan, sent_s)
                    one.quota.share(plan.then, time.monotonic(), until_s)
                    one.renewed_s = time.monotonic()
                    one.next_s = one.renewed_s + one.share.again_s
                return
            _pause(nth)
        raise Busy(f"{one.register.place}: others always wrote first. See how many runs share it.")

    def _leave(self, one: _Account) -> None:
        for nth in range(_TRIES):
            text, mark = one.register.read()
            with _placed(one):
                written = one.share.left(text, time.monotonic())
            if one.register.write(written, mark):
                return
            _pause(nth)


def _pause(nth: int) -> None:
    time.sleep(_PAUSE_S * (1 + nth) * random.uniform(0.5, 1.0))  # noqa: S311  # so that runs do not meet again


@contextlib.contextmanager
def _placed(one: _Account) -> Iterator[None]:
    """An error of the text names its place."""
    try:
        yield
    except ValueError as error:
        raise StorageError(
            f"{one.register.place}: {error}. Use one version of populace for all runs on an account; or remove it "
            "while no run is at work."
        ) from None
