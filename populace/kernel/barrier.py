"""The barrier: opens ticks, waits for every shard and then for the world, and chains the trace. No I/O.

What shards send to one another passes through as parcels that the barrier does not open: frames in one process,
references to what Ray keeps on a cluster.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.draws import WORLD
from populace.core.errors import ConservationError
from populace.core.records import Counts
from populace.core.trace import NO_WORLD_HASHES, Trace, WorldHashes, WorldTrace
from populace.kernel.bus import Envelope

MOST_TICKS: Final = 2**31 - 1
"""How many ticks a run has that nothing but its interactions ends."""
_SPARE: Final = 2
"""By how many times a tick may have more interactions than the busiest before it, for a run that they end."""


class Begin(msgspec.Struct, frozen=True):
    """Event: the run begins."""


class ShardDone(msgspec.Struct, frozen=True):
    """Event: a shard's turns of a tick have ended. `parcels` go to a shard's index, or to the world at -1.

    `sent` says how many messages they hold for each destination. `sums` has, by columnar type, how many turns there
    were, and their digest.
    """

    shard: int
    attempt: int
    tick: int
    agents: NDArray[np.int32]
    digests: bytes
    counts: Counts
    parcels: list[tuple[int, Any]]
    sent: dict[int, int] = {}
    sums: dict[str, tuple[int, bytes]] = {}


class WorldClosed(msgspec.Struct, frozen=True):
    """Event: the world has taken the tick's actions. `parcels` are what it sent, by shard; `sent` how many messages.

    `parts` digests the state of each part, by name; it is empty where the world's state is not in the trace. `edge` is
    what every shard is told of the edge after the tick (`kernel.edge`).
    """

    tick: int
    digest: bytes
    counts: Counts
    parcels: list[tuple[int, Any]]
    sent: dict[int, int] = {}
    attempt: int = 0
    parts: dict[str, bytes] = {}
    edge: bytes = b""


class ShardEnded(msgspec.Struct, frozen=True):
    """Event: a shard has closed its books."""

    shard: int
    counts: Counts
    attempt: int = 0


class Abandon(msgspec.Struct, frozen=True):
    """Event: end the run now; the tick that is open is not committed, and what was sent before it expires."""


Event: TypeAlias = Begin | ShardDone | WorldClosed | ShardEnded | Abandon


class Open(msgspec.Struct, frozen=True):
    """Effect: open a tick on a shard and hand it what was sent to it."""

    shard: int
    tick: int
    envelope: Envelope


class Resolve(msgspec.Struct, frozen=True):
    """Effect: hand the world the tick's reports and actions, let it end the tick."""

    tick: int
    envelope: Envelope


class TickClosed(msgspec.Struct, frozen=True):
    """Effect: a tick is committed; `counts` are the tick's, `trace` the run's hash up to here."""

    tick: int
    counts: Counts
    trace: str


class End(msgspec.Struct, frozen=True):
    """Effect: no tick follows; hand the shard what nobody will read. Ticks before `tick` are committed."""

    shard: int
    envelope: Envelope
    tick: int = 0


class Finished(msgspec.Struct, frozen=True):
    """Effect: the run is over; `counts` are what the books' closing added."""

    counts: Counts


Effect: TypeAlias = Open | Resolve | TickClosed | End | Finished


