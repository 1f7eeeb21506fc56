"""What an endpoint has answered so far, so that a refusal can be told from the end of all. Pure.

An ask that is refused for good says little while others of its kind are answered. Where none ever was, and the first
few that were put are all refused in the same way, no later one will do better: the run stops before it has played its
ticks with nothing. It is the first in the order of sending, since refusals are faster than answers. In the midst of a
run, an address or a key that was good is believed for longer than one refusal.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

FIRST: Final = 3
"""So many asks of a kind, the first that were put and all refused alike, end a run."""
FIRST_LONG: Final = 20
"""So many where they are refused for their length, which is each ask's own."""
IN_A_ROW: Final = 10
"""So many denials with no answer between them end a run that had answers."""


class History:
    """How the asks put to one endpoint ended, in one process.

    `answers` counts those it answered, `works` says whether it ever answered one.
    """

    def __init__(self) -> None:
        self.works = False
        self.answers = 0
        self._answered: set[Hashable] = set()
        self._first: dict[Hashable, dict[Hashable, Hashable]] = {}
        self._row = 0

    def begun(self, kinds: Sequence[Hashable], ask: Hashable) -> None:
        """An ask of these kinds is put."""
        for kind in kinds:
            if kind not in self._answered:
                first = self._first.setdefault(kind, {})
                if len(first) < FIRST_LONG:
                    first.setdefault(ask, None)

    def answered(self, kinds: Sequence[Hashable]) -> None:
        """An ask of these kinds was answered."""
        self.works = True
        self.answers += 1
        self._row = 0
        for kind in kinds:
            if kind not in self._answered:
                self._answered.add(kind)
                self._first.pop(kind, None)

    def left(self, kinds: Sequence[Hashable], ask: Hashable) -> None:
        """An ask ended in a way that says nothing of the others: a filter's refusal, a deadline."""
        for kind in kinds:
            self._first.get(kind, {}).pop(ask, None)

    def refused(self, kinds: Sequence[Hashable], how: Hashable, ask: Hashable, *, own: bool = False) -> bool:
        """An ask was refused for good; whether the first of one of its kinds all were, in this way.

        `own` says that the reason is this ask's own, as its length is.
        """
        need, ended = FIRST_LONG if own else FIRST, False
        for kind in kinds:
            first = self._first.get(kind, {})
            if ask in first:
                first[ask] = how
            begun = list(first.values())[:need]
            ended = ended or (kind not in self._answered and len(begun) == need and all(way == how for way in begun))
        return ended

    def denied(self) -> bool:
        """An endpoint that had answered denies its key, its model or its address; whether it goes on doing so."""
        self._row += 1
        return self._row >= IN_A_ROW
