"""What coroutine agents of one shard ask together in a tick: one ask for all who would ask the same. Pure.

Turns ask when they come to it, so an archetype is claimed when the first of them asks, and claimed again with more
agents as others do: the count is the whole one each time. Whoever asks after the answer has come has it at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from populace.agents.answers import Chosen
from populace.agents.archetypes import identity
from populace.core.claims import Claim
from populace.core.draws import Stream
from populace.core.records import Abstained, Answer, Ask
from populace.core.roster import Roster
from populace.kernel.turn import Turn, read_answer

Identity = tuple[int, int]
_NO_LIMIT: Final = 2**31 - 1
_encode: Final = msgspec.json.Encoder().encode


class _Archetype(msgspec.Struct):
    """An archetype on this shard: the ask as it is put, how many agents have asked, and who of them waits."""

    ask: Ask
    type: str
    again: int
    rows: int = 0
    claimed: int = 0
    waiting: list[tuple[Turn, Ask]] = []
    state: str = "new"
    """'new' until it is said who asks, then 'own' or 'elsewhere', and 'answered'."""
    answer: Answer | None = None


class Archetypes:
    """The archetypes of a shard's tick: turns join, and go on with an answer of their own each."""

    def __init__(self, seed: int, tick: int, roster: Roster | None) -> None:
        self._seed = seed
        self._tick = tick
        self._roster = roster
        self._known: dict[Identity, _Archetype] = {}
        self._unclaimed: dict[Identity, _Archetype] = {}
        """Those with agents that the world has not been told of."""
        self._early: list[Answer] = []
        self.waiting = 0

    @property
    def elsewhere(self) -> bool:
        """Whether turns wait for what another shard asks."""
        return any(one.state == "elsewhere" and one.waiting for one in self._known.values())

    def join(self, turn: Turn, ask: Ask) -> tuple[Answer, Any] | None:
        """A turn asks; what it is answered, where that is known."""
        of = "" if self._roster is None else self._roster.type_of(turn.id)
        name = identity(of, ask.purpose, ask.again, ask.key, ask.facts)
        one = self._known.get(name)
        if one is None:
            put = msgspec.structs.replace(ask, agent=name[0], nth=name[1])
            one = self._known[name] = _Archetype(put, of, ask.again)
        one.rows += 1
        self._unclaimed[name] = one
        if one.answer is not None:
            return self._own(ask, one.answer)
        one.waiting.append((turn, ask))
        self.waiting += 1
        return None

    def claims(self) -> list[Claim]:
        """What the world is to be told since the last time."""
        unclaimed, self._unclaimed = self._unclaimed, {}
        return [
            Claim(
                *name, one.type, one.ask.purpose, one.again, one.rows, _NO_LIMIT, one.ask.key, one.ask.messages,
                one.ask.facts, one.ask.model_role,
            )
            for name, one in unclaimed.items()
        ]  # fmt: skip

    def claimed(self, mine: Sequence[Identity], of: Sequence[Identity]) -> list[Ask]:
        """The world has said which of those that were claimed this shard asks: these. Twice changes nothing."""
        asks = []
        for name in of:
            one = self._known.get(name)
            if one is not None and one.state == "new":
                one.state = "own" if name in mine else "elsewhere"
                if one.state == "own":
                    asks.append(one.ask)
        return asks

    def answer(
        self, answers: Sequence[Answer], *, heard: bool
    ) -> tuple[list[tuple[Answer, str]], list[tuple[Turn, Answer, Any]]]:
        """Answers to what this shard asked, or with `heard` to what another did.

        Gives those that were waited for, as they count, with their purposes, and the turns that go on, each with how
        its ask ended and the value.
        """
        known: list[tuple[Answer, str]] = []
        going: list[tuple[Turn, Answer, Any]] = []
        for answer in answers:
            one = self._known.get((answer.agent, answer.nth))
            if one is None or answer.tick != self._tick:
                continue
            if heard and one.state == "new":
                self._early.append(answer)
            elif one.state == ("elsewhere" if heard else "own"):
                one.state = "answered"
                one.answer, _ = read_answer(one.ask, answer)
                known.append((one.answer, one.ask.purpose))
                waiting, one.waiting = one.waiting, []
                self.waiting -= len(waiting)
                going += [(turn, *self._own(ask, one.answer)) for turn, ask in waiting]
        return known, going

    def take_early(self) -> list[Answer]:
        """Answers that were heard before it was said who asks."""
        early, self._early = self._early, []
        return early

    def live(self) -> list[Turn]:
        """The turns that wait."""
        return [turn for one in self._known.values() for turn, _ in one.waiting]

    def _own(self, ask: Ask, answer: Answer) -> tuple[Answer, Any]:
        """An agent's own part of an archetype's answer: its label is drawn, where there are probabilities."""
        if answer.settled == "abstained":
            return answer, Abstained(answer.reason, answer.detail)  # type: ignore[arg-type]
        value = ask.spec.read(answer.text)
        if isinstance(value, Chosen) and value.probabilities:
            value = Chosen(own_label(value, ask.spec.labels, self._seed, ask), value.probabilities)
            answer = msgspec.structs.replace(answer, text=_encode(value).decode())
        return answer, value


def own_label(chosen: Chosen, labels: Sequence[str], seed: int, ask: Ask) -> str:
    """The label that an agent draws from the probabilities of what its archetype was answered."""
    told = chosen.probabilities or {}
    weights = [max(0.0, told.get(label, 0.0)) for label in labels]
    mark = Stream(seed, ask.agent, ask.tick, f"populace.ask/{ask.purpose}/{ask.again}").random() * sum(weights)
    total = 0.0
    for label, weight in zip(labels, weights, strict=True):
        total += weight
        if mark < total:
            return label
    return chosen.label
