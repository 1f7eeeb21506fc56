"""What was said, and which conversations have ended: two rings of the newest rows, in columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.env.digest import RowDigests, join_digests
from populace.env.talk.conversation import Conversation, Line

_LINES: Final = ("conversation", "tick", "turn", "speaker", "private")
_ENDED: Final = ("conversation", "opened", "ended", "members", "turns", "lines", "first_to_agree")


class Ring:
    """The newest `keep` rows of int64 columns and one column of texts, with a list of ids to each row."""

    def __init__(self, name: str, columns: Sequence[str], keep: int) -> None:
        self.name = name
        self.keep = keep
        self.written = 0
        self._names = tuple(columns)
        self._rows = np.zeros((0, len(columns)), np.int64)
        self._texts: list[str] = []
        self._ids: list[tuple[int, ...]] = []
        self._digests: RowDigests | None = None

    def add(self, rows: Sequence[tuple[Sequence[int], str, Sequence[int]]]) -> None:
        """Append rows: numbers, a text, ids."""
        first = self.written
        for numbers, text, ids in rows:
            at = self.written % self.keep
            if at == len(self._texts):
                if at == len(self._rows):
                    more = min(self.keep, max(64, 2 * at)) - at
                    self._rows = np.concatenate((self._rows, np.zeros((more, len(self._names)), np.int64)))
                self._texts.append("")
                self._ids.append(())
            self._rows[at], self._texts[at], self._ids[at] = numbers, text, tuple(ids)
            self.written += 1
        if self._digests is not None:
            self._put(np.arange(max(first, self.written - self.keep), self.written))

    def kept(self) -> NDArray[np.int64]:
        """The kept rows' numbers, oldest first."""
        return np.arange(max(0, self.written - self.keep), self.written)

    def columns(self) -> dict[str, Any]:
        """The kept rows, oldest first: int64 columns by name, and the lists `texts` and `ids`."""
        slots = self.kept() % self.keep
        found: dict[str, Any] = {name: self._rows[slots, at] for at, name in enumerate(self._names)}
        found["texts"] = [self._texts[at] for at in slots.tolist()]
        found["ids"] = [list(self._ids[at]) for at in slots.tolist()]
        return found

    def where(self, name: str, value: int) -> list[tuple[dict[str, int], str, tuple[int, ...]]]:
        """The kept rows in which a column has this value, oldest first."""
        slots = self.kept() % self.keep
        found = slots[self._rows[slots, self._names.index(name)] == value].tolist()
        return [
            (dict(zip(self._names, self._rows[at].tolist(), strict=True)), self._texts[at], self._ids[at])
            for at in found
        ]

    def _put(self, numbers: NDArray[np.int64]) -> None:
        assert self._digests is not None
        slots = numbers % self.keep
        texts = [f"{','.join(map(str, self._ids[at]))}\0{self._texts[at]}" for at in slots.tolist()]
        self._digests.put(slots, numbers, *self._rows[slots].T, np.array(texts, object))

    def digest(self) -> bytes:
        """16 bytes over the kept rows; from the second on, by the rows that came."""
        if self._digests is None:
            self._digests = RowDigests(self.name, *self._names, "text")
            self._put(self.kept())
        return join_digests(self.keep, self.written, self._digests.digest())

    def state(self) -> dict[str, Any]:
        """The kept rows, oldest first."""
        slots = self.kept() % self.keep
        return {
            "written": self.written,
            "rows": self._rows[slots],
            "texts": [self._texts[at] for at in slots.tolist()],
            "ids": [list(self._ids[at]) for at in slots.tolist()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state of a ring with the same `keep`."""
        self._digests = None
        self.written = int(state["written"])
        slots = self.kept() % self.keep
        self._rows = np.zeros((len(slots), len(self._names)), np.int64)
        self._rows[slots] = state["rows"]
        self._texts, self._ids = [""] * len(slots), [()] * len(slots)
        for at, text, ids in zip(slots.tolist(), state["texts"], state["ids"], strict=True):
            self._texts[at], self._ids[at] = text, tuple(ids)


def lines_ring(keep: int) -> Ring:
    """Of lines: the text, and as ids those who heard it, the speaker first."""
    return Ring("lines", _LINES, keep)


def ended_ring(keep: int) -> Ring:
    """Of conversations that have ended: as the text the reason, as ids the members."""
    return Ring("ended", _ENDED, keep)


def line_row(talk: Conversation, tick: int, line: Line) -> tuple[Sequence[int], str, Sequence[int]]:
    """A line as a row of `lines_ring`."""
    return (talk.number, tick, line.turn, line.speaker, bool(line.to)), line.text, [line.speaker, *line.heard]


def ended_row(talk: Conversation, tick: int) -> tuple[Sequence[int], str, Sequence[int]]:
    """A conversation that has ended, as a row of `ended_ring`."""
    numbers = (talk.number, talk.tick, tick, len(talk.members), talk.turn, len(talk.spoke), talk.first_to_agree)
    return numbers, talk.over, talk.members
