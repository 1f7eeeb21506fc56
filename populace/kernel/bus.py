"""The bus: messages as columns, routed by shard, put in order, bounded, decoded only when read.

A tick's messages from one shard to another are one `Frame`: int32 columns of sender, receiver and place in the
turn, offsets into one joined body, and nothing that costs Python time a message. A receiving shard collates its
frames into `Mail`: one sort by receiver and the order there (see `order`), after which an agent's inbox is a range of
it.

The agent `i` lives on shard `i mod n`.

What lies between may delay, double and lose, so a receiver takes each frame once, and all of them or an error. A frame
is known by (tick, attempt, source, destination) and by the first (sender, nth) in it, which is unique in a tick. How
many messages a source sent to a destination travels beside its frames, so that a loss shows at once and not only in the
books at the run's end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise, repeat
from operator import itemgetter
from typing import Any, Final, overload

import msgpack
import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.draws import WORLD
from populace.core.errors import ActorLost, BusError, TransportError
from populace.core.records import Message
from populace.kernel.order import fair_order, total_order

VERSION: Final = 1
_WINDOW: Final = 4096
_WINDOW_BYTES: Final = 1 << 20
_ROW_BYTES: Final = 20
_decode: Final = msgspec.msgpack.Decoder().decode
_SCALARS: Final = frozenset({str, int, float, bool, bytes, type(None)})
NO_MAIL: Final[tuple[Message, ...]] = ()

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


class Frame(msgspec.Struct, frozen=True):
    """The messages of tick `tick` from one shard to one destination, in the order (sender, nth).

    `source` and `destination` are shard indices, or -1 for the world. `sender`, `receiver` and `nth` are int32 of
    length n; `offsets` is int64 of length n + 1; message `i`'s body is `body[offsets[i]:offsets[i + 1]]`, packed
    by msgpack. `attempt` counts the source's restarts, so that a former attempt's frames can be refused.
    """

    tick: int
    attempt: int
    source: int
    destination: int
    sender: Int32
    receiver: Int32
    nth: Int32
    offsets: Int64
    body: bytes

    def __len__(self) -> int:
        return len(self.sender)

    def bodies(self) -> list[bytes]:
        """The messages' packed bodies, in order."""
        return [self.body[a:b] for a, b in pairwise(self.offsets.tolist())]

    def pack(self) -> bytes:
        """The frame as MessagePack, little-endian columns."""
        columns = (self.sender, self.receiver, self.nth)
        packed: bytes = msgpack.packb(
            (
                *(VERSION, self.tick, self.attempt, self.source, self.destination, len(self.sender)),
                *(column.astype("<i4", copy=False).tobytes() for column in columns),
                self.offsets.astype("<i8", copy=False).tobytes(),
                self.body,
            )
        )
        return packed


def unpack_frame(packed: bytes, most_bytes: int) -> Frame:
    """Read a frame. Raises BusError, saying what is wrong, for anything but a whole, consistent frame."""
    if len(packed) > most_bytes:
        raise BusError(f"a frame of {len(packed)} bytes; at most {most_bytes} are read")
    try:
        fields = msgpack.unpackb(packed, max_array_len=11, max_map_len=0, max_bin_len=most_bytes, use_list=False)
        version, tick, attempt, source, destination, n, sender, receiver, nth, offsets, body = fields
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise BusError(f"a frame of {len(packed)} bytes is not readable: {error}") from None
    name = f"frame of tick {tick} from shard {source} to shard {destination}"
    if version != VERSION:
        raise BusError(f"{name}: version {version}; this populace reads version {VERSION}")
    integers = (tick, attempt, source, destination, n)
    if not all(type(field) is int for field in integers) or not all(
        type(column) is bytes for column in (sender, receiver, nth, offsets, body)
    ):
        raise BusError(f"{name}: a field is of the wrong type")
    if not len(sender) == len(receiver) == len(nth) == 4 * n or len(offsets) != 8 * (n + 1):
        raise BusError(f"{name}: its columns are not of one length")
    frame = Frame(
        tick,
        attempt,
        source,
        destination,
        np.frombuffer(sender, "<i4"),
        np.frombuffer(receiver, "<i4"),
        np.frombuffer(nth, "<i4"),
        np.frombuffer(offsets, "<i8"),
        body,
    )
    if frame.offsets[0] != 0 or frame.offsets[-1] != len(body) or (frame.offsets[1:] < frame.offsets[:-1]).any():
        raise BusError(f"{name}: its offsets do not fit its body")
    return frame


