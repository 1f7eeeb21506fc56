"""What agents in columns are sent whose turns begin before their tick is open: put together by type. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from populace.kernel.bus import Frame, Mail, Outgoing, route
from populace.kernel.units import Units

Ids = NDArray[np.int32]
_WHOLE = 2**62
"""No frame of what is told early is split."""


class _Letters:
    """What the agents of a unit were sent in a tick: message by message, or in columns."""

    __slots__ = ("bodies", "frames", "nth", "receiver", "sender")

    def __init__(self) -> None:
        self.sender: list[int] = []
        self.receiver: list[int] = []
        self.nth: list[int] = []
        self.bodies: list[bytes] = []
        self.frames: list[Frame] = []


class ColumnarPost:
    """What the columnar agents of a shard were sent in ticks whose next one is not open; inboxes have so much room."""

    def __init__(self, units: Units, seed: int, inbox_messages: int) -> None:
        self._units = units
        self._seed = seed
        self._most = inbox_messages
        self._letters: dict[int, dict[int, _Letters]] = {}
        """By tick and unit."""

    def say(self, tick: int, sender: int, nth: int, receiver: int, body: bytes) -> bool:
        """A message; whether it is to one of these."""
        unit = int(self._units.of[receiver])
        if unit < self._units.agents:
            return False
        letters = self._of(tick, unit)
        letters.sender.append(sender)
        letters.receiver.append(receiver)
        letters.nth.append(nth)
        letters.bodies.append(body)
        return True

    def take(self, out: Outgoing) -> Outgoing:
        """Messages in columns to agents of this shard; gives those that are to agents who take turns of their own."""
        units = self._units.of[out.receiver]
        for unit in np.unique(units[units >= self._units.agents]).tolist():
            self._of(out.tick, unit).frames += as_frames(_rows(out, units == unit), self._units.index)
        return _rows(out, units < self._units.agents)

    def mail(self, tick: int, unit: int) -> Mail:
        """What the agents of a unit were sent in a tick, as it will be delivered."""
        letters = self._letters.get(tick, {}).pop(unit, None)
        if letters is None:
            return Mail([], self._most, self._seed)
        sender, receiver, nth = (np.array(one, np.int32) for one in (letters.sender, letters.receiver, letters.nth))
        single = as_frames(Outgoing(tick, sender, receiver, nth, letters.bodies), self._units.index)
        return Mail(single + letters.frames, self._most, self._seed)

    def forget(self, tick: int) -> None:
        """Nobody will read any more of what was sent in a tick."""
        self._letters.pop(tick, None)

    def _of(self, tick: int, unit: int) -> _Letters:
        return self._letters.setdefault(tick, {}).setdefault(unit, _Letters())


def by_shard(out: Outgoing, units: Units) -> tuple[Outgoing, list[Frame]]:
    """Of what columnar agents sent to agents, what goes to this shard, and frames to the others."""
    there = (out.receiver >= 0) & (out.receiver < units.agents)
    here = there & (out.receiver % units.shards == units.index)
    away = _rows(out, there & ~here)
    return _rows(out, here), route(away, source=units.index, shards=units.shards, attempt=0, frame_bytes=_WHOLE)


def as_frames(out: Outgoing, index: int) -> list[Frame]:
    """Messages to agents of one shard, as it will find them in its mail."""
    return route(out, source=index, shards=1, attempt=0, frame_bytes=_WHOLE)


def outgoing(frame: Frame) -> Outgoing:
    """What a frame holds."""
    return Outgoing(frame.tick, frame.sender, frame.receiver, frame.nth, frame.bodies())


def _rows(out: Outgoing, mask: NDArray[np.bool_]) -> Outgoing:
    if mask.all():
        return out
    rows = np.flatnonzero(mask)
    bodies = [out.bodies[row] for row in rows.tolist()]
    return Outgoing(out.tick, out.sender[rows], out.receiver[rows], out.nth[rows], bodies)
