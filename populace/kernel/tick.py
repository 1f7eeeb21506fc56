"""One open tick of a shard: who is due, which turns wait for what, and what the turns came to.

Results may come in any order and in any grouping; what the tick comes to does not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from itertools import repeat
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from populace.agents.agent import Agent
from populace.agents.context import NOTHING, Context, Scope
from populace.core.claims import Claim
from populace.core.errors import OutsideInfluence
from populace.core.records import Answer, Ask, Counts, Look, Message
from populace.core.roster import Roster
from populace.core.rounds import Closed, Contribution, Heard
from populace.kernel.archetypes import Archetypes
from populace.kernel.bus import Mail, unpack_body
from populace.kernel.columnar_tick import ColumnarTick
from populace.kernel.committed import ANSWERED, STRIDE, Committed, Ended
from populace.kernel.events import (
    Answered,
    AskModel,
    Attended,
    ClaimAsks,
    Effect,
    Event,
    HeardRounds,
    Looked,
    LookWorld,
    Proceed,
    Seen,
    TellRounds,
)
from populace.kernel.influence import Influence, beyond
from populace.kernel.public_fields import FieldsByType, PublicFields
from populace.kernel.standing_in import StandIns
from populace.kernel.turn import Turn, read_answer

FIRST_ASKS: Final = 32
ASKS: Final = 128
"""After how many asks they go out, the first of a tick and later ones, while more turns are to begin: so their answers
come while later ones are asked. Each time costs as much as some ten turns of an instant model."""
LOOKS: Final = 2048
"""How many looks go to the world at once, while more turns are to begin: each such batch costs a way there and back."""

_NOTHING_YET: Final = Heard(-1, -1, "failed")

Known: TypeAlias = tuple[int, int, dict[str, Any]]
"""Which look of some, which of the agents that it names, and that agent's public fields as of the start of a tick."""