class Outgoing(msgspec.Struct):
    """What a shard's turns sent in a tick, in the order (sender, nth): columns, and the packed bodies."""

    tick: int
    sender: Int32
    receiver: Int32
    nth: Int32
    bodies: list[bytes]


def gather(tick: int, turns: Sequence[tuple[int, list[int], list[bytes]]]) -> Outgoing:
    """Columns from (sender, receivers, bodies) a turn; the turns must be sorted by sender."""
    if not turns:
        none = np.empty(0, np.int32)
        return Outgoing(tick, none, none, none, [])
    senders, receivers, packed = zip(*turns, strict=True)
    counts = np.fromiter(map(len, receivers), np.int64, len(turns))
    receiver = np.array(list(chain.from_iterable(receivers)), np.int32)
    starts = np.cumsum(counts) - counts
    nth = (np.arange(len(receiver), dtype=np.int64) - np.repeat(starts, counts)).astype(np.int32)
    return Outgoing(
        tick, np.repeat(np.array(senders, np.int32), counts), receiver, nth, list(chain.from_iterable(packed))
    )


def split(out: Outgoing, mask: NDArray[np.bool_]) -> tuple[Outgoing, Outgoing]:
    """The messages where `mask` is true, and the others."""
    if mask.all():
        none = out.sender[:0]
        return out, Outgoing(out.tick, none, none, none, [])
    return _picked(out, mask), _picked(out, ~mask)


def _picked(out: Outgoing, mask: NDArray[np.bool_]) -> Outgoing:
    bodies = [body for body, yes in zip(out.bodies, mask.tolist(), strict=True) if yes]
    return Outgoing(out.tick, out.sender[mask], out.receiver[mask], out.nth[mask], bodies)


def route(out: Outgoing, *, source: int, shards: int, attempt: int, frame_bytes: int) -> list[Frame]:
    """Split what was sent by destination: frames to shards, and those to the world, each in order.

    Receivers must exist. A destination gets more than one frame when columns and bodies would exceed `frame_bytes`
    (a single message may).
    """
    if not len(out.sender):
        return []
    destination = np.where(out.receiver == WORLD, WORLD, out.receiver % shards)
    frames: list[Frame] = []
    for target in np.unique(destination).tolist():
        rows = np.flatnonzero(destination == target)
        everything = len(rows) == len(out.sender)
        bodies = out.bodies if everything else _take(out.bodies, rows)
        ends = np.cumsum(np.fromiter(map(len, bodies), np.int64, len(bodies)))
        room = ends + _ROW_BYTES * np.arange(1, len(rows) + 1)
        sender, receiver, nth = out.sender[rows], out.receiver[rows], out.nth[rows]
        start = 0
        while start < len(rows):
            base = int(ends[start - 1]) if start else 0
            limit = base + _ROW_BYTES * start + frame_bytes
            stop = max(start + 1, int(np.searchsorted(room, limit, side="right")))
            offsets = np.zeros(stop - start + 1, np.int64)
            offsets[1:] = ends[start:stop] - base
            part = slice(start, stop)
            frames.append(
                Frame(out.tick, attempt, source, target, sender[part], receiver[part], nth[part], offsets,
                      b"".join(bodies[part]))
            )  # fmt: skip
            start = stop
    return frames


def _take(bodies: list[bytes], rows: NDArray[np.intp]) -> list[bytes]:
    if len(rows) == 1:
        return [bodies[rows[0]]]
    return list(itemgetter(*rows.tolist())(bodies))


Sent = dict[int, int]
"""Numbers of messages: by destination where they are sent, by source where they arrive. -1 is the world."""


class Envelope(msgspec.Struct, frozen=True):
    """What a shard or the world is handed.

    `parcels` are frames where they are opened, and opaque on the way; the world's are `(Reports, frames)` of a shard.
    `edge` says what changes for a shard as the tick begins (`kernel.edge`); it is empty where nothing does.
    `expected` says how many messages each source sent in them (None: nobody knows), and `attempt` which attempt of the
    receiver is meant: another's envelope is not taken. No turn of a tick after `last` is to begin early (None: any
    may).
    """

    parcels: list[Any] = []
    expected: Sent | None = None
    attempt: int = 0
    edge: bytes = b""
    last: int | None = None


def count_messages(frames: Iterable[Frame]) -> Sent:
    """How many messages these frames take to each destination."""
    sent: Sent = {}
    for frame in frames:
        sent[frame.destination] = sent.get(frame.destination, 0) + len(frame)
    return sent


