"""The bus against a slow plain model: order, bounds, splitting, and frames that were damaged on their way."""

from __future__ import annotations

from typing import Any

import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.core.draws import WORLD
from populace.core.errors import BusError
from populace.core.records import Message
from populace.kernel.bus import Frame, Mail, gather, route, unpack_body, unpack_frame
from populace.kernel.order import total_order

AGENTS = 7
MOST = 2**24
BODIES = st.none() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20) | st.lists(st.integers(0, 9), max_size=3)
SENT = st.dictionaries(
    st.integers(WORLD, AGENTS - 1),
    st.lists(st.tuples(st.integers(0, AGENTS - 1), BODIES), max_size=12),
    max_size=AGENTS,
)
"""By sender, what it sends in order: (receiver, body)."""
Sent = dict[int, list[tuple[int, Any]]]


def frames_of(sent: Sent, shards: int, frame_bytes: int = 2**20) -> list[Frame]:
    """All frames of a tick, each packed and unpacked, as over a network. The world's are made apart, as they are."""
    frames: list[Frame] = []
    for source in range(WORLD, shards):
        senders = [one for one in sorted(sent) if (WORLD if one == WORLD else one % shards) == source]
        turns = [(one, [to for to, _ in sent[one]], [msgpack.packb(body) for _, body in sent[one]]) for one in senders]
        out = gather(3, turns)
        frames += route(out, source=source, shards=shards, attempt=0, frame_bytes=frame_bytes)
    return [unpack_frame(frame.pack(), MOST) for frame in frames]


def plain_inboxes(sent: Sent, bound: int) -> tuple[dict[int, list[Message]], set[tuple[int, int]]]:
    """The model: walk all messages in the order (sender, nth) and put each into its inbox while there is room."""
    inboxes: dict[int, list[Message]] = {}
    refused = set()
    for sender in sorted(sent):
        for nth, (to, body) in enumerate(sent[sender]):
            inbox = inboxes.setdefault(to, [])
            if len(inbox) < bound:
                inbox.append(Message(sender, 3, body))
            else:
                refused.add((sender, nth))
    return inboxes, refused


@given(SENT, st.integers(1, 8), st.integers(1, 6), st.integers(1, 200), st.randoms())
def test_inboxes_are_what_a_plain_model_gives(sent: Sent, shards: int, bound: int, size: int, random: Any) -> None:
    inboxes, refused = plain_inboxes(sent, bound)
    frames = frames_of(sent, shards, size)
    random.shuffle(frames)
    lost = set()
    for shard in range(shards):
        mail = Mail([frame for frame in frames if frame.destination == shard], bound)
        here = [agent for agent in range(AGENTS) if agent % shards == shard]
        assert mail.receivers.tolist() == [agent for agent in here if agent in inboxes]
        assert len(mail) == sum(len(inboxes.get(agent, ())) for agent in here)
        for agent in random.sample(here, len(here)):
            inbox, wanted = mail.inbox(agent), inboxes.get(agent, [])
            assert list(inbox) == wanted
            assert len(inbox) == len(wanted)
            assert [inbox[at] for at in range(-len(wanted), 0)] == wanted
            assert inbox[1:] == wanted[1:] or not wanted
            with pytest.raises(IndexError):
                inbox[len(wanted)]
        lost |= set(zip(mail.sender[mail.refused].tolist(), mail.nth[mail.refused].tolist(), strict=True))
    assert lost == refused


def test_an_unsorted_inbox_would_be_seen() -> None:
    sent: Sent = {sender: [(0, sender)] for sender in range(AGENTS)}
    frames = frames_of(sent, 2)
    columns = [np.concatenate([getattr(frame, name) for frame in frames]) for name in ("receiver", "sender", "nth")]
    here = columns[0] == 0
    assert columns[1][here].tolist() != list(range(AGENTS)), "arrival is not the order, so a test can tell"
    assert columns[1][here][total_order(*[column[here] for column in columns])].tolist() == list(range(AGENTS))


