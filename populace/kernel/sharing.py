"""The asks that agents put together in one tick, over all shards: who asks which archetype and was answered what. Pure.

An ask's identity follows from what it asks, so it does not matter which shard comes first: that one asks, through its
own model stack, and tells what it was answered; the others hear of it. Nobody waits for a shard that has yet to claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from populace.core.claims import Claim, too_many
from populace.core.draws import WORLD
from populace.core.errors import ScenarioError
from populace.core.records import Answer, Ask
from populace.core.tables import TableRows
from populace.kernel.rows import ask_rows

Identity = tuple[int, int]


class _Shared(msgspec.Struct):
    """An archetype. `asker` is the shard that asks; `rows` counts its agents by shard; others wait for the answer."""

    claim: Claim
    asker: int
    rows: dict[int, int]
    waiting: set[int] = set()
    answer: Answer | None = None


class Sharing:
    """The archetypes of one tick."""

    def __init__(self, tick: int) -> None:
        self.tick = tick
        self._shared: dict[Identity, _Shared] = {}
        self._per_call: dict[tuple[str, str, int], int] = {}
        self._out: dict[int, list[Answer]] = {}

    def claim(self, shard: int, claims: Sequence[Claim]) -> list[Identity]:
        """What a shard's agents want asked; gives those that the shard has to ask itself. Twice is as good as once.

        Raises ScenarioError for more archetypes of a purpose than it allows.
        """
        mine = []
        for one in claims:
            identity = one.agent, one.nth
            shared = self._shared.get(identity)
            if shared is None:
                call = one.type, one.purpose, one.again
                n = self._per_call[call] = self._per_call.get(call, 0) + 1
                if n > one.most:
                    raise ScenarioError(f"tick {self.tick}: {too_many(one.type, one.purpose, one.most)}")
                shared = self._shared[identity] = _Shared(one, shard, {})
            assert (shared.claim.key, shared.claim.facts) == (one.key, one.facts), "two asks have one identity"
            shared.rows[shard] = max(one.rows, shared.rows.get(shard, 0))  # an earlier count may come later
            if shared.asker == shard:
                mine.append(identity)
            elif shared.answer is None:
                shared.waiting.add(shard)
            else:
                self._out.setdefault(shard, []).append(shared.answer)
        return mine

    def tell(self, answers: Sequence[Answer]) -> None:
        """What those who ask were answered."""
        for answer in answers:
            shared = self._shared.get((answer.agent, answer.nth))
            if shared is None or shared.answer is not None or answer.tick != self.tick:
                continue
            shared.answer = answer
            for shard in shared.waiting:
                self._out.setdefault(shard, []).append(answer)
            shared.waiting = set()

    def take(self, shard: int) -> list[Answer]:
        """What a shard waited for and has come since the last time."""
        return self._out.pop(shard, [])

    def covered(self) -> list[Any]:
        """What stands in the trace of the tick's asks: what was asked for how many, and how it ended."""
        found = self._in_order()
        covered: list[Any] = []
        for one in found:
            answer, claim = _answer(one), one.claim
            silent = answer.settled == "abstained"
            covered.append(
                (claim.type, claim.purpose, sum(one.rows.values()), claim.key, silent, answer.reason, answer.text)
            )
        return covered

    def rows(self, first: int) -> TableRows:
        """The rows of the table of asks, of agent -1; `first` is the `nth` of the first one."""
        found = self._in_order()
        asks = [
            Ask(WORLD, self.tick, first + at, one.purpose, one.messages, None, 0, 0.0, one.key, one.facts,
                one.model_role)
            for at, one in enumerate(shared.claim for shared in found)
        ]  # fmt: skip
        rows = ask_rows(asks, [_answer(one) for one in found])
        rows["for_type"] = [one.claim.type for one in found]
        rows["stands_for"] = [sum(one.rows.values()) for one in found]
        return rows

    def __len__(self) -> int:
        return len(self._shared)

    def _in_order(self) -> list[_Shared]:
        """In an order that no shard and no answer has a say in."""
        return sorted(self._shared.values(), key=lambda one: (_readable(one.claim), one.claim.agent, one.claim.nth))


def _readable(claim: Claim) -> tuple[Any, ...]:
    return claim.type, claim.purpose, claim.again, claim.messages


def _answer(shared: _Shared) -> Answer:
    assert shared.answer is not None, "a shard ended its tick before it was answered"
    return shared.answer
