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

from populace.kernel.influence import Influence

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

    `ended` says by tick which agents (int32, little-endian) have it behind them; `said` is what their turns sent to
    agents of the destination; `shown` has (tick, agent, public fields by name) of those who took a turn.
    """

    source: int
    destination: int
    attempt: int
    number: int
    ended: list[tuple[int, bytes]]
    said: list[Said]
    shown: list[tuple[int, int, dict[str, float | int | str | bool]]]

    def ids(self) -> Iterable[tuple[int, Ids]]:
        """By tick, who has it behind them."""
        return ((tick, np.frombuffer(packed, "<i4")) for tick, packed in self.ended)


class Outbox:
    """What shard `index` of `shards` has to tell the others: of agents who influence somebody there, and only those."""

    def __init__(self, influence: Influence, index: int, shards: int, attempt: int) -> None:
        self._index = index
        self._shards = shards
        self._attempt = attempt
        self._numbers = [0] * shards
        of = np.repeat(np.arange(influence.agents, dtype=np.int32), np.diff(influence.offsets))
        own = influence.by % shards == index
        self._reaching: dict[int, NDArray[np.bool_]] = {}
        """By destination, which agents influence somebody there."""
        for destination in range(shards):
            if destination != index:
                mask = np.zeros(influence.agents, np.bool_)
                mask[influence.by[own & (of % shards == destination)]] = True
                if mask.any():
                    self._reaching[destination] = mask
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

    def end(self, tick: int, ids: Ids) -> None:
        """These agents have a tick behind them, and what their turns made was told before."""
        for destination, mask in self._reaching.items():
            those = ids[mask[ids]]
            if len(those):
                self._ended.setdefault(destination, []).append((tick, those.astype("<i4", copy=False).tobytes()))

    def take(self) -> list[Notice]:
        """What there is to tell, a notice a shard."""
        found = []
        for destination, ended in self._ended.items():
            said, shown = self._said.pop(destination, []), self._shown.pop(destination, [])
            number = self._numbers[destination]
            self._numbers[destination] = number + 1
            found.append(Notice(self._index, destination, self._attempt, number, ended, said, shown))
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
