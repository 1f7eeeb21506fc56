"""Owners of one remote folder in simulated time: clocks of other paces, requests that are lost, late or unanswered."""

from __future__ import annotations

import random
from collections.abc import Callable

from populace.core.errors import StorageError
from populace.store.remote.lease import OWNER, Lease, Ticket, Watch
from populace.store.remote.objects import Put

STEP_S = 0.25


class Bucket:
    """One folder of a store that heeds conditions, as S3 does; requests of `requests` meet what befalls them."""

    def __init__(self) -> None:
        self.data: tuple[bytes, str] | None = None
        self.puts = 0

    def put(self, data: bytes, etag: str | None) -> Put:
        if etag != (None if self.data is None else self.data[1]):
            return Put(None)
        self.puts += 1
        self.data = data, f"etag{self.puts}"
        return Put(self.data[1])


class Requests:
    """A process's way to the bucket, in the form of an `ObjectStore`."""

    address = "s3://bucket/run"

    def __init__(self, world: World) -> None:
        self.world = world
        self.perils = False
        self.cut = False

    def find(self, name: str) -> tuple[bytes, str] | None:
        assert name == OWNER
        self._maybe_away()
        return self.world.bucket.data

    def put_if(self, name: str, data: bytes, etag: str | None) -> Put:
        self._maybe_away()
        fate = self.world.rng.random() if self.perils else 1.0
        if fate < 0.15:  # it arrives later, and nobody waits for the answer
            at_s = self.world.now_s + self.world.rng.uniform(0.0, 40.0)
            self.world.late.append((at_s, lambda: self.world.bucket.put(data, etag)))
            raise StorageError("it took too long")
        given = self.world.bucket.put(data, etag)
        if fate < 0.3:
            raise StorageError("the answer was lost")
        return given

    def _maybe_away(self) -> None:
        if self.cut or (self.perils and self.world.rng.random() < 0.1):
            raise StorageError("the store is away")


class World:
    """Time passes in small steps for all; `watched` is called after each."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now_s = 0.0
        self.bucket = Bucket()
        self.late: list[tuple[float, Callable[[], object]]] = []
        self.at_each: list[Callable[[], None]] = []

    def process(self) -> tuple[Requests, Callable[[], float], Callable[[float], None]]:
        """A way to the bucket, a clock of a pace and a beginning of its own, and how it sleeps."""
        pace, began_s = self.rng.uniform(0.98, 1.02), self.rng.uniform(-1e6, 1e6)
        return Requests(self), lambda: began_s + pace * self.now_s, lambda seconds: self.advance(seconds / pace)

    def advance(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s = min(until_s, self.now_s + STEP_S)
            due, self.late = [one for one in self.late if one[0] <= self.now_s], [
                one for one in self.late if one[0] > self.now_s
            ]  # fmt: skip
            for _, arrive in due:
                arrive()
            for act in self.at_each:
                act()


class Owner:
    """A lease that is renewed every third of its time, or sooner where that failed; and one who asks under it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.requests, self.clock, self.sleep = world.process()
        self.lease = Lease(self.requests, clock=self.clock, sleep=self.sleep)  # type: ignore[arg-type]
        self.watch: Watch | None = None
        self._next_s = 0.0
        self._look_s = 0.0

    def begin(self) -> None:
        self.lease.take()
        requests, clock, _ = self.world.process()
        requests.perils = True
        ticket = Ticket(self.requests.address, self.lease.holder)
        self.watch = Watch(ticket, requests, clock=clock)  # type: ignore[arg-type]
        self.watch.look()
        self.world.at_each.append(self._act)

    def _act(self) -> None:
        assert self.watch is not None
        if self.world.now_s >= self._next_s:
            before = self.lease._until_s
            self.lease.renew()
            part = 3.0 if self.lease._until_s > before else 12.0
            self._next_s = self.world.now_s + self.lease.lease_s / part
        if self.world.now_s >= self._look_s:
            self.watch.look()
            self._look_s = self.world.now_s + self.lease.lease_s / 6.0