@given(st.lists(st.tuples(st.integers(-1, 5), st.integers(-1, 5), st.integers(0, 5)), unique=True))
def test_the_total_order_is_a_sort_by_receiver_sender_and_place(rows: list[tuple[int, int, int]]) -> None:
    table = np.array(rows, np.int32).reshape(-1, 3)
    order = total_order(table[:, 0], table[:, 1], table[:, 2])
    assert table[order].tolist() == [list(row) for row in sorted(rows)]


@given(SENT, st.integers(1, 4), st.integers(1, 300))
def test_frames_are_bounded_whole_and_in_order(sent: Sent, shards: int, size: int) -> None:
    frames = frames_of(sent, shards, size)
    for frame in frames:
        assert len(frame) == 1 or len(frame.body) + 20 * len(frame) <= size
        assert len(frame) >= 1
        assert (frame.receiver % shards == frame.destination).all()
        assert len(frame.pack()) <= 20 * len(frame) + len(frame.body) + 100
    by_pair: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for frame in frames:
        by_pair.setdefault((frame.source, frame.destination), []).extend(
            zip(frame.sender.tolist(), frame.nth.tolist(), strict=True)
        )
    assert all(pairs == sorted(pairs) for pairs in by_pair.values())
    assert sum(map(len, by_pair.values())) == sum(map(len, sent.values()))
    assert len(frames_of(sent, shards, 2**20)) == len(by_pair), "one frame a pair where there is room"


def test_actions_go_to_the_world() -> None:
    out = gather(3, [(0, [1, WORLD], [b"\x01", b"\x02"]), (2, [WORLD], [b"\x03"])])
    world, shard = route(out, source=0, shards=2, attempt=4, frame_bytes=2**20)
    assert (world.destination, world.body) == (WORLD, b"\x02\x03")
    assert (world.sender.tolist(), world.nth.tolist()) == ([0, 2], [1, 0])
    assert (shard.destination, shard.attempt, shard.body) == (1, 4, b"\x01")


def test_bodies_are_decoded_when_they_are_read_and_not_before() -> None:
    frame = route(gather(3, [(0, [1, 2], [b"\xc1", b"\x05"])]), source=0, shards=1, attempt=0, frame_bytes=2**20)
    mail = Mail(frame, 10)
    assert list(mail.inbox(2)) == [Message(0, 3, 5)]
    with pytest.raises(msgspec.DecodeError):
        list(mail.inbox(1))


def changed_while_it_is_read() -> list[Any]:
    """What a second reading of an inbox gives, where the first one changes what it reads."""
    packed = [msgpack.packb(body) for body in ([1], 7)]
    frame = route(gather(3, [(0, [1, 2], packed)]), source=0, shards=1, attempt=0, frame_bytes=2**20)
    inbox = Mail(frame, 10).inbox(1)
    for message in inbox:
        message.body.append(2)
    return [message.body for message in inbox]


def test_what_is_done_to_a_body_is_not_done_to_the_message() -> None:
    assert changed_while_it_is_read() == [[1]]


def test_control_bodies_that_can_change_and_are_decoded_once_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("populace.kernel.bus._SCALARS", frozenset({list, int}))
    assert changed_while_it_is_read() == [[1, 2]]


def test_inboxes_are_read_ahead_within_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("populace.kernel.bus._WINDOW_BYTES", 10)
    bodies = ["a" * size for size in (4, 30, 3, 2, 9)]
    sent = [(0, [1, 2, 2, 3, 4], [msgpack.packb(body) for body in bodies])]
    mail = Mail(route(gather(3, sent), source=0, shards=1, attempt=0, frame_bytes=2**20), 10)
    for _ in range(2):  # forwards, and from the start again
        assert [[one.body for one in mail.inbox(agent)] for agent in (1, 2, 3, 4)] == [
            bodies[:1], bodies[1:3], bodies[3:4], bodies[4:]
        ]  # fmt: skip


@given(BODIES)
def test_bodies_come_back(body: Any) -> None:
    assert unpack_body(msgpack.packb(body)) == body