class Tick:
    """Drives the turns of one tick, at most `live_turns` at once.

    `due` are the agents that take a turn, sorted; the agent `i` is `agents[i // shards]`. `scope` is what the turns
    read of their tick. Where they see something of the world, no turn begins before `Seen`, and where its parts hold
    `rounds`, none before `Attended`. Turns that wait in a round are alive beside the others: those of a group wait for
    one another, and all of them have to be there. With `keep_asks` what was asked is kept for the table. `counts` are
    the tick's so far. Turns keep to `influence`, where there is one. `columns` are the turns of columnar types.

    Of a tick that is not open yet turns may begin one by one (`begin`, see `kernel.ahead`): then it has nobody due and
    no mail until `open`. `elsewhere` counts turns of the shard that are alive in other ticks.
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
        keep_asks: bool,
        counts: Counts,
        influence: Influence | None = None,
        columns: ColumnarTick | None = None,
    ) -> None:
        self.scope = scope
        self.due = due
        self.elsewhere = 0
        self.known: Callable[[int, Sequence[Look]], list[Known]] | None = None
        """Gives what looks are to read otherwise than the world may have it."""
        self.mail = mail
        self.counts = counts
        self.finished = Ended(fields, keep_asks=keep_asks)
        self._todo = due
        self._influence = influence
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
        self._known: dict[int, list[Known]] = {}
        """By batch of looks, what is read as of the tick's start, whatever the world replies."""
        self._unattended = rounds and bool(due)
        self._members: frozenset[int] = frozenset()
        self._exchanging: dict[int, Turn] = {}
        self._said: list[Contribution] = []
        self._left: list[int] = []
        self.archetypes = Archetypes(scope.seed, scope.tick, scope.roster)
        self.columns = ColumnarTick({}, Roster({}), scope) if columns is None else columns
        self._claims: list[Claim] = []
        self.stand_ins: StandIns | None = None
        self._ready: list[tuple[Turn, Answer, Any]] = []
        """Turns whose answer is there already."""
        self._early = 0
        """How many turns began before the tick was open."""

    @property
    def number(self) -> int:
        """Which tick it is."""
        return self.scope.tick

    @property
    def ended(self) -> bool:
        """Whether all turns have ended."""
        return len(self.finished) == len(self.due) and self.columns.ended

    @property
    def turns_due(self) -> int:
        """How many agents take a turn in the open tick."""
        return len(self.due) + self.columns.turns_due

    @property
    def turns_ended(self) -> int:
        """How many turns have ended; those in columns all at once."""
        return len(self.finished) + (self.columns.turns_due if self.columns.ended else 0)

    @property
    def sharing(self) -> bool:
        """Whether turns wait for answers to what another shard asks."""
        return self.columns.sharing or self.archetypes.elsewhere

    @property
    def turns_alive(self) -> int:
        """How many turns have begun and not ended."""
        return self._next + self._early - len(self.finished)

    @property
    def turns_to_begin(self) -> int:
        """How many turns of the open tick are still to begin."""
        return len(self._todo) - self._next

    @property
    def exchanging(self) -> bool:
        """Whether any turn waits in a round."""
        return bool(self._exchanging)

    def begin(self, agent: int, inbox: Sequence[Message]) -> None:
        """Begin the turn of an agent before the tick is open."""
        self._early += 1
        one = self._agents[agent // self._shards]
        turn = Turn(one, agent, self.scope.tick, inbox, self._fields.read(one))
        self._file(turn, turn.begin(Context(agent, turn.tick, self.scope, turn, inbox)))
        if self._ready:
            self._step_ready()

    def begin_columns(self, name: str, called: NDArray[np.int32], mail: Mail) -> None:
        """Begin the turns of a columnar type before the tick is open; see `ColumnarTick.begin_early`."""
        self._claims += self.columns.begin_early(name, called, mail)

    def number_batches(self, first: int) -> None:
        """Number batches of looks from here on."""
        self._batches = first

    def open(self, due: list[int], begun: Container[int], mail: Mail, counts: Counts) -> None:
        """The tick opens: these agents take a turn in it, and those who have `begun` do so already."""
        counts.add(self.counts)
        self.due, self.mail, self.counts = due, mail, counts
        self._todo = [one for one in due if one not in begun]

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
                    for row, at, fields in self._known.pop(batch, ()):
                        if isinstance(values[row], dict):
                            for name, column in values[row].items():
                                column[at] = fields[name]
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
        return self._effects()

    def go_on_with(self, answered: Sequence[tuple[Turn, Answer, Any]]) -> list[Effect]:
        """Go on with turns that asked together with others, each with its own answer; gives effects as `handle`."""
        self._ready += answered
        return self._effects()

    def go_on(self) -> list[Effect]:
        """What the turns that have begun want to be asked."""
        return self._effects()

    def _effects(self) -> list[Effect]:
        effects = [] if self._blind or self._unattended else self._go_on()
        if self._settled:  # what surrogates answered
            self.counts.settle(self._settled)
            self._settled.clear()
        self.finished.put_down(min(ANSWERED, STRIDE) if self._waiting else STRIDE)
        return effects

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
        if ask.surrogate and self.stand_ins is not None:
            self.stand_ins.told(ask, answer, value)
        self._settled.append((answer, ask.purpose))
        turn.answers.append(answer)  # type: ignore[union-attr]
        self._file(turn, turn.step(value))

    def _go_on(self) -> list[Effect]:
        due, room = self._todo, self._live_turns - self.elsewhere - sum(map(len, self._looking.values()))
        end = self._next if self._proceeding else min(len(due), self._next + STRIDE)
        self._step_ready()
        most = ASKS if self._waiting else FIRST_ASKS
        while len(self._asks) < most and (some := min(end - self._next, room - self._turns_waiting)) > 0:
            if not self._next or self._waiting:
                some = min(some, most)
            start, self._next = self._next, self._next + some
            self._begin(due[start : start + some], None if self._seen is None else self._seen[start : start + some])
        effects: list[Effect] = []
        more = not self._proceeding and self._next < len(due) and (self._next == end or len(self._asks) >= most)
        if self._looks and (len(self._looks) >= LOOKS or not (more or self._proceeding)):
            self._batches += 1
            self._looking[self._batches] = self._lookers
            if self.known is not None and (known := self.known(self.scope.tick, self._looks)):
                self._known[self._batches] = known
            effects.append(LookWorld(self._batches, self._looks))
            self._looks, self._lookers = [], []
        if self._asks:
            effects.append(AskModel(self._asks))
            self._asks = []
        if claims := self.archetypes.claims() + self._claims:
            self._claims = []
            effects.append(ClaimAsks(claims, self.number))
        if self._said or self._left:
            effects.append(TellRounds(self._said, self._left))
            self._said, self._left = [], []
        if more:
            self._proceeding = True
            effects.append(Proceed())
        return effects

    @property
    def _turns_waiting(self) -> int:
        """How many turns wait for the model or the world, but for looks that are on their way."""
        return len(self._waiting) + len(self._lookers) + self.archetypes.waiting

    def _begin(self, ids: Sequence[int], seen: Sequence[Mapping[str, Any]] | None) -> None:
        """Begin the turns of these agents, each of whom sees this."""
        agents, shards, number, scope = self._agents, self._shards, self.scope.tick, self.scope
        own = [agents[one // shards] for one in ids]
        inboxes = list(map(self.mail.inbox, ids))
        turns = list(map(Turn, own, ids, repeat(number), inboxes, self._fields.read_all(own)))
        contexts = map(
            Context, ids, repeat(number), repeat(scope), turns, inboxes, repeat(NOTHING) if seen is None else seen
        )
        ended = None if self._influence is not None or self._members else self.finished.add
        for turn, context in zip(turns, contexts, strict=True):
            effect = turn.begin(context)
            if effect is None and ended is not None:
                ended(turn)
            else:
                self._file(turn, effect)
                if self._ready:
                    self._step_ready()

    def _file(self, turn: Turn, effect: Ask | Look | Contribution | None) -> None:
        """Put a turn with those that wait for the same."""
        if effect is None:
            if self._influence is not None and turn.to and turn.failure is None:
                self._keep_to(self._influence, turn)
            self.finished.add(turn)
            if self._members and turn.id in self._members:
                self._left.append(turn.id)
        elif type(effect) is Ask:
            if effect.again >= 0:
                self._join(turn, effect)
                return
            if effect.surrogate and self._stood_in(turn, effect):
                return
            self._waiting[turn.id] = turn
            self._asks.append(effect)
        elif type(effect) is Look:
            if self._influence is not None and (why := self._influence.unread(effect)) is not None:
                turn.close()
                turn.fail(OutsideInfluence(why))
                self._file(turn, None)
                return
            self._lookers.append(turn)
            self._looks.append(effect)
        else:
            self._contribute(turn, effect)  # type: ignore[arg-type]

    def _keep_to(self, influence: Influence, turn: Turn) -> None:
        """Fail a turn that has sent to one whom it does not influence by the society's declaration."""
        stray = influence.strays(turn.id, turn.to)
        if stray is not None:
            turn.fail(beyond(turn.id, stray))

    def _join(self, turn: Turn, ask: Ask) -> None:
        """A turn asks together with others."""
        turn.joined += 1
        answered = self.archetypes.join(turn, ask)
        if answered is not None:
            self._ready.append((turn, *answered))

    def _stood_in(self, turn: Turn, ask: Ask) -> bool:
        """Whether a surrogate answers in the model's place."""
        answered = None if self.stand_ins is None else self.stand_ins.take(ask)
        if answered is None:
            return False
        self._settled.append((answered[0], ask.purpose))
        self._ready.append((turn, *answered))
        return True

    def _step_ready(self) -> None:
        """Go on with the turns that need not wait for the model."""
        while self._ready:
            turn, answer, value = self._ready.pop()
            turn.answers.append(answer)  # type: ignore[union-attr]
            self._file(turn, turn.step(value))

    def _contribute(self, turn: Turn, contribution: Contribution) -> None:
        if turn.exchanged is None:
            turn.exchanged = []
        contribution.nth = len(turn.exchanged)
        turn.exchanged.append((contribution, _NOTHING_YET))
        self._exchanging[turn.id] = turn
        self._said.append(contribution)

    def commit(self) -> Committed:
        """What the turns came to, once all have ended."""
        return self.finished.commit()

    def drop(self) -> None:
        """End the turns that are alive; nothing is committed."""
        for turn in self.live():
            turn.close()
        self.columns.drop()

    def live(self) -> list[Turn]:
        """The turns that wait for something."""
        looking = (turn for batch in self._looking.values() for turn in batch)
        ready = (turn for turn, _, _ in self._ready)
        together = (*ready, *self.archetypes.live())
        return [*self._waiting.values(), *self._lookers, *looking, *self._exchanging.values(), *together]

    def validate(self) -> None:
        """Raise AssertionError where the tick's state contradicts itself."""
        assert 0 <= self._next <= len(self._todo)
        assert all(turn.coroutine is not None for turn in self._waiting.values())
        assert len(self.live()) + len(self.finished) == self._next + self._early, "a turn was lost"
