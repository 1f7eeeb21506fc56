"""What shards tell one another of turns that have ended, where turns begin before their tick is open. Pure.

A notice says that agents have a tick behind them, and brings with it what those whom they influence on the other shard
may read of it: their messages and public fields. It goes to that shard as it is made, beside the frames that the tick's
end hands over. What a turn rests on is checked against those frames, so one that comes late, twice, in another order or
not at all changes when turns begin and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.kernel.bus import Frame
from populace.kernel.columnar_tick import Came
from populace.kernel.units import Units

Ids = NDArray[np.int32]


class Said(msgspec.Struct, frozen=True, array_like=True):
    """A message of a turn that has ended; `body` is packed."""

    tick: int
    sender: int
    nth: int
    receiver: int
    body: bytes


class Notice(msgspec.Struct, frozen=True, array_like=True):
    """From shard `source` to `destination`, the `number`th in the source's `attempt`, from 0.

    `ended` says by tick which units (`kernel.units`; int32, little-endian) have it behind them; `said` is what turns of
    theirs sent to agents of the destination, `posted` what turns in columns did, as packed frames; `shown` has (tick,
    agent, public fields by name) of those who took a turn, of agents in columns of those who changed.
    """

    source: int
    destination: int
    attempt: int
    number: int
    ended: list[tuple[int, bytes]]
    said: list[Said]
    shown: list[tuple[int, int, dict[str, float | int | str | bool]]]
    posted: list[bytes] = []

    def ids(self) -> Iterable[tuple[int, Ids]]:
        """By tick, who has it behind them."""
        return ((tick, np.frombuffer(packed, "<i4")) for tick, packed in self.ended)


class Outbox:
    """What a shard has to tell the others: of those of its `units` who influence somebody there, and only those."""

    def __init__(self, units: Units, attempt: int) -> None:
        self._index = units.index
        self._shards = units.shards
        self._attempt = attempt
        self._numbers = [0] * units.shards
        others = [shard for shard in range(units.shards) if shard != units.index]
        every = {shard: units.reaching(shard) for shard in others}
        self._reaching: dict[int, NDArray[np.bool_]] = {shard: mask for shard, mask in every.items() if mask.any()}
        """By destination, which units influence somebody there."""
        self._read = {shard: units.read_on(shard) for shard in self._reaching} if units.names else {}
        """By destination, which agents in columns are read there."""
        self._posted: dict[int, list[bytes]] = {}
        self._ended: dict[int, list[tuple[int, bytes]]] = {}
        self._said: dict[int, list[Said]] = {}
        self._shown: dict[int, list[tuple[int, int, dict[str, Any]]]] = {}

    def show(self, tick: int, agent: int, fields: dict[str, Any]) -> None:
        """An agent's public fields after its turn."""
        for destination, mask in self._reaching.items():
            if mask[agent]:
                self._shown.setdefault(destination, []).append((tick, agent, fields))

    def say(self, tick: int, sender: int, nth: int, receiver: int, body: bytes) -> None:
        """A message to an agent of another shard."""
        self._said.setdefault(receiver % self._shards, []).append(Said(tick, sender, nth, receiver, body))

    def post(self, frames: Sequence[Frame]) -> None:
        """Messages in columns to agents of other shards."""
        for frame in frames:
            self._posted.setdefault(frame.destination, []).append(frame.pack())

    def show_columns(self, tick: int, came: Came) -> None:
        """Public fields after turns in columns."""
        for destination, mask in self._read.items():
            shown = [(tick, agent, fields) for agent, fields in came.shown(mask)]
            if shown:
                self._shown.setdefault(destination, []).extend(shown)

    def end(self, tick: int, ids: Ids) -> None:
        """These units have a tick behind them, and what their turns made was told before."""
        for destination, mask in self._reaching.items():
            those = ids[mask[ids]]
            if len(those):
                self._ended.setdefault(destination, []).append((tick, those.astype("<i4", copy=False).tobytes()))

    def take(self) -> list[Notice]:
        """What there is to tell, a notice a shard."""
        found = []
        for destination, ended in self._ended.items():
            said, shown = self._said.pop(destination, []), self._shown.pop(destination, [])
            posted = self._posted.pop(destination, [])
            number = self._numbers[destination]
            self._numbers[destination] = number + 1
            found.append(Notice(self._index, destination, self._attempt, number, ended, said, shown, posted))
        self._ended = {}
        return found


class Heard:
    """Which notices have come, of each shard: each counts once."""

    def __init__(self, index: int, attempt: int) -> None:
        self._index = index
        self._attempt = attempt
        self._up_to: dict[int, int] = {}
        """By source, before which number all have come."""
        self._later: dict[int, set[int]] = {}

    def new(self, notices: Sequence[Notice]) -> list[Notice]:
        """Those that are meant for this shard, of this attempt, and have not come before."""
        return [one for one in notices if self._is_new(one)]

    def _is_new(self, notice: Notice) -> bool:
        if notice.attempt != self._attempt or notice.destination != self._index:
            return False
        source, number = notice.source, notice.number
        up_to, later = self._up_to.get(source, 0), self._later.setdefault(source, set())
        if number < up_to or number in later:
            return False
        later.add(number)
        while up_to in later:
            later.remove(up_to)
            up_to += 1
        self._up_to[source] = up_to
        return True