def distinct(frames: Sequence[Frame], tick: int, attempt: int) -> list[Frame]:
    """The frames of `tick` and `attempt`, each once, in their order: doubled, late and former attempts' are dropped."""
    seen: set[tuple[int, int, int, int]] = set()
    kept = []
    for frame in frames:
        if frame.tick != tick or frame.attempt != attempt or not len(frame):
            continue
        identity = (frame.source, frame.destination, int(frame.sender[0]), int(frame.nth[0]))
        if identity not in seen:
            seen.add(identity)
            kept.append(frame)
    return kept


def shortfall(frames: Iterable[Frame], expected: Mapping[int, int]) -> Sent:
    """By source, how many messages are missing from these frames (below zero: how many are too many)."""
    missing = dict(expected)
    for frame in frames:
        missing[frame.source] = missing.get(frame.source, 0) - len(frame)
    return {source: n for source, n in sorted(missing.items()) if n}


def check_complete(receiver: str, tick: int, frames: Iterable[Frame], expected: Mapping[int, int] | None) -> None:
    """Raise ActorLost, naming the receiver, tick, source and number, where messages are missing.

    `expected` is None where nobody said how many there are. More than were sent is a TransportError: a bug.
    """
    wrong = {} if expected is None else shortfall(frames, expected)
    if not wrong or expected is None:
        return
    where = f"{receiver}: of what was sent in tick {tick}"
    for source, n in wrong.items():
        if n < 0:
            raise TransportError(f"{where}, {-n} more than the {expected.get(source, 0)} of {_name(source)} arrived")
    missing = [f"{n} of {expected[source]} messages from {_name(source)} are missing" for source, n in wrong.items()]
    raise ActorLost([f"a frame of {_name(source)}" for source in wrong], f"{where}, {'; '.join(missing)}")


def _name(source: int) -> str:
    return "the world" if source == WORLD else f"shard {source}"


class Mail:
    """A shard's incoming messages of one tick, by receiver and in the order there (see `order`).

    With the run's `seed` that is the fair order, without it (sender, nth): those who come first have the places, where
    an inbox is too small, and are read first.
    `receivers` are the agents that have mail, sorted, int32. `refused` are the positions of messages that an inbox
    had no room for, and `retired` of those to agents who have left, as `lives` tells. Columns are read through `order`;
    bodies stay packed until an inbox is read.
    """

    __slots__ = ("_edges", "_read", "_row_of", "_window", "_window_start", "_window_stop", "body", "nth", "order",
                 "receiver", "receivers", "refused", "retired", "sender", "starts", "stops", "tick")  # fmt: skip

    def __init__(
        self,
        frames: Sequence[Frame],
        inbox_messages: int,
        seed: int | None = None,
        lives: Callable[[Int32], NDArray[np.bool_]] | None = None,
    ) -> None:
        self.tick = frames[0].tick if frames else -1
        single = len(frames) == 1
        self.sender: Int32 = frames[0].sender if single else _join([frame.sender for frame in frames])
        self.receiver: Int32 = frames[0].receiver if single else _join([frame.receiver for frame in frames])
        self.nth: Int32 = frames[0].nth if single else _join([frame.nth for frame in frames])
        self.body = frames[0].body if single else b"".join([frame.body for frame in frames])
        self.starts, self.stops = _bounds(frames)
        columns = (self.receiver, self.sender, self.nth)
        order = total_order(*columns) if seed is None else fair_order(seed, self.tick, *columns)
        self.retired = order[:0]
        if lives is not None:
            living = lives(self.receiver[order])
            self.retired, order = order[~living], order[living]
        sorted_receiver = self.receiver[order]
        edges = np.flatnonzero(np.diff(sorted_receiver, prepend=-(2**31)))
        counts = np.diff(edges, append=len(order))
        if len(counts) and int(counts.max()) > inbox_messages:
            rank = np.arange(len(order)) - np.repeat(edges, counts)
            self.refused = order[rank >= inbox_messages]
            order = order[rank < inbox_messages]
            counts = np.minimum(counts, inbox_messages)
        else:
            self.refused = order[:0]
        self.order = order
        self.receivers: Int32 = sorted_receiver[edges]
        self._edges: list[int] = np.concatenate(([0], np.cumsum(counts))).tolist()
        self._row_of: dict[int, int] | None = None
        self._window: list[tuple[int, bytes]] = []
        self._read: list[Message] | None = None
        """The messages of the window, where their bodies are scalars: these may be handed out more than once."""
        self._window_start = self._window_stop = 0

    def __len__(self) -> int:
        """How many messages are delivered."""
        return len(self.order)

    def inbox(self, agent: int) -> Sequence[Message]:
        """The messages of one agent, decoded when they are read."""
        rows = self._row_of
        if rows is None:
            rows = self._row_of = {one: row for row, one in enumerate(self.receivers.tolist())}
        row = rows.get(agent)
        return NO_MAIL if row is None else Inbox(self, self._edges[row], self._edges[row + 1])

    def packed(self, start: int, stop: int) -> list[tuple[int, bytes]]:
        """Senders and bodies of the delivered messages `start` to `stop`, nothing decoded."""
        if start < self._window_start or stop > self._window_stop:
            self._move(start, stop)
        return self._window[start - self._window_start : stop - self._window_start]

    def messages(self, start: int, stop: int) -> list[Message]:
        """The delivered messages `start` to `stop`, decoded; what can be changed in them is nobody else's."""
        first = self._window_start
        if start < first or stop > self._window_stop:
            self._move(start, stop)
            first = start
        if self._read is not None:
            return self._read[start - first : stop - first]
        tick = self.tick
        return [Message(sender, tick, _decode(body)) for sender, body in self._window[start - first : stop - first]]

    def _move(self, start: int, stop: int) -> None:
        """Read thousands of messages at once: turns begin in the order of their agents, and so they read inboxes."""
        rows = self.order[start : max(stop, start + _WINDOW)]
        taken = np.cumsum(self.stops[rows] - self.starts[rows])
        rows = rows[: max(stop - start, int(np.searchsorted(taken, _WINDOW_BYTES)))]
        senders, bodies = self.sender[rows].tolist(), self.bodies(rows)
        self._window = list(zip(senders, bodies, strict=True))
        self._window_start, self._window_stop = start, start + len(rows)
        self._read = None
        try:
            values = decode_all(bodies)
        except (msgspec.MsgspecError, RecursionError):  # one is as deep as can be: it is decoded by itself
            return
        if _SCALARS.issuperset(map(type, values)):
            self._read = list(map(Message, senders, repeat(self.tick), values))

    def bodies(self, rows: NDArray[np.intp]) -> list[bytes]:
        """The packed bodies of these rows."""
        body = self.body
        return [body[a:b] for a, b in zip(self.starts[rows].tolist(), self.stops[rows].tolist(), strict=True)]