class Barrier:
    """Closes ticks `first` to `ticks - 1` over `shards` shards. `total` counts the run so far.

    With `until` it ends before that, at the first edge of a tick at which so many interactions have been counted
    (`Counts.interactions`): an edge's count is the same in every attempt, so the end is, too.

    `abandoned` is what of it shards were billed for a tick that is not committed.

    `attempts`, by shard, and `world_attempt` number the attempts: an event of another than the present one is not
    heard, and each effect says which it is meant for. Frames carry their source's attempt, and a receiver takes those
    of its own only: after a loss, all go on with one new number.
    """

    def __init__(self, shards: int, ticks: int, first: int = 0, attempt: int = 0, *, until: int | None = None) -> None:
        self.shards = shards
        self.ticks = ticks
        self.until = until
        self.tick = first
        self.attempts = [attempt] * shards
        self.world_attempt = attempt
        self.trace = Trace()
        self.world_trace = WorldTrace()
        self.total = Counts()
        self.abandoned = Counts()
        self.begun = False
        self.ended = False
        self._done: dict[int, ShardDone] = {}
        self._mail: dict[int, list[Any]] = {}
        self._expected: dict[int, dict[int, int]] = {}
        self._routed: dict[int, list[Any]] = {}
        self._counted: dict[int, dict[int, int]] = {}
        self._ends: dict[int, ShardEnded] = {}
        self._busiest = 0
        """The most interactions that a tick has had, as far as this attempt knows."""
        self.edge = b""
        """What shards have yet to be told of the edge before `tick`."""

    def restore(
        self,
        hashes: list[str],
        total: Counts,
        mail: dict[int, list[Any]],
        waiting: dict[int, int],
        world: WorldHashes = NO_WORLD_HASHES,
        edge: bytes = b"",
    ) -> None:
        """Take what was counted up to tick `first`, and the parcels with so many messages that wait for each shard."""
        assert not self.begun
        assert len(hashes) == self.tick
        self.trace = Trace(hashes)
        self.world_trace = WorldTrace(world)
        self.total.add(total)
        self._busiest = -(-total.interactions // self.tick) if self.tick else 0
        self._mail = mail
        self.edge = edge
        self._expected = {shard: {WORLD: n} for shard, n in waiting.items()}

    @property
    def mail(self) -> dict[int, list[Any]]:
        """The parcels that wait for each shard, between two ticks."""
        return self._mail

    @property
    def planned(self) -> int:
        """How many ticks the run is to have; where interactions end it, what it comes to at their pace; 0: unknown."""
        count = self.total.interactions
        if self.until is None:
            return self.ticks
        if not count:
            return self.ticks if self.ticks < MOST_TICKS else 0
        return min(self.ticks, max(self.tick, -(-self.until * self.tick // count)))

    @property
    def all_ended(self) -> bool:
        """Whether every shard has closed its books."""
        return len(self._ends) == self.shards

    def handle(self, event: Event) -> list[Effect]:
        """Take an event, give the effects that follow from it. A late or doubled event changes nothing."""
        match event:
            case Begin() if not self.begun:
                self.begun = True
                return self._open_or_end()
            case ShardDone():
                return self._shard_done(event)
            case WorldClosed():
                return self._world_closed(event)
            case ShardEnded():
                return self._shard_ended(event)
            case Abandon() if not self.ended:
                self._done, self._routed, self._counted = {}, {}, {}
                self.begun = self.ended = True
                return self._end()
        return []

    def _open_or_end(self) -> list[Effect]:
        self.ended = self.tick == self.ticks or (self.until is not None and self.total.interactions >= self.until)
        if self.ended:
            return self._end()
        return [Open(shard, self.tick, self._envelope(shard)) for shard in range(self.shards)]

    def _end(self) -> list[Effect]:
        return [End(shard, self._envelope(shard), self.tick) for shard in range(self.shards)]

    def _envelope(self, shard: int) -> Envelope:
        """What waits for a shard."""
        mail, expected = self._mail.get(shard, []), self._expected.get(shard, {})
        return Envelope(mail, expected, self.attempts[shard], self.edge, self._last_to_come())

    def _last_to_come(self) -> int | None:
        """The last tick that is sure to come unless interactions come twice as fast as in the busiest tick so far.

        It is no farther away than there were ticks to judge by: societies begin with little to deliver. Turns that
        begin early keep to it where interactions end the run: what they ask after its last tick is paid for and leaves
        no trace. None where nothing but the number of ticks ends the run.
        """
        if self.until is None:
            return None
        left = self.until - self.total.interactions - 1
        return self.tick + (min(self.tick, left // (_SPARE * self._busiest)) if self._busiest else 0)

    def _shard_done(self, event: ShardDone) -> list[Effect]:
        late = event.tick != self.tick or event.attempt != self.attempts[event.shard]
        if self.ended or late or event.shard in self._done:
            return []
        self._done[event.shard] = event
        if len(self._done) < self.shards:
            return []
        self._routed, self._counted = self._route(), self._count()
        envelope = Envelope(self._routed.pop(WORLD), self._counted.pop(WORLD), self.world_attempt)
        return [Resolve(self.tick, envelope)]

    def _route(self) -> dict[int, list[Any]]:
        """The tick's parcels by destination, each in the order of the shards they come from."""
        routed: dict[int, list[Any]] = {destination: [] for destination in (WORLD, *range(self.shards))}
        for shard in range(self.shards):
            for target, parcel in self._done[shard].parcels:
                routed[target].append(parcel)
        return routed

    def _count(self) -> dict[int, dict[int, int]]:
        """How many messages each shard sent to each destination in the tick, those that sent any."""
        counted: dict[int, dict[int, int]] = {destination: {} for destination in (WORLD, *range(self.shards))}
        for shard in range(self.shards):
            for target, n in self._done[shard].sent.items():
                if n:
                    counted[target][shard] = n
        return counted

    def _world_closed(self, event: WorldClosed) -> list[Effect]:
        late = event.tick != self.tick or event.attempt != self.world_attempt
        if self.ended or late or len(self._done) < self.shards:
            return []
        self._mail, self._routed = self._routed, {}
        self._expected, self._counted = self._counted, {}
        for shard, n in event.sent.items():
            if n:
                self._expected[shard][WORLD] = n
        for target, parcel in event.parcels:
            self._mail[target].append(parcel)
        self.edge = event.edge
        counts = Counts()
        for done in self._done.values():
            counts.add(done.counts)
        counts.add(event.counts)
        self.total.add(counts)
        self._busiest = max(self._busiest, counts.interactions)
        turns = [(done.agents, done.digests) for done in self._done.values()]
        sums = [done.sums for done in self._done.values()]
        closed = TickClosed(self.tick, counts, self.trace.commit(self.tick, turns, event.digest, sums))
        if event.parts:
            self.world_trace.commit(self.tick, event.parts)
        self._done = {}
        self.tick += 1
        return [closed, *self._open_or_end()]

    def _shard_ended(self, event: ShardEnded) -> list[Effect]:
        if not self.ended or event.shard in self._ends or event.attempt != self.attempts[event.shard]:
            return []
        self._ends[event.shard] = event
        if len(self._ends) < self.shards:
            return []
        counts = Counts()
        for end in self._ends.values():
            counts.add(end.counts)
        self.total.add(counts)
        self.abandoned.add(counts.spend())
        wrong = self.total.imbalance()
        if wrong:
            raise ConservationError("the books do not balance: " + "; ".join(wrong))
        return [Finished(counts)]

    def validate(self) -> None:
        """Raise AssertionError where the barrier's state contradicts itself."""
        assert 0 <= self.tick <= self.ticks
        assert len(self._done) <= self.shards
        assert all(done.tick == self.tick for done in self._done.values())
        if self.ended:
            assert not self._done, "a shard is at work after the end"
