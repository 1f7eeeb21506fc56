"""The parts of a world that ask the model as a tick ends: what they ask, and what they are answered. Pure.

One part after another is stepped as a turn is, and asks as many questions at once as it likes. Answers may come in any
order and in any grouping: a part goes on when it has all that it waits for.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Final

from populace.agents.consulting import Consultation
from populace.agents.context import Context, Draft, Scope
from populace.core.draws import WORLD
from populace.core.errors import ScenarioError
from populace.core.places import defined_at
from populace.core.records import Answer, Ask, AskAll, Counts
from populace.env import World
from populace.env.guarding import guard
from populace.env.part import Part
from populace.kernel.turn import read_answer

_ENDED: Final = object()


class Consulting:
    """The consultations of one tick's end. `scope` is what asks of this tick are made from.

    `asks` are those that were awaited, in the order of their `nth`, and `answers` how they ended; `emissions` are the
    parts' messages. `counts` has what was asked and how it ended, so far.
    """

    def __init__(self, world: World, scope: Scope) -> None:
        self.tick = scope.tick
        self.asks: list[Ask] = []
        self.emissions: list[tuple[int, Any]] = []
        self.counts = Counts()
        self._world = world
        self._draft = Draft()
        self._context = Context(WORLD, scope.tick, scope, self._draft)
        self._seed = scope.seed
        self._todo = list(world.consulting)
        self._part: Part | None = None
        self._coroutine: Coroutine[Any, Any, Any] | None = None
        self._awaited: Ask | AskAll | None = None
        self._missing: set[int] = set()
        self._answers: dict[int, tuple[Answer, Any]] = {}

    @property
    def ended(self) -> bool:
        """Whether every part has ended its consultation."""
        return self._part is None and not self._todo

    @property
    def answers(self) -> list[Answer]:
        """How the asks ended, in their order."""
        return [self._answers[ask.nth][0] for ask in self.asks]

    def begin(self) -> list[Ask]:
        """Begin; gives what is to be asked first. Raises ScenarioError, naming the part, where it fails."""
        return self._go_on(None)

    def answer(self, answers: Sequence[Answer]) -> list[Ask]:
        """Take answers; gives what is to be asked next. What comes twice, or for no ask of these, changes nothing."""
        by_nth = {ask.nth: ask for ask in self._open()}
        for answer in answers:
            if answer.agent == WORLD and answer.tick == self.tick and answer.nth in self._missing:
                ask = by_nth[answer.nth]
                answer, value = read_answer(ask, answer)
                self._missing.remove(answer.nth)
                self._answers[answer.nth] = answer, value
                self.counts.settle([(answer, ask.purpose)])
        if self._missing or self._awaited is None:
            return []
        values = [self._answers[ask.nth][1] for ask in self._open()]
        return self._go_on(values if isinstance(self._awaited, AskAll) else values[0])

    def close(self) -> None:
        """End the part's coroutine that waits."""
        if self._coroutine is not None:
            self._coroutine.close()

    def _open(self) -> list[Ask]:
        awaited = self._awaited
        return [] if awaited is None else awaited.asks if isinstance(awaited, AskAll) else [awaited]

    def _go_on(self, value: Any) -> list[Ask]:
        """Step parts until one asks something, or all have ended."""
        self._awaited = None
        while True:
            if self._part is None:
                if not self._todo:
                    return []
                self._begin(self._todo.pop(0))
                value = None
            effect = self._step(value)
            if effect is not _ENDED:
                return self._put(effect)

    def _begin(self, part: Part) -> None:
        self._part = part
        where = f"part '{part.name}', consult"
        coroutine = guard(where, part.consult, Consultation(part.name, self._seed, self._context))
        if not isinstance(coroutine, Coroutine):
            raise ScenarioError(f"{where} ({defined_at(part.consult)}): write it as `async def consult(self, ctx)`")
        self._coroutine = coroutine

    def _step(self, value: Any) -> object:
        """Resume the part; what it awaits, or `_ENDED`."""
        part, coroutine = self._part, self._coroutine
        assert part is not None
        assert coroutine is not None
        where = f"part '{part.name}', consult"
        try:
            effect: object = guard(where, coroutine.send, value, passing=StopIteration)
        except StopIteration as end:
            self._part = self._coroutine = None
            if self._draft.pending:
                raise ScenarioError(
                    f"{where} ({defined_at(part.consult)}): {len(self._draft.pending)} ask(s) made and never awaited: "
                    "write `await ctx.ask(...)`, or give them to `await ctx.ask_all([...])`"
                ) from None
            self.emissions += self._world.messages(where, part.consult, end.value)
            return _ENDED
        return effect

    def _put(self, effect: object) -> list[Ask]:
        """What is to be asked for an effect. Raises ScenarioError where it is none of this consultation's."""
        part = self._part
        assert part is not None
        asks = effect.asks if isinstance(effect, AskAll) else [effect] if isinstance(effect, Ask) else []
        pending = {one.nth: one for one in self._draft.pending if isinstance(one, Ask)}
        if not asks or any(pending.pop(ask.nth, None) is not ask for ask in asks):
            self.close()
            raise ScenarioError(
                f"part '{part.name}', consult ({defined_at(part.consult)}): it may await its own ctx.ask and "
                f"ctx.ask_all only, each ask once; this awaited something else, which yielded a {type(effect).__name__}"
            )
        assert isinstance(effect, Ask | AskAll)
        self._draft.pending = list(pending.values())
        self._awaited = effect
        self._missing = {ask.nth for ask in asks}
        self.asks += asks
        self.counts.asked += len(asks)
        return list(asks)
