"""One owner of a run's folder in an object store at a time, by a lease on it. Shell: object stores, threads, clocks.

The object `owner.json` says who the owner is and for how many seconds its word holds; the owner renews it all the
time, each time by another number. Who wants the folder and finds an owner watches: a number that changes means that the
owner lives, one that stays for all of the lease means that it has run out. The owner itself counts from before it
renewed, and where it cannot renew in time it asks no model from then on: whoever takes over has counted from later. So
nobody's time of day matters, and nobody's clock is compared with another's; clocks must go at about the same pace
(`_SLACK`), also while their machine sleeps.

Renewing and taking over are conditional puts (If-Match, If-None-Match), of which a store lets one through. One that
heeds no conditions is found out; there whoever takes over waits for a lease's time, and looks whether it has got it.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec

from populace.core.errors import StorageError
from populace.models.protocol import Fence
from populace.store.remote.objects import ObjectStore

OWNER: Final = "owner.json"
LEASE_S: Final = 60.0
_SLACK: Final = 1.05
"""How much longer than a lease whoever takes over waits: clocks do not go at quite the same pace."""
_RENEWALS: Final = 3
_LOOKS: Final = 6
_LONGEST_LOOK_S: Final = 1.0
_LEAST_WAIT_S: Final = 0.2
_ENDING_S: Final = 5.0
"""How long a renewal that is under way may hold up the end."""
_WHO: Final = 200
_NOBODYS: Final = "0" * 32


def clock_s() -> float:
    """Seconds on a clock that goes on while the machine sleeps, where there is one."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class Claim(msgspec.Struct, frozen=True):
    """What `owner.json` holds: who (a nonce, and words for people), which renewal it is, for how long it is good.

    `alone`: all that asks is in the owner's own process, so that none of it outlives that.
    """

    holder: str
    who: str
    beat: int
    lease_s: float
    alone: bool = False
    released: bool = False


class Ticket(msgspec.Struct, frozen=True):
    """What a job says of the lease under which it may ask."""

    remote: str
    holder: str


class Lease:
    """The lease on a remote folder that is this process's. Any thread may call."""

    def __init__(
        self,
        store: ObjectStore,
        *,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.store = store
        self.holder = os.urandom(8).hex()
        self.lease_s = LEASE_S
        self.lost: str = ""
        """Who has the folder now, where another took it over."""
        self.trouble = ""
        """Why it could not be renewed the last time."""
        self._alone = False
        self._clock = clock_s if clock is None else clock
        self._sleep = sleep
        self._mutex = threading.RLock()
        self._etag: str | None = None
        self._heeds = True
        self._beat = 0
        self._until_s = float("-inf")
        self._wake = threading.Event()
        self._ended = False
        self._thread: threading.Thread | None = None

    def holds(self) -> bool:
        """Whether nobody else can have taken over yet."""
        return self._clock() < self._until_s

    @property
    def ticket(self) -> Ticket:
        """For processes that ask under this lease."""
        return Ticket(self.store.address, self.holder)

    def take(self, dead: str = "", say: Callable[[str], None] = lambda _: None) -> None:
        """Take the folder, once its owner has released it or its lease has run out; `dead` is one known to be gone.

        Raises StorageError where an owner is at work, naming it.
        """
        watched: Claim | None = None
        since_s = 0.0
        while True:
            found, etag = self._read()
            if (
                found is None
                or found.released
                or (found.alone and found.holder == dead)
                or (found == watched and self._clock() - since_s >= _SLACK * found.lease_s)
            ):
                if self._claim(etag):
                    _OWNED[self.holder] = self
                    return
                watched = None
                continue
            if watched is None:
                watched, since_s = found, self._clock()
                say(f"{self.store.address}: {found.who} was at work in it; whether it is shows in {found.lease_s:g} s")
            elif found != watched:
                raise self._another(found)
            self._sleep(min(_LONGEST_LOOK_S, found.lease_s / _LOOKS))

    def keep_to(self, lease_s: float, *, alone: bool) -> None:
        """From now on, be good for so long, and renew in a thread. Raises StorageError where that is refused."""
        with self._mutex:
            self.lease_s, self._alone = lease_s, alone
            # Whoever sees the new time counts by it, also where its answer does not come back here.
            self._until_s = min(self._until_s, self._clock() + lease_s)
        self.renew()
        if self.lost:
            raise StorageError(self.lost)
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="populace lease", daemon=True)
            self._thread.start()

    def renew(self) -> bool:
        """Renew it now; whether it holds. `lost` says who has taken over, `trouble` what else was in the way."""
        with self._mutex:
            try:
                if not self._renew() and not self.lost:
                    self._renew()  # an answer was lost before, and this is by what stands there now
            except StorageError as error:
                self.trouble = str(error)
            return self.holds()

    def check(self) -> None:
        """Raise StorageError unless it holds: what is put there now may be another's."""
        if not self.holds() and not self.renew():
            raise StorageError(self.lost or f"the lease of {self.store.address} cannot be renewed: {self.trouble}")

    def release(self) -> None:
        """Give the folder to whoever comes next."""
        self._ended = True
        self._wake.set()
        _OWNED.pop(self.holder, None)
        if not self._mutex.acquire(timeout=_ENDING_S):
            return  # a store that does not answer: it runs out by itself
        try:
            if self.holds():
                self._until_s = float("-inf")
                self._put(self._mine(released=True), self._etag)
        except StorageError as error:
            self.trouble = str(error)
        finally:
            self._mutex.release()

    def _keep(self) -> None:
        wait_s = self.lease_s / _RENEWALS
        while not self._wake.wait(max(_LEAST_WAIT_S, wait_s)):
            before_s = self._until_s
            self.renew()
            if self.lost:
                return
            wait_s = self.lease_s / (_RENEWALS if self._until_s > before_s else 4 * _RENEWALS)

    def _mine(self, *, released: bool = False) -> Claim:
        who = f"process {os.getpid()} on {socket.gethostname()}"
        return Claim(self.holder, who, self._beat, self.lease_s, self._alone, released)

    def _claim(self, etag: str | None) -> bool:
        began_s = self._clock()
        put = self._put(self._mine(), etag)
        if put is None:
            found, etag = self._read()
            if found is None or found.holder != self.holder:
                return False
            put = etag
        elif self._heeds and self._put(self._mine(), _NOBODYS) is not None:
            self._heeds = False
        if not self._heeds:
            self._sleep(_SLACK * self.lease_s)
            found, put = self._read()
            if found is None or found.holder != self.holder:
                raise self._another(found)
            began_s = self._clock()
            self._beat += 1
            put = self._put(self._mine(), put)
        self._etag, self._until_s = put, began_s + self.lease_s
        return True

    def _renew(self) -> bool:
        """One try; False where something else stands there than what was put last, which is looked at."""
        if self.lost or self._ended:
            return False
        if not self._heeds and not self._look():
            return False
        began_s = self._clock()
        self._beat += 1
        put = self._put(self._mine(), self._etag)
        if put is None:
            self._look()
            return False
        self._etag, self._until_s, self.trouble = put, began_s + self.lease_s, ""
        return True

    def _look(self) -> bool:
        found, etag = self._read()
        if found is None or found.holder == self.holder:  # none: it was deleted, and nobody takes over in this way
            self._etag = etag
            return True
        self.lost = str(self._another(found))
        self._until_s = float("-inf")
        return False

    def _another(self, claim: Claim | None) -> StorageError:
        if claim is not None and claim.released:
            return StorageError(f"{self.store.address}: {claim.who} has gone on with the run meanwhile, and has ended.")
        who = "somebody else" if claim is None else claim.who
        return StorageError(
            f"{self.store.address}: {who} is at work in it, and only one may be. Wait for it or end it, then resume."
        )

    def _read(self) -> tuple[Claim | None, str | None]:
        return read_claim(self.store)

    def _put(self, claim: Claim, etag: str | None) -> str | None:
        put = self.store.put_if(OWNER, msgspec.json.encode(claim), etag)
        self._heeds = self._heeds and put.heeded
        return put.etag


