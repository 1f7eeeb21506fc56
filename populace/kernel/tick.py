"""One open tick of a shard: who is due, which turns wait for what, and what the turns came to.

Results may come in any order and in any grouping; what the tick comes to does not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.agents.agent import Agent
from populace.agents.context import NOTHING, Scope
from populace.core.records import Answer, Ask, Counts, Look
from populace.core.rounds import Closed, Contribution, Heard
from populace.core.trace import DIGEST_BYTES
from populace.kernel.bus import Mail, unpack_body
from populace.kernel.events import (
    Answered,
    AskModel,
    Attended,
    Effect,
    Event,
    HeardRounds,
    Looked,
    LookWorld,
    Proceed,
    Seen,
    TellRounds,
)
from populace.kernel.public_fields import FieldsByType, PublicFields
from populace.kernel.turn import Failure, Turn, read_answer, said_of

_encode: Final = msgspec.msgpack.Encoder().encode
_by_id: Final = attrgetter("id")

STRIDE: Final = 256
"""How many turns are begun before others have their say: `Proceed` asks for the next ones."""


class Committed(msgspec.Struct, frozen=True):
    """What the turns of a tick came to, in the order of their agents.

    `agents` is int32 and `digests` has 16 bytes for each, BLAKE2b over what its turn committed. `fields` are the
    public fields of `agents` by type, `sent` holds (sender, receivers, bodies) of those that sent or acted, `wakes`
    (tick, agent); `asks` counts what was asked, and `contributed` what was contributed to rounds.
    """

    turns: list[Turn]
    agents: NDArray[np.int32]
    digests: bytes
    fields: dict[str, dict[str, list[Any]]]
    sent: list[tuple[int, list[int], list[bytes]]]
    wakes: list[tuple[int, int]]
    failures: list[Failure]
    asks: int
    contributed: int


_NOTHING_YET: Final = Heard(-1, -1, "failed")


class Tick:
    """Drives the turns of one tick, at most `live_turns` at once.

    `due` are the agents that take a turn, sorted; the agent `i` is `agents[i // shards]`. `scope` is what the turns
    read of their tick. Where they see something of the world, no turn begins before `Seen`, and where its parts hold
    `rounds`, none before `Attended`. Turns that wait in a round are alive beside the others: those of a group wait for
    one another, and all of them have to be there. `counts` are the tick's so far.
    """

    def __init__(
        self,
        scope: Scope,
        due: list[int],
        mail: Mail,
        agents: Sequence[Agent],
        *,
        shards: int,
        live_turns: int,
        observes: bool,
        rounds: bool,
        fields: PublicFields | FieldsByType,
        counts: Counts,
    ) -> None:
        self.scope = scope
        self.due = due
        self.mail = mail
        self.counts = counts
        self.finished: list[Turn] = []
        self._agents = agents
        self._shards = shards
        self._live_turns = live_turns
        self._fields = fields
        self._blind = observes and bool(due)
        self._seen: Sequence[dict[str, Any]] | None = None
        self._next = 0
        self._proceeding = False
        self._waiting: dict[int, Turn] = {}
        self._looking: dict[int, list[Turn]] = {}
        self._batches = 0
        self._asks: list[Ask] = []
        self._settled: list[tuple[Answer, str]] = []
        self._looks: list[Look] = []
        self._lookers: list[Turn] = []
        self._unattended = rounds and bool(due)
        self._members: frozenset[int] = frozenset()
        self._exchanging: dict[int, Turn] = {}
        self._said: list[Contribution] = []
        self._left: list[int] = []

    @property
    def number(self) -> int:
        """Which tick it is."""
        return self.scope.tick

    @property
    def ended(self) -> bool:
        """Whether all turns have ended."""
        return len(self.finished) == len(self.due)

    @property
    def exchanging(self) -> bool:
        """Whether any turn waits in a round."""
        return bool(self._exchanging)

    def handle(self, event: Event) -> list[Effect]:
        """Take what has come, begin turns while there is room; gives what all of them want to be asked.

        What comes twice, or for no turn of this tick, changes nothing.
        """
        match event:
            case Answered(answers):
                try:
                    for answer in answers:
                        self._answer(answer)
                finally:  # what was paid for counts, even where an interrupt ends this
                    self.counts.settle(self._settled)
                    self._settled.clear()
            case Looked(batch, values):
                if batch in self._looking:
                    for turn, value in zip(self._looking.pop(batch), values, strict=True):
                        self._file(turn, turn.step(value))
            case Seen(values):
                if self._blind:
                    self._seen, self._blind = values, False
            case Attended(members):
                if self._unattended:
                    self._members, self._unattended = frozenset(members.tolist()), False
            case HeardRounds(heard):
                for one in heard:
                    self._hear(one)
            case Proceed():
                self._proceeding = False
        return [] if self._blind or self._unattended else self._go_on()

    def _hear(self, heard: Heard) -> None:
        """Hand what came of a contribution to the turn that waits for it."""
        turn = self._exchanging.get(heard.agent)
        if turn is None or turn.exchanged[-1][0].nth != heard.nth:  # type: ignore[index]
            return
        del self._exchanging[heard.agent]
        exchanged: Any = turn.exchanged
        exchanged[-1] = (exchanged[-1][0], heard)
        value: Any
        if heard.fate == "heard":
            value = unpack_body(heard.body)
        else:
            value = Closed(heard.reason) if heard.fate == "closed" else LookupError(heard.reason)
        self._file(turn, turn.step(value))

    def _answer(self, answer: Answer) -> None:
        """Hand an answer to the turn that waits for it."""
        turn = self._waiting.get(answer.agent)
        if turn is None or answer.tick != self.scope.tick:
            return
        ask = turn.asks[-1]  # type: ignore[index]
        if ask.nth != answer.nth:
            return
        del self._waiting[answer.agent]
        answer, value = read_answer(ask, answer)
        self._settled.append((answer, ask.purpose))
        turn.answers.append(answer)  # type: ignore[union-attr]
        self._file(turn, turn.step(value))

    def _go_on(self) -> list[Effect]:
        due, room = self.due, self._live_turns - sum(map(len, self._looking.values()))
        agents, shards, scope, inbox, seen = self._agents, self._shards, self.scope, self.mail.inbox, self._seen
        number, read = scope.tick, self._fields.read
        end = self._next if self._proceeding else min(len(due), self._next + STRIDE)
        while self._next < end and len(self._waiting) + len(self._lookers) < room:
            at = self._next
            self._next = at + 1
            id = due[at]  # noqa: A001
            agent = agents[id // shards]
            turn = Turn(agent, id, number, inbox(id), read(agent))
            self._file(turn, turn.begin(scope, NOTHING if seen is None else seen[at]))
        effects: list[Effect] = []
        if self._looks:
            self._batches += 1
            self._looking[self._batches] = self._lookers
            effects.append(LookWorld(self._batches, self._looks))
            self._looks, self._lookers = [], []
        if self._asks:
            effects.append(AskModel(self._asks))
            self._asks = []
        if self._said or self._left:
            effects.append(TellRounds(self._said, self._left))
            self._said, self._left = [], []
        if not self._proceeding and self._next == end < len(due):
            self._proceeding = True
            effects.append(Proceed())
        return effects

    def _file(self, turn: Turn, effect: Ask | Look | Contribution | None) -> None:
        """Put a turn with those that wait for the same."""
        if effect is None:
            self.finished.append(turn)
            if self._members and turn.id in self._members:
                self._left.append(turn.id)
        elif type(effect) is Ask:
            self._waiting[turn.id] = turn
            self._asks.append(effect)
        elif type(effect) is Look:
            self._lookers.append(turn)
            self._looks.append(effect)
        else:
            self._contribute(turn, effect)  # type: ignore[arg-type]

    def _contribute(self, turn: Turn, contribution: Contribution) -> None:
        if turn.exchanged is None:
            turn.exchanged = []
        contribution.nth = len(turn.exchanged)
        turn.exchanged.append((contribution, _NOTHING_YET))
        self._exchanging[turn.id] = turn
        self._said.append(contribution)

    def commit(self) -> Committed:
        """What the turns came to, once all have ended."""
        turns = sorted(self.finished, key=_by_id)
        fields, rows = self._fields.report(turns)
        digests: list[bytes] = []
        sent: list[tuple[int, list[int], list[bytes]]] = []
        wakes: list[tuple[int, int]] = []
        failures: list[Failure] = []
        asks = contributed = 0
        for turn, row in zip(turns, rows, strict=True):
            said: Any = ()
            if turn.asks is not None:
                asks += len(turn.asks)
                said = said_of(turn.asks, turn.answers)  # type: ignore[arg-type]
            committed: Any
            if turn.failure is not None:
                failures.append(turn.failure)
                committed = (turn.id, turn.failure.error, said, row)
            else:
                committed = (turn.id, turn.to, turn.bodies, said, row)
                if turn.to:
                    sent.append((turn.id, turn.to, turn.bodies))
                if turn.wakes is not None:
                    wakes += [(tick, turn.id) for tick in turn.wakes]
            if turn.exchanged is not None:
                contributed += len(turn.exchanged)
                committed = (*committed, list(map(_exchanged, turn.exchanged)))
            digests.append(blake2b(_encode(committed), digest_size=DIGEST_BYTES).digest())
        agents = np.fromiter((turn.id for turn in turns), np.int32, len(turns))
        return Committed(turns, agents, b"".join(digests), fields, sent, wakes, failures, asks, contributed)

    def drop(self) -> None:
        """End the turns that are alive; nothing is committed."""
        for turn in self.live():
            turn.close()

    def live(self) -> list[Turn]:
        """The turns that wait for something."""
        looking = (turn for batch in self._looking.values() for turn in batch)
        return [*self._waiting.values(), *looking, *self._exchanging.values()]

    def validate(self) -> None:
        """Raise AssertionError where the tick's state contradicts itself."""
        assert 0 <= self._next <= len(self.due)
        assert all(turn.coroutine is not None for turn in self._waiting.values())
        assert len(self.live()) + len(self._lookers) + len(self.finished) == self._next, "a turn was lost"


def _exchanged(one: tuple[Contribution, Heard]) -> tuple[str, str | int | None, bytes, str, bytes, str]:
    """What stands in the trace of a contribution and of what came of it."""
    said, heard = one
    return said.part, said.group, said.body, heard.fate, heard.body, heard.reason
