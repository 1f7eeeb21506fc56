"""What reaches a receiver over a network that may delay, double and lose: each frame once, and all of them or an error.

A frame is known by (tick, attempt, source, destination) and by the first (sender, nth) in it, which is unique in a
tick. How many messages a source sent to a destination travels beside its frames, so that a loss shows at once and
not only in the books at the run's end. Nothing here reads a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from populace.core.draws import WORLD
from populace.core.errors import ActorLost, TransportError
from populace.kernel.bus import Frame

Sent = dict[int, int]
"""Numbers of messages: by destination where they are sent, by source where they arrive. -1 is the world."""


class Envelope(msgspec.Struct, frozen=True):
    """What a shard or the world is handed.

    `parcels` are frames where they are opened, and opaque on the way; the world's are `(Reports, frames)` of a shard.
    `expected` says how many messages each source sent in them (None: nobody knows), and `attempt` which attempt of the
    receiver is meant: another's envelope is not taken.
    """

    parcels: list[Any] = []
    expected: Sent | None = None
    attempt: int = 0


def tally(frames: Iterable[Frame]) -> Sent:
    """How many messages these frames take to each destination."""
    sent: Sent = {}
    for frame in frames:
        sent[frame.destination] = sent.get(frame.destination, 0) + len(frame)
    return sent


def distinct(frames: Sequence[Frame], tick: int, attempt: int) -> list[Frame]:
    """The frames of `tick` and `attempt`, each once, in their order: doubled, late and former lives' are dropped."""
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