def _join(columns: list[Int32]) -> Int32:
    return np.concatenate(columns) if columns else np.empty(0, np.int32)


def _bounds(frames: Sequence[Frame]) -> tuple[Int64, Int64]:
    if not frames:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    base, starts, stops = 0, [], []
    for frame in frames:
        starts.append(frame.offsets[:-1] + base)
        stops.append(frame.offsets[1:] + base)
        base += len(frame.body)
    return np.concatenate(starts), np.concatenate(stops)


class Inbox(Sequence[Message]):
    """One agent's messages in their order: a range of the shard's mail, decoded as it is read."""

    __slots__ = ("_mail", "_start", "_stop")

    def __init__(self, mail: Mail, start: int, stop: int) -> None:
        self._mail = mail
        self._start = start
        self._stop = stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __iter__(self) -> Iterator[Message]:
        return iter(self._mail.messages(self._start, self._stop))

    def packed(self) -> list[tuple[int, bytes]]:
        """Senders and bodies as they came, nothing decoded."""
        return self._mail.packed(self._start, self._stop)

    @overload
    def __getitem__(self, at: int) -> Message: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Message]: ...
    def __getitem__(self, at: int | slice) -> Message | Sequence[Message]:
        if isinstance(at, slice):
            return list(self)[at]
        row = range(self._start, self._stop)[at]
        mail, i = self._mail, self._mail.order[row]
        return Message(int(mail.sender[i]), mail.tick, unpack_body(mail.body[mail.starts[i] : mail.stops[i]]))

    def __repr__(self) -> str:
        return f"Inbox({list(self)!r})"


def unpack_body(packed: bytes) -> Any:
    """A message's body. Its size was bounded when it was sent."""
    return _decode(packed)


def decode_all(bodies: Sequence[bytes]) -> list[Any]:
    """What these bodies hold, decoded as one."""
    values: list[Any] = _decode(b"".join((b"\xdd", len(bodies).to_bytes(4, "big"), *bodies)))
    return values
