"""The barrier: late and doubled events change nothing, former lives are fenced off, and the books must balance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.core.draws import WORLD
from populace.core.errors import ConservationError
from populace.core.records import Counts
from populace.core.trace import DIGEST_BYTES, Trace
from populace.kernel.barrier import (
    Abandon,
    Barrier,
    Begin,
    Effect,
    End,
    Event,
    Finished,
    Open,
    Resolve,
    ShardDone,
    ShardEnded,
    TickClosed,
    WorldClosed,
)
from populace.kernel.bus import Envelope

AGENTS = 12


def digest(agent: int, tick: int) -> bytes:
    return bytes([agent, tick] * (DIGEST_BYTES // 2))


def shard_done(shard: int, tick: int, shards: int, attempt: int = 0, **counts: Any) -> ShardDone:
    agents = np.arange(shard, AGENTS, shards, dtype=np.int32)
    digests = b"".join(digest(agent, tick) for agent in agents.tolist())
    parcels = [(to, f"{tick}: {shard} to {to}") for to in (WORLD, *range(shards))]
    return ShardDone(shard, attempt, tick, agents, digests, Counts(turns=len(agents), **counts), parcels)


def world_closed(tick: int, **counts: Any) -> WorldClosed:
    return WorldClosed(tick, bytes([tick]) * DIGEST_BYTES, Counts(**counts), [(0, f"{tick}: world to 0")])


def handle(barrier: Barrier, event: Event) -> list[Effect]:
    effects = barrier.handle(event)
    barrier.validate()
    return effects


def run(shards: int, ticks: int, order: Sequence[int], noise: Any = lambda _barrier, _seen: None) -> Barrier:
    """A whole run, in which the shards end each tick in this order."""
    barrier, seen = Barrier(shards, ticks), [Begin()]
    opened = handle(barrier, Begin())
    for tick in range(ticks):
        assert [(effect.shard, effect.tick) for effect in opened] == [(shard, tick) for shard in range(shards)]
        for at, shard in enumerate(order):
            noise(barrier, seen)
            seen.append(shard_done(shard, tick, shards))
            effects = handle(barrier, seen[-1])
            assert bool(effects) == (at == shards - 1)
        assert effects == [Resolve(tick, Envelope([f"{tick}: {shard} to -1" for shard in range(shards)], {}))]
        noise(barrier, seen)
        seen.append(world_closed(tick))
        closed, *opened = handle(barrier, seen[-1])
        assert isinstance(closed, TickClosed)
        assert (closed.tick, closed.counts.turns, closed.trace) == (tick, AGENTS, barrier.trace.hash)
        for effect in opened:
            world = [f"{tick}: world to 0"] if effect.shard == 0 else []
            assert effect.envelope.parcels == [f"{tick}: {one} to {effect.shard}" for one in range(shards)] + world
    assert [effect.shard for effect in opened if isinstance(effect, End)] == list(range(shards))
    for at, shard in enumerate(order):
        noise(barrier, seen)
        seen.append(ShardEnded(shard, Counts()))
        effects = handle(barrier, seen[-1])
        assert effects == ([Finished(Counts())] if at == shards - 1 else [])
    noise(barrier, seen)
    return barrier


@given(st.data(), st.integers(1, 6), st.integers(0, 3))
def test_one_trace_over_any_number_of_shards_in_any_order_with_late_and_doubled_events(
    data: st.DataObject, shards: int, ticks: int
) -> None:
    def noise(barrier: Barrier, seen: list[Event]) -> None:
        stale = [shard_done(0, barrier.tick, shards, attempt=1), shard_done(0, barrier.tick + 1, shards)]
        for event in data.draw(st.lists(st.sampled_from([*seen, *stale, world_closed(barrier.tick + 1)]), max_size=3)):
            before = (barrier.tick, barrier.trace.hash, barrier.total, barrier.ended)
            assert handle(barrier, event) == []
            assert (barrier.tick, barrier.trace.hash, barrier.total, barrier.ended) == before

    barrier = run(shards, ticks, data.draw(st.permutations(range(shards))), noise)
    assert barrier.trace.ticks == run(1, ticks, [0]).trace.ticks
    assert barrier.total.turns == AGENTS * ticks


def unsorted_commit(self: Trace, tick: int, turns: Sequence[tuple[Any, bytes]], world: bytes, _sums: Any = ()) -> str:
    """The same chain without the sort, over what came first."""
    self._hash = (b"".join(packed for _, packed in turns) + world)[-64:]
    self.ticks.append(self.hash)
    return self.hash


def test_without_the_sort_the_order_of_the_shards_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(3, 2, [0, 1, 2]).trace.hash == run(3, 2, [2, 0, 1]).trace.hash
    monkeypatch.setattr(Trace, "commit", unsorted_commit)
    assert run(3, 2, [0, 1, 2]).trace.hash != run(3, 2, [2, 0, 1]).trace.hash


def test_the_trace_depends_on_all_it_commits() -> None:
    parts = [(np.array([0, 2], np.int32), bytes(32)), (np.array([1], np.int32), b"x" * 16)]

    def after(*commits: Any) -> str:
        trace = Trace()
        for commit in commits:
            trace.commit(*commit)
        return trace.hash

    base = after((0, parts, b"w"))
    others = [
        after(),
        after((1, parts, b"w")),
        after((0, parts, b"v")),
        after((0, parts[:1], b"w")),
        after((0, [(np.array([0, 3], np.int32), bytes(32)), parts[1]], b"w")),
        after((0, [(parts[0][0], bytes(31) + b"\x01"), parts[1]], b"w")),
        after((0, [], b"w")),
        after((0, parts, b"w"), (1, parts, b"w")),
    ]
    assert len({base, *others}) == len(others) + 1
    assert after((0, parts[::-1], b"w")) == base
    assert after((0, [*parts, (np.empty(0, np.int32), b"")], b"w")) == base


def test_a_former_life_of_a_shard_is_fenced_off() -> None:
    barrier = Barrier(2, 1)
    handle(barrier, Begin())
    barrier.attempts[1] = 1
    handle(barrier, shard_done(0, 0, 2))
    assert handle(barrier, shard_done(1, 0, 2, attempt=0)) == []
    assert isinstance(handle(barrier, shard_done(1, 0, 2, attempt=1))[0], Resolve)


def test_the_world_cannot_close_before_the_shards_have_ended() -> None:
    barrier = Barrier(2, 1)
    handle(barrier, Begin())
    handle(barrier, shard_done(0, 0, 2))
    assert handle(barrier, world_closed(0)) == []
    assert barrier.tick == 0


@given(st.integers(0, 2), st.booleans())
def test_abandoning_ends_every_shard_with_the_mail_of_the_open_tick(done: int, twice: bool) -> None:
    barrier = Barrier(2, 5)
    handle(barrier, Begin())
    for shard in range(2):
        handle(barrier, shard_done(shard, 0, 2))
    handle(barrier, world_closed(0))
    trace = barrier.trace.hash
    for shard in range(done):
        handle(barrier, shard_done(shard, 1, 2))
    ends = handle(barrier, Abandon())
    assert ends == [
        End(0, Envelope(["0: 0 to 0", "0: 1 to 0", "0: world to 0"], {}), tick=1),
        End(1, Envelope(["0: 0 to 1", "0: 1 to 1"], {}), tick=1),
    ]
    for late in (Begin(), shard_done(0, 1, 2), shard_done(1, 1, 2), world_closed(1), *([Abandon()] if twice else [])):
        assert handle(barrier, late) == []
    assert (barrier.trace.hash, barrier.tick, barrier.total.turns) == (trace, 1, AGENTS)
    assert handle(barrier, ShardEnded(0, Counts())) == []
    assert handle(barrier, ShardEnded(0, Counts())) == []
    assert handle(barrier, ShardEnded(1, Counts(calls=3))) == [Finished(Counts(calls=3))]
    assert barrier.total.calls == 3


def test_a_run_abandoned_before_it_began_stays_ended() -> None:
    barrier = Barrier(1, 3)
    assert handle(barrier, Abandon()) == [End(0, Envelope([], {}))]
    assert handle(barrier, Begin()) == []


def test_a_run_may_begin_at_a_later_tick() -> None:
    assert Barrier(1, 5, first=3).handle(Begin()) == [Open(0, 3, Envelope([], {}))]
    assert Barrier(1, 5, first=5).handle(Begin()) == [End(0, Envelope([], {}), tick=5)]


@pytest.mark.parametrize(
    ("turn", "world", "end", "says"),
    [
        ({"sent": 3}, {}, {"expired": 3}, ""),
        ({"sent": 3, "refused": {"unknown_recipient": 1}}, {"sent": 1}, {"expired": 3}, ""),
        ({"acted": 2}, {"applied": 1, "acts_refused": {"no": 1}}, {}, ""),
        ({"asked": 4, "answered": 1, "cached": 1, "replayed": 1, "abstained": {"deadline": 1}}, {}, {}, ""),
        ({"sent": 3}, {}, {"expired": 2}, "3 messages were sent and 2 were"),
        ({"sent": 3, "delivered": 1}, {}, {"expired": 3}, "3 messages were sent and 4 were"),
        ({}, {"sent": 1}, {}, "1 messages were sent and 0 were"),
        ({"acted": 2}, {"applied": 1}, {}, "2 actions were taken and 1 were"),
        ({"asked": 2, "abstained": {"error": 1}}, {}, {}, "2 asks were made and 1 ended"),
        ({"asked": 1, "answered": 1, "cached": 1}, {}, {}, "1 asks were made and 2 ended"),
    ],
)
def test_books_that_do_not_balance_are_an_error(
    turn: dict[str, Any], world: dict[str, Any], end: dict[str, Any], says: str
) -> None:
    barrier = Barrier(1, 1)
    handle(barrier, Begin())
    handle(barrier, shard_done(0, 0, 1, **turn))
    handle(barrier, world_closed(0, **world))
    last = ShardEnded(0, Counts(**end))
    if says:
        with pytest.raises(ConservationError, match=says):
            barrier.handle(last)
    else:
        assert handle(barrier, last) == [Finished(Counts(**end))]


def test_what_each_destination_must_get_is_counted_by_source_and_told_with_each_order() -> None:
    barrier = Barrier(2, 2)
    barrier.attempts, barrier.world_attempt = [3, 3], 3
    assert [effect.envelope.attempt for effect in handle(barrier, Begin())] == [3, 3]
    sent = [{WORLD: 4, 1: 2}, {0: 5, 1: 7}]
    for shard in (1, 0):
        event = msgspec.structs.replace(shard_done(shard, 0, 2, attempt=3), sent=sent[shard])
        effects = handle(barrier, event)
    assert (effects[0].envelope.expected, effects[0].envelope.attempt) == ({0: 4}, 3)
    closed = msgspec.structs.replace(world_closed(0), sent={0: 6}, attempt=2)
    assert handle(barrier, closed) == [], "a former life of the world"
    _, *opened = handle(barrier, msgspec.structs.replace(closed, attempt=3))
    assert [effect.envelope.expected for effect in opened] == [{1: 5, WORLD: 6}, {0: 2, 1: 7}]
    assert [effect.envelope.expected for effect in handle(barrier, Abandon())] == [{1: 5, WORLD: 6}, {0: 2, 1: 7}]
    assert handle(barrier, ShardEnded(0, Counts(calls=9), attempt=2)) == []
    assert handle(barrier, ShardEnded(0, Counts(), attempt=3)) == []
    assert handle(barrier, ShardEnded(1, Counts(), attempt=3)) == [Finished(Counts())]
