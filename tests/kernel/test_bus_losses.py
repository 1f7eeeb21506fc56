"""Frames that are doubled, late, lost or of a former life: each message counts once, and a loss is named at once."""

from __future__ import annotations

import re
from typing import Any

import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.environments import action_frames, environment, handed
from support.kernel_support import Doing, doing, end_run, mail, make_shard, run_tick, same, send

from populace.core.errors import ActorLost, StaleOrder, TransportError
from populace.kernel.bus import Envelope, Frame, count_messages, distinct, gather, route, shortfall
from populace.kernel.events import EndRun, OpenTick, TickDone
from populace.kernel.reports import Reports
from populace.kernel.shard import Shard

SHARDS = 3


def frames_of(tick: int, attempt: int = 0, messages: int = 24, frame_bytes: int = 50) -> list[Frame]:
    """Several small frames from each shard to shard 0."""
    frames = []
    for source in range(SHARDS):
        turns = [(agent, [0, 3], [b"\x05", b"\x06"]) for agent in range(source, messages // 2, SHARDS)]
        out = gather(tick, turns)
        frames += route(out, source=source, shards=SHARDS, attempt=attempt, frame_bytes=frame_bytes)
    return frames


def quiet() -> Shard:
    async def deed(agent: Doing, ctx: Any) -> None:
        agent.score += len(ctx.inbox)

    return make_shard([doing(deed) for _ in range(4)], shards=SHARDS)


def by_source(frames: list[Frame]) -> dict[int, int]:
    return shortfall(frames, {}) and {source: -n for source, n in shortfall(frames, {}).items()}


@given(st.data())
def test_doubled_late_and_stale_frames_in_any_order_change_nothing(data: st.DataObject) -> None:
    good = frames_of(0)
    expected = by_source(good)
    assert count_messages(good) == {0: 24}
    noise = data.draw(st.lists(st.sampled_from([*good, *frames_of(0, attempt=1), *frames_of(-1)]), max_size=20))
    arrived = data.draw(st.permutations([*good, *noise]))
    clean, noisy = quiet(), quiet()
    run_tick(clean, 0)
    run_tick(noisy, 0)
    (one,) = send(clean, OpenTick(1, Envelope(good)))
    (other,) = send(noisy, OpenTick(1, Envelope(arrived, expected)))
    assert isinstance(one, TickDone)
    assert one.counts.delivered == 24
    assert same(one, other)


@given(st.sets(st.integers(0, 7), min_size=1), st.booleans())
def test_lost_frames_are_named_with_their_source_and_number(lost: set[int], doubled: bool) -> None:
    good = frames_of(0)
    kept = [frame for at, frame in enumerate(good) if at not in lost]
    missing = shortfall(kept, by_source(good))
    assert missing
    shard = quiet()
    with pytest.raises(ActorLost) as caught:
        shard.handle(OpenTick(1, Envelope(kept * (1 + doubled), by_source(good))))
    for source, n in missing.items():
        assert f"{n} of 8 messages from shard {source} are missing" in str(caught.value)
    assert caught.value.names == [f"a frame of shard {source}" for source in missing]
    assert "shard 0, tick 1: of what was sent in tick 0" in str(caught.value)
    shard.validate()
    done = send(shard, OpenTick(1, Envelope(good, by_source(good))))[0]
    assert isinstance(done, TickDone), "the same tick can still be opened"


def test_control_a_receiver_that_keeps_doubles_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    good = frames_of(0)
    monkeypatch.setattr("populace.kernel.shard.distinct", lambda frames, tick, attempt: list(frames))
    with pytest.raises(TransportError, match=re.escape("8 more than the 8 of shard 1 arrived")):
        quiet().handle(OpenTick(1, Envelope([*good, *(one for one in good if one.source == 1)], by_source(good))))


def test_frames_that_split_a_turn_of_one_sender_are_told_apart() -> None:
    out = gather(0, [(2, [0] * 9, [bytes([n]) for n in range(9)])])
    frames = route(out, source=2, shards=SHARDS, attempt=0, frame_bytes=25)
    assert len(frames) > 3
    assert distinct(frames * 2, 0, 0) == frames


def test_what_comes_twice_gives_the_same_reply_and_what_is_late_gives_none() -> None:
    shard = quiet()
    done = run_tick(shard, 0)
    assert send(shard, OpenTick(0)) == [msgspec.structs.replace(done, rows={})]
    later = run_tick(shard, 1, frames_of(0))
    assert later.counts.delivered == 24
    assert send(shard, OpenTick(0)) == []
    assert send(shard, OpenTick(1, Envelope(frames_of(0)))) == [msgspec.structs.replace(later, rows={})]
    assert shard.settle() == later.rows
    last = end_run(shard, frames_of(1))
    assert last.counts.expired == 24
    assert send(shard, EndRun(Envelope(frames_of(1)))) == [last]
    assert send(shard, OpenTick(1, Envelope(frames_of(0)))) == []
    assert send(shard, OpenTick(2, Envelope(frames_of(1)))) == []


def test_a_tick_opened_twice_while_it_is_open_is_one_tick() -> None:
    async def deed(agent: Doing, ctx: Any) -> None:
        await ctx.ask("?")

    shard = make_shard([doing(deed)])
    assert len(send(shard, OpenTick(0))) == 1
    assert send(shard, OpenTick(0)) == []


def test_an_order_to_another_life_is_refused_and_changes_nothing() -> None:
    shard = make_shard([doing(None)], attempt=2)
    for event in (OpenTick(0, Envelope([], None, 1)), OpenTick(0), EndRun(Envelope([], None, 3))):
        with pytest.raises(StaleOrder, match=r"for its attempt \d; this is its attempt 2"):
            shard.handle(event)
    done = send(shard, OpenTick(0, Envelope([], {}, 2)))[0]
    assert isinstance(done, TickDone)
    assert done.attempt == 2


def test_losses_at_the_end_are_noticed_too() -> None:
    frames = mail(3, (1, 0, b"\x05"), (2, 0, b"\x05"))
    with pytest.raises(ActorLost, match="the run's end: of what was sent in tick 3, 1 of 3 messages from shard 0"):
        make_shard([doing(None)]).handle(EndRun(Envelope(frames, {0: 3})))
    done = end_run(make_shard([doing(None)]), frames * 2)
    assert done.counts.expired == 2


ACTS = [(agent, 1 + agent) for agent in range(6)]


def reports(attempt: int = 0) -> list[Reports]:
    return [
        Reports(np.array([shard], np.int32), {"agent": {"mood": [shard + 10.0 * attempt]}}, shard, attempt)
        for shard in range(2)
    ]


def test_the_world_takes_each_frame_and_report_once_and_those_of_its_life() -> None:
    frames = action_frames(ACTS, 2)
    expected = by_source(frames)
    stale = [msgspec.structs.replace(frame, attempt=1) for frame in frames]
    clean, noisy = environment(shards=2), environment(shards=2)
    one = clean.close_tick(0, handed(frames, reports()))
    arrived = [*stale, *frames[::-1], *frames]
    other = noisy.close_tick(0, handed(arrived, [*reports(), *reports(1), *reports()], expected))
    assert same(one, other)
    assert noisy.world.fund.log == clean.world.fund.log
    assert sorted(noisy.world.fund.log) == ACTS
    assert sum(one.sent.values()) == len(ACTS)
    assert noisy.close_tick(0, handed(arrived, reports(), expected)) is other, "a tick closed again"
    assert noisy.world.tick == 1
    noisy.close_tick(1, handed([], reports(), {}))
    with pytest.raises(StaleOrder, match="tick 0 was closed while it stands at tick 2"):
        noisy.close_tick(0, handed(arrived, reports(), expected))


def test_the_world_names_what_is_missing_and_stays_as_it_was() -> None:
    frames = action_frames(ACTS, 2)
    expected = by_source(frames)
    one = environment(shards=2)
    with pytest.raises(ActorLost, match=r"the world, tick 0.*1 of 3 messages from shard 0 are missing"):
        one.close_tick(0, handed([frame for frame in frames if frame.source or frame.sender[0]], reports(), expected))
    with pytest.raises(ActorLost, match="the report of shard 1 is missing"):
        one.close_tick(0, handed(frames, reports()[:1], expected))
    with pytest.raises(TransportError, match="for its attempt 1; this is its attempt 0"):
        one.close_tick(0, handed(frames, reports(), expected, 1))
    with pytest.raises(TransportError, match="tick 3 was closed while it stands at tick 0"):
        one.close_tick(3, handed(frames, reports()))
    for show in (lambda: one.observe(np.array([0], np.int32), 1), lambda: one.look([], 1)):
        with pytest.raises(StaleOrder, match="for its attempt 1; this is its attempt 0"):
            show()
    assert one.world.fund.log == []
    assert one.close_tick(0, handed(frames, reports(), expected)).counts.applied == len(ACTS)


def test_a_restarted_worlds_messages_carry_its_life() -> None:
    one = environment()
    one.attempt = 4
    frames = [msgspec.structs.replace(frame, attempt=4) for frame in action_frames(ACTS, 1)]
    done = one.close_tick(0, handed(frames, [], None, 4))
    assert {frame.attempt for frame in done.frames} == {4} == {done.attempt}
    assert msgpack.unpackb(done.frames[0].body[: int(done.frames[0].offsets[1])]) == {
        "thanks": one.world.fund.log[0][1]
    }
