"""What a turn reads that begins before its tick is open: an inbox of its own, in the fair order. Pure.

A shard's mail of a tick is put in order as a whole once the tick opens (`kernel.bus.Mail`). Turns that begin early do
so a few at a time, of few messages each, for which plain integers are several times as fast as arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, overload

from populace.core.records import Message
from populace.kernel.bus import NO_MAIL, unpack_body
from populace.kernel.order import fair_lots

Letter: TypeAlias = tuple[int, int, bytes]
"""A message to an agent: its sender, which of the sender's it is, and its packed body."""


class EarlyInbox(Sequence[Message]):
    """One agent's messages in their order, as (sender, packed body); decoded as they are read."""

    __slots__ = ("_letters", "_tick")

    def __init__(self, tick: int, letters: list[tuple[int, bytes]]) -> None:
        self._tick = tick
        self._letters = letters

    def __len__(self) -> int:
        return len(self._letters)

    def __iter__(self) -> Iterator[Message]:
        tick = self._tick
        for sender, body in self._letters:
            yield Message(sender, tick, unpack_body(body))

    def packed(self) -> list[tuple[int, bytes]]:
        """Senders and bodies as they came, nothing decoded."""
        return self._letters

    @overload
    def __getitem__(self, at: int) -> Message: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Message]: ...
    def __getitem__(self, at: int | slice) -> Any:
        return list(self)[at]

    def __repr__(self) -> str:
        return f"EarlyInbox({list(self)!r})"


class EarlyMail:
    """Puts letters in the fair order of a run of `seed`; an inbox has room for so many messages."""

    def __init__(self, seed: int, inbox_messages: int) -> None:
        self._seed = seed
        self._most = inbox_messages
        self._lots: dict[int, Callable[[int, int], int]] = {}

    def inbox(self, tick: int, agent: int, letters: Sequence[Letter]) -> Sequence[Message]:
        """What an agent reads of these letters, which were sent in `tick`."""
        if not letters:
            return NO_MAIL
        if len(letters) == 1:
            return EarlyInbox(tick, [(letters[0][0], letters[0][2])])
        lot = self._lots.get(tick)
        if lot is None:
            lot = self._lots[tick] = fair_lots(self._seed, tick)
        rows = sorted((lot(sender, agent), sender, nth, body) for sender, nth, body in letters)
        return EarlyInbox(tick, [(row[1], row[3]) for row in rows[: self._most]])

    def forget(self, tick: int) -> None:
        """Nobody will read any more of what was sent in `tick`."""
        self._lots.pop(tick, None)