class Watch:
    """Another process's lease, as one sees it that asks under it: good from a renewal on that was seen to be new."""

    def __init__(self, ticket: Ticket, store: ObjectStore, *, clock: Callable[[], float] | None = None) -> None:
        self.lost = False
        self._ticket = ticket
        self._store = store
        self._clock = clock_s if clock is None else clock
        self._until_s = float("-inf")
        self._last: Claim | None = None
        self._seen_s = 0.0

    def holds(self) -> bool:
        """Whether nobody else can have taken over yet."""
        return not self.lost and self._clock() < self._until_s

    def look(self) -> None:
        """Look at it once; a store that is away is looked at again the next time."""
        began_s = self._clock()
        try:
            found, _ = read_claim(self._store)
        except StorageError:
            return
        if found is None or found.holder != self._ticket.holder or found.released:
            self.lost = True
            return
        if self._last is not None and found.beat != self._last.beat:
            self._until_s = self._seen_s + found.lease_s  # when the one before still stood there, this was to come
        self._last, self._seen_s = found, began_s

    def keep(self) -> None:
        """Look for as long as it is not lost; begins a thread."""
        self.look()
        threading.Thread(target=self._keep, name="populace lease", daemon=True).start()

    def _keep(self) -> None:
        while not self.lost:
            lease_s = LEASE_S if self._last is None else self._last.lease_s
            time.sleep(lease_s / _LOOKS if self.holds() else min(_LONGEST_LOOK_S, lease_s / _LOOKS))
            self.look()


_OWNED: Final[dict[str, Lease]] = {}
_WATCHED: Final[dict[str, Watch]] = {}


def fence_of(ticket: Ticket | None) -> Fence | None:
    """Whether this process may ask under a job's lease; None where there is none, so that it may."""
    if ticket is None:
        return None
    if ticket.holder in _OWNED:
        return _OWNED[ticket.holder].holds
    if ticket.holder not in _WATCHED:
        watch = _WATCHED[ticket.holder] = Watch(ticket, lease_store(ticket.remote))
        watch.keep()
    return _WATCHED[ticket.holder].holds


def lease_store(remote: str) -> ObjectStore:
    """The store of a lease: what fails is not tried again there but by the lease, in time."""
    store = ObjectStore(remote)
    store.patience_s = 0.0
    return store


def read_claim(store: ObjectStore) -> tuple[Claim | None, str | None]:
    """Who owns a remote folder, and the ETag by which to take it over. Raises StorageError."""
    found = store.find(OWNER)
    if found is None:
        return None, None
    data, etag = found
    try:
        claim = msgspec.json.decode(data, type=Claim)
        return msgspec.structs.replace(claim, who="".join(filter(str.isprintable, claim.who))[:_WHO]), etag
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise StorageError(f"{store.address}/{OWNER}: is not what populace puts there. Remove that object.") from None