def sample_frame() -> Frame:
    sent: Sent = {0: [(1, "hello"), (3, None)], 2: [(1, [1, 2]), (5, {"a": 2**63})]}
    (frame,) = [frame for frame in frames_of(sent, 2) if frame.destination == 1]
    return frame


def readable_or_refused(packed: bytes) -> bool:
    """True where the bytes were read, and then as a frame that a shard's mail can be made from; else BusError."""
    try:
        frame = unpack_frame(packed, MOST)
    except BusError as error:
        return "frame" not in str(error)
    assert len(frame.sender) == len(frame.receiver) == len(frame.nth) == len(frame.offsets) - 1
    ends = frame.offsets.tolist()
    assert ends == sorted(ends)
    assert (ends[0], ends[-1]) == (0, len(frame.body))
    mail = Mail([frame], 10)
    assert len(mail) + len(mail.refused) == len(frame)
    return True


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_mutated_frame_is_read_or_refused_and_nothing_else(changes: list[tuple[int, int]]) -> None:
    packed = bytearray(sample_frame().pack())
    for at, value in changes:
        packed[at % len(packed)] = value
    readable_or_refused(bytes(packed))


def test_every_cut_and_every_single_byte_is_read_or_refused() -> None:
    packed = sample_frame().pack()
    assert readable_or_refused(packed)
    assert not any(readable_or_refused(packed[:size]) for size in range(len(packed)))
    assert not readable_or_refused(packed + b"\x00")
    fates = {
        readable_or_refused(packed[:at] + bytes([value]) + packed[at + 1 :])
        for at in range(len(packed))
        for value in (0x00, 0x7F, 0x80, 0x90, 0xC0, 0xC1, 0xC7, 0xD9, 0xDD, 0xDF, 0xFF, packed[at] ^ 1)
    }
    assert fates == {True, False}


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    assert not readable_or_refused(noise)


COLUMN = b"\x00\x00\x00\x00"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ((2, 0, 0, 0, 0, 1, COLUMN, COLUMN, COLUMN, bytes(16), b""), "version 2"),
        ((1, "0", 0, 0, 0, 1, COLUMN, COLUMN, COLUMN, bytes(16), b""), "wrong type"),
        ((1, 0, 0, 0, 0, True, COLUMN, COLUMN, COLUMN, bytes(16), b""), "wrong type"),
        ((1, 0, 0, 0, 0, 1, COLUMN, COLUMN, "abcd", bytes(16), b""), "wrong type"),
        ((1, 0, 0, 0, 0, 2, COLUMN, COLUMN, COLUMN, bytes(24), b""), "one length"),
        ((1, 0, 0, 0, 0, -1, b"", b"", b"", b"", b""), "one length"),
        ((1, 0, 0, 0, 0, 1, COLUMN, COLUMN, COLUMN, bytes(8), b""), "one length"),
        ((1, 0, 0, 0, 0, 1, COLUMN, COLUMN, COLUMN, bytes(16), b"x"), "offsets"),
        ((1, 0, 0, 0, 0, 1, COLUMN), "not readable"),
        (5, "not readable"),
    ],
)
def test_what_is_wrong_with_a_frame_is_said(fields: Any, says: str) -> None:
    with pytest.raises(BusError, match=says):
        unpack_frame(msgpack.packb(fields), MOST)


def test_offsets_that_wrap_around_are_refused() -> None:
    offsets = np.array([0, 2**63 - 1, -2, 3], "<i8").tobytes()
    packed = msgpack.packb((1, 0, 0, 0, 0, 3, bytes(12), bytes(12), bytes(12), offsets, b"abc"))
    with pytest.raises(BusError, match="offsets"):
        unpack_frame(packed, MOST)


def test_a_frame_that_is_too_large_is_not_even_looked_at() -> None:
    packed = sample_frame().pack()
    with pytest.raises(BusError, match=f"at most {len(packed) - 1}"):
        unpack_frame(packed, len(packed) - 1)
