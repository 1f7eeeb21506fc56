"""The turns of one columnar type in one tick, taken on a shard as a whole: what they ask, and what they leave. Pure.

`turns` that are a coroutine await `ctx.ask` only: the asks of the archetypes of this shard's agents. Answers may come
in any order; the coroutine goes on once all are there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.agents.activation import Activation
from populace.agents.archetypes import ArchetypeAsk
from populace.agents.columnar import ColumnarAgent, column_types, put_column
from populace.agents.columnar_context import ColumnarContext, Int32
from populace.agents.context import Scope
from populace.agents.held import held
from populace.core.claims import Claim
from populace.core.errors import ForeignAwaitable, NotAwaited, PopulaceError, ScenarioError
from populace.core.places import raised_at
from populace.core.records import Answer, Ask
from populace.env.digest import RowDigests
from populace.kernel.turn import read_answer

Columns = dict[str, NDArray[Any]]
Identity = tuple[int, int]
_ENDED: Final = object()


class Type:
    """The agents of one columnar type on a shard: `ids` (int32, sorted) of those who live, and a column a field.

    `columns` are as the turns that ended last left them; they are never changed in place. Where it `keeps`, what they
    were before each tick that changed them can be had until `forget`.
    """

    def __init__(
        self, kind: type[ColumnarAgent], public: Sequence[str], activation: Activation, ids: Int32, columns: Columns
    ) -> None:
        self.kind = kind
        self.public = tuple(public)
        self.types = column_types(kind)
        self.activation = activation
        self.ids = ids
        self.columns = columns
        self.keeps = False
        self._was: dict[int, tuple[Int32, Columns]] = {}
        self._took: tuple[Int32, NDArray[np.uint64]] = (ids[:0], np.zeros(2, np.uint64))

    def took_turns(self, name: str, ids: Int32) -> NDArray[np.uint64]:
        """What the rows of those who took a turn and show nothing come to in the digest, two words.

        It is kept for the next tick: most often these are the same.
        """
        if not np.array_equal(self._took[0], ids):
            rows = RowDigests(f"turns\0{name}")
            rows.add(ids)
            self._took = ids, rows.total()
        return self._took[1].copy()

    def rows_of(self, ids: Int32) -> NDArray[Any] | None:
        """Where these agents stand; None where they are all there are."""
        return None if len(ids) == len(self.ids) else self.ids.searchsorted(ids)

    def due(self, scope: Scope, called: Int32) -> Int32:
        """Who of them takes a turn in a tick, sorted; `called` are those with mail, or whose timer fires."""
        active = self.activation.due(scope.seed, scope.tick, self.ids)
        return self.ids if active.all() else np.union1d(self.ids[active], called).astype(np.int32)

    def keep(self, tick: int) -> None:
        """Keep what they are now as what they were before a tick, unless that is kept."""
        if self.keeps and tick not in self._was:
            ids, columns = self.before(tick)
            self._was[tick] = ids, dict(columns)

    def forget(self, tick: int) -> None:
        """Nobody will ask any more what they were before ticks before this one."""
        self._was = {at: was for at, was in self._was.items() if at >= tick}

    def before(self, tick: int) -> tuple[Int32, Columns]:
        """Ids and columns as they were before a tick."""
        later = min((at for at in self._was if at >= tick), default=None)
        return (self.ids, self.columns) if later is None else self._was[later]

    def put(self, tick: int, ids: Int32, columns: Columns) -> None:
        """What turns of a tick left in the fields of these agents."""
        self.keep(tick)
        rows = self.rows_of(ids)
        if rows is None:
            self.columns = columns
            return
        for field, values in columns.items():
            column = self.columns[field].copy()
            column[rows] = values
            self.columns[field] = column


class Turns:
    """The turns that agents `ctx.ids` of a type take in a tick.

    `columns` are what they leave in the fields, None until they have ended.
    """

    def __init__(self, name: str, one: Type, ctx: ColumnarContext) -> None:
        self.ctx = ctx
        self.columns: Columns | None = None
        self._name = name
        self._type = one
        rows = one.rows_of(ctx.ids)
        given = {
            field: held(f"{one.kind.__name__}.{field}", ctx.ids, column.copy() if rows is None else column[rows])
            for field, column in one.columns.items()
        }
        self._agents: Any = one.kind(**given)
        self._coroutine: Any = None
        self._awaited: ArchetypeAsk | None = None
        self._open: dict[Identity, Ask] = {}
        self._values: dict[Identity, Any] = {}

    def begin(self) -> list[Claim]:
        """Begin; gives the archetypes that are to be asked. Raises ScenarioError, naming class and place."""
        coroutine = self._guard(self._type.kind.turns, self._agents, self.ctx)
        if inspect.iscoroutine(coroutine):
            self._coroutine = coroutine
            return self._step(None)
        self._end()
        return []

    def wanted(self, agent: int, nth: int) -> Ask | None:
        """The ask of this identity, where its answer is waited for."""
        return self._open.get((agent, nth))

    def take(self, answer: Answer) -> Answer:
        """Take the answer to an ask that is `wanted`; gives it as it counts. Then `go_on`."""
        identity = answer.agent, answer.nth
        read, self._values[identity] = read_answer(self._open.pop(identity), answer)
        return read

    def go_on(self) -> list[Claim]:
        """Go on where all is answered that is awaited; gives what is to be asked then. Raises as `begin` does."""
        if self._open or self._awaited is None:
            return []
        return self._step([self._values[ask.agent, ask.nth] for ask in self._awaited.asks])

    def close(self) -> None:
        """End a coroutine that waits."""
        if self._coroutine is not None:
            self._coroutine.close()

    def _step(self, value: Any) -> list[Claim]:
        effect: Any = self._guard(self._resume, value)
        if effect is _ENDED:
            self._end()
            return []
        ctx = self.ctx
        if not any(effect is one for one in ctx.pending):
            self.close()
            self._fail(
                ForeignAwaitable(f"it may await ctx.ask(...) only, and awaited what yielded a {type(effect).__name__}")
            )
        ctx.pending = [one for one in ctx.pending if one is not effect]
        ctx.asked.append(effect)
        self._awaited, self._values = effect, {}
        self._open = {(ask.agent, ask.nth): ask for ask in effect.asks}
        return [
            Claim(
                ask.agent, ask.nth, self._name, ask.purpose, again, rows, effect.most, ask.key, ask.messages,
                ask.facts, ask.model_role,
            )
            for ask, again, rows in zip(effect.asks, effect.again, effect.counts, strict=True)
        ]  # fmt: skip

    def _resume(self, value: Any) -> Any:
        try:
            return self._coroutine.send(value)
        except StopIteration:
            return _ENDED

    def _end(self) -> None:
        """Take what the turns left in the fields."""
        one, size = self._type, len(self.ctx.ids)
        if any(ask.asks for ask in self.ctx.pending):
            self._fail(NotAwaited("ctx.ask(...) was never awaited: write `await ctx.ask(...)`, in `async def turns`"))
        self.columns = self._guard(
            lambda: {
                field: put_column(one.kind, field, of, getattr(self._agents, field), size, self.ctx.ids)
                for field, of in one.types.items()
            }
        )
        self._agents = self._coroutine = None

    def _guard(self, call: Callable[..., Any], *args: Any) -> Any:
        """Call what is the author's. Raises ScenarioError, naming class and place."""
        try:
            return call(*args)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # an author's code may raise anything
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        ctx, kind = self.ctx, self._type.kind
        what = str(error) if isinstance(error, PopulaceError) else f"{type(error).__name__}: {error}"
        where = raised_at(error, kind.turns)
        if isinstance(error, KeyError) and error.args and error.args[0] not in ctx.seen:
            what += f"; in ctx.seen there are: {', '.join(ctx.seen) or 'none'}"
        raise ScenarioError(f"{where}: tick {ctx.tick}, {kind.__name__}.turns: {what}") from error
