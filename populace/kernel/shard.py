"""A shard: hosts agents, finds who is due, drives their turns, commits what they did when the tick ends.

It is a state machine without I/O: `handle(event)` returns effects, and whoever runs the shard carries them out and
hands back their results as events. Results may come in any order and in any grouping; the shard's effects at a
tick's end do not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Final, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.agents.activation import Activation
from populace.agents.agent import Agent
from populace.agents.context import Context, Failure, Scope, close, fail, step
from populace.core.draws import WORLD
from populace.core.errors import BadField, CheckpointDamaged, StaleOrder, TransportError
from populace.core.records import Abstained, Answer, Ask, Counts, Look, Reason
from populace.core.trace import DIGEST_BYTES, TRACE_VERSION
from populace.interventions.at_work import NO_LEVERS, Levers
from populace.kernel.bus import Frame, Mail, Outgoing, gather, route
from populace.kernel.delivery import check_complete, distinct, tally
from populace.kernel.events import (
    Answered,
    AskModel,
    Effect,
    EndRun,
    Event,
    Looked,
    LookWorld,
    Observe,
    OpenTick,
    RunDone,
    Seen,
    TickDone,
)
from populace.kernel.rows import ask_rows, blocked_rows, expired_rows, join, message_rows, unknown_rows
from populace.kernel.saving import check_saved, pack_agent
from populace.kernel.snapshot import Era, ShardState

_CHECKED_A_TICK: Final = 16
_encode: Final = msgspec.msgpack.Encoder().encode


class ShardPlan(msgspec.Struct, frozen=True):
    """What a shard has to know besides its agents. `index` of `shards`; bounds are those of the settings.

    In a run that is `saved` the shard tests of a few agents a tick that they come back from a checkpoint as they are.
    `trace_version` is the run's.
    """

    index: int
    shards: int
    attempt: int
    observes: bool
    live_turns: int
    inbox_messages: int
    frame_bytes: int
    record_messages: bool
    record_asks: bool
    eras: tuple[Era, ...] = ()
    saved: bool = False
    trace_version: int = TRACE_VERSION


class Shard:
    """Hosts the agents `index`, `index + shards`, `index + 2 * shards`, ... of the population.

    `agents` are theirs in that order; `fields` the public fields of their type.
    """

    def __init__(
        self,
        plan: ShardPlan,
        scope: Scope,
        agents: list[Agent],
        fields: dict[str, type],
        activation: Activation,
        levers: Levers = NO_LEVERS,
    ) -> None:
        self.plan = plan
        self.scope = scope
        self.agents = agents
        self.ids: NDArray[np.int32] = np.arange(plan.index, scope.population, plan.shards, dtype=np.int32)
        self.timers: dict[int, list[int]] = {}
        self.activation = activation
        self.levers = levers
        self.turns_due = 0
        self._fields = fields
        self._read_fields = attrgetter(*fields) if fields else None
        self._mail = Mail([], plan.inbox_messages)
        self._due: list[int] = []
        self._seen: list[dict[str, Any]] | None = None
        self._next = 0
        self._waiting: dict[int, Context] = {}
        self._looking: dict[int, list[Context]] = {}
        self._batches = 0
        self._finished: list[Context] = []
        self._asks: list[Ask] = []
        self._looks: list[Look] = []
        self._lookers: list[Context] = []
        self._counts = Counts()
        self._open = False
        self._last: TickDone | None = None
        self._end: RunDone | None = None
        self._present = Era(0, scope.model, scope.max_tokens, scope.temperature, dict(scope.forms))
        self._touched: set[int] = set()
        self._changed: set[int] = set()

    @property
    def turns_done(self) -> int:
        """How many turns of this tick have ended."""
        return len(self._finished)

    def handle(self, event: Event) -> list[Effect]:
        """Take an event, give the effects that follow from it.

        What comes twice changes nothing: a tick opened again once it is closed gives its `TickDone` again, a run
        ended again its `RunDone`. Raises StaleOrder for what is meant for another life and ActorLost for messages that
        are missing; then nothing has changed.
        """
        match event:
            case Answered(answers):
                for answer in answers:
                    self._answer(answer)
            case Looked(batch, values):
                if batch in self._looking:
                    for ctx, value in zip(self._looking.pop(batch), values, strict=True):
                        self._advance(ctx, value)
            case OpenTick():
                self._check_life(f"tick {event.tick} was opened", event.attempt)
                if self._heard(event.tick):
                    return [self._last] if self._last is not None and self._last.tick == event.tick else []
                self._open_tick(event)
                if self.plan.observes and self._due:
                    return [Observe(np.array(self._due, np.int32))]
            case Seen(values):
                if self._seen is None:
                    self._seen = values
            case EndRun():
                self._check_life("the run was ended", event.attempt)
                if self._end is None:
                    self._end = self._end_run(event)
                return [self._end]
        return self._go_on()

    def _check_life(self, what: str, attempt: int) -> None:
        if attempt != self.plan.attempt:
            raise StaleOrder(
                f"shard {self.plan.index}: {what} for its life {attempt}; this is its life {self.plan.attempt}"
            )

    def _heard(self, tick: int) -> bool:
        """Whether a tick was opened before in this life."""
        if self._open and tick > self.scope.tick:
            raise TransportError(f"shard {self.plan.index}: tick {tick} was opened while {self.scope.tick} is open")
        return self._open or self._end is not None or (self._last is not None and tick <= self._last.tick)

    def _open_tick(self, event: OpenTick) -> None:
        tick = event.tick
        for frame in event.frames:
            if frame.destination != self.plan.index or frame.tick >= tick:
                raise TransportError(
                    f"shard {self.plan.index}, tick {tick}: got a frame of tick {frame.tick} for {frame.destination}"
                )
        frames = distinct(event.frames, tick - 1, self.plan.attempt)
        check_complete(f"shard {self.plan.index}, tick {tick}", tick - 1, frames, event.expected)
        self._open = True
        self._last = None
        self.scope.tick = tick
        era = next((era for era in self.plan.eras if tick < era.until), self._present)
        self.scope.model, self.scope.max_tokens, self.scope.temperature = era.model, era.max_tokens, era.temperature
        self.scope.forms = era.forms
        sent = self._pull_levers(tick) if self.levers else []
        frames += sent
        self._mail = Mail(frames, self.plan.inbox_messages)
        mask = self.activation.due(self.scope.seed, tick, self.ids)
        timers = np.array(self.timers.pop(tick, ()), np.int32)
        self._due = np.unique(np.concatenate((self.ids[mask], self._mail.receivers, timers))).tolist()
        self.turns_due = len(self._due)
        self._next = 0
        self._seen = None
        self._counts = counts = Counts()
        counts.sent = sum(map(len, sent))
        counts.delivered = len(self._mail)
        if len(self._mail.refused):
            counts.refused["inbox_full"] = len(self._mail.refused)

    def _pull_levers(self, tick: int) -> list[Frame]:
        """Let levers act at the start of a tick; gives what they send."""
        plan, levers = self.plan, self.levers
        parameters = levers.parameters(tick)
        if parameters is not None:
            self.scope.parameters = parameters
        self._changed |= levers.change(tick, self.agents, plan.index, plan.shards)
        frames: list[Frame] = []
        for to, nth, body in levers.mail(tick, plan.index, plan.shards):
            out = Outgoing(tick - 1, np.full(len(to), WORLD, np.int32), to, nth, [body] * len(to))
            frames += self._route(out, WORLD)
        return frames

    def _route(self, out: Outgoing, source: int) -> list[Frame]:
        plan = self.plan
        return route(out, source=source, shards=plan.shards, attempt=plan.attempt, frame_bytes=plan.frame_bytes)

    def _go_on(self) -> list[Effect]:
        """Begin turns while there is room, then say what is wanted."""
        if not self._open or (self.plan.observes and self._due and self._seen is None):
            return []
        due, room = self._due, self.plan.live_turns - sum(map(len, self._looking.values()))
        agents, shards, scope, inbox, seen = self.agents, self.plan.shards, self.scope, self._mail.inbox, self._seen
        read = self._read_fields
        while self._next < len(due) and len(self._waiting) + len(self._lookers) < room:
            at = self._next
            self._next = at + 1
            id = due[at]  # noqa: A001
            agent = agents[id // shards]
            ctx = Context(agent, id, scope, inbox(id))
            if read is not None:
                ctx._before = read(agent)
            if seen is not None:
                ctx.seen = seen[at]
            self._advance(ctx, None)
        effects: list[Effect] = []
        if self._looks:
            self._batches += 1
            self._looking[self._batches] = self._lookers
            effects.append(LookWorld(self._batches, self._looks))
            self._looks, self._lookers = [], []
        if self._asks:
            effects.append(AskModel(self._asks))
            self._asks = []
        if not effects and not self._waiting and not self._looking and self._next == len(due):
            effects.append(self._close_tick())
        return effects

    def _advance(self, ctx: Context, value: Any) -> None:
        effect = step(ctx, value)
        if effect is None:
            self._finished.append(ctx)
        elif type(effect) is Ask:
            self._waiting[ctx.id] = ctx
            self._asks.append(effect)
        else:
            self._lookers.append(ctx)
            self._looks.append(effect)  # type: ignore[arg-type]

    def _answer(self, answer: Answer) -> None:
        ctx = self._waiting.get(answer.agent)
        if ctx is None or answer.tick != self.scope.tick:
            return
        ask = ctx._asks[-1]  # type: ignore[index]
        if ask.nth != answer.nth:
            return
        del self._waiting[answer.agent]
        value: Any
        if answer.settled == "abstained":
            value = Abstained(cast("Reason", answer.reason), answer.detail)
        else:
            try:
                value = ask.spec.read(answer.text)
                answer.text.encode()
            except Exception as error:  # noqa: BLE001  # a validator of the user's may raise anything
                detail = str(error).encode("utf-8", "replace").decode()[:500]
                value = Abstained("schema", detail)
                text = answer.text.encode("utf-8", "replace").decode()
                answer = msgspec.structs.replace(
                    answer, settled="abstained", text=text, reason="schema", detail=detail
                )
        self._counts.settle(answer, ask.purpose)
        ctx._answers.append(answer)  # type: ignore[union-attr]
        self._advance(ctx, value)

    def _close_tick(self) -> TickDone:
        turns = sorted(self._finished, key=_by_id)
        fields = self._read_public(turns)
        digests: list[bytes] = []
        sent: list[tuple[int, list[int], list[bytes]]] = []
        failures: list[Failure] = []
        asked = 0
        rows = zip(*fields.values(), strict=True) if fields else [()] * len(turns)
        for ctx, row in zip(turns, rows, strict=True):
            failure = ctx._failure
            said = ()
            if ctx._asks is not None:
                asked += len(ctx._asks)
                said = [
                    (ask.key, answer.settled == "abstained", answer.reason, answer.text)
                    for ask, answer in zip(ctx._asks, ctx._answers, strict=True)  # type: ignore[arg-type,assignment]
                ]
            if failure is not None:
                failures.append(failure)
                committed = (ctx.id, failure.error, said, row)
            else:
                committed = (ctx.id, ctx._to, ctx._bodies, said, row)  # type: ignore[assignment]
                if ctx._to:
                    sent.append((ctx.id, ctx._to, ctx._bodies))
                if ctx._wakes is not None:
                    for tick in ctx._wakes:
                        self.timers.setdefault(tick, []).append(ctx.id)
            digests.append(blake2b(_encode(committed), digest_size=DIGEST_BYTES).digest())
        plan, counts, tick = self.plan, self._counts, self.scope.tick
        out, unknown = self._split_unknown(gather(tick, sent))
        out, blocked, levers = self._split_blocked(out)
        counts.turns = len(turns)
        counts.turns_failed = len(failures)
        counts.asked = asked
        counts.acted = int((out.receiver == WORLD).sum())
        counts.sent += len(out.sender) - counts.acted + len(unknown.sender) + len(blocked.sender)
        if len(blocked.sender):
            counts.refused["blocked"] = len(blocked.sender)
        if len(unknown.sender):
            counts.refused["unknown_recipient"] = len(unknown.sender)
        messages: dict[str, Any] = {}
        if plan.record_messages:
            messages = message_rows(self._mail, tick, join(unknown_rows(unknown), blocked_rows(blocked)))
        asks = ask_rows(turns) if plan.record_asks and asked else {}
        frames = route(
            out, source=plan.index, shards=plan.shards, attempt=plan.attempt, frame_bytes=plan.frame_bytes
        )
        done = TickDone(
            tick=tick,
            shard=plan.index,
            agents=np.fromiter((ctx.id for ctx in turns), np.int32, len(turns)),
            digests=b"".join(digests),
            fields=fields,
            frames=frames,
            counts=counts,
            failures=failures,
            messages=messages,
            asks=asks,
            sent=tally(frames),
            attempt=plan.attempt,
            levers=levers,
        )
        if plan.saved:
            self._check_saved(done.agents)
        self._changed.update(self._due)
        self._finished = []
        self._mail = Mail([], plan.inbox_messages)
        self._seen = None
        self._open = False
        self._last = done
        return done

    def _check_saved(self, ids: NDArray[np.int32]) -> None:
        """Raise ScenarioError for an agent that a resumed run would read as another. The sample knows no shards."""
        every = max(1, self.scope.population // _CHECKED_A_TICK)
        for one in ids[(ids + self.scope.tick) % every == 0].tolist():
            check_saved(self.agents[one // self.plan.shards], one)

    def _split_unknown(self, out: Outgoing) -> tuple[Outgoing, Outgoing]:
        """What can be delivered, and what has a recipient that does not exist."""
        known = (out.receiver >= WORLD) & (out.receiver < self.scope.population)
        if known.all():
            return out, _none_of(out)
        return _rows_of(out, known), _rows_of(out, ~known)

    def _split_blocked(self, out: Outgoing) -> tuple[Outgoing, Outgoing, dict[str, list[Any]]]:
        """What may be delivered, what levers refuse, and rows of whose messages those were."""
        if not self.levers:
            return out, _none_of(out), {}
        mask, rows = self.levers.blocked(out.tick, out.sender, out.receiver)
        return (_rows_of(out, ~mask), _rows_of(out, mask), rows) if rows else (out, _none_of(out), rows)

    def _read_public(self, turns: Sequence[Context]) -> dict[str, list[Any]]:
        """The public fields of these agents, as columns; a value of a wrong type fails its agent's turn."""
        if self._read_fields is None or not turns:
            return {name: [] for name in self._fields}
        values = [self._public_of(ctx) for ctx in turns]
        columns = [values] if len(self._fields) == 1 else list(zip(*values, strict=True))
        fields = {}
        for at, ((name, kind), column) in enumerate(zip(self._fields.items(), columns, strict=True)):
            if set(map(type, column)) <= {kind} and _writable(kind, column):
                fields[name] = list(column)
            else:
                fields[name] = [self._coerce(ctx, at, name, kind, v) for ctx, v in zip(turns, column, strict=True)]
        return fields

    def _coerce(self, ctx: Context, at: int, name: str, kind: type, value: Any) -> Any:
        """The value as the field's type; one of another type fails the turn and is put back as it was before."""
        plain = value.item() if isinstance(value, np.generic) else value
        try:
            good = isinstance(plain, kind) or (kind is float and isinstance(plain, int))
            plain = kind(plain) if good else plain
            good = good and _writable(kind, (plain,))
        except OverflowError:
            good = False
        if not good:
            if ctx._failure is None:
                small = isinstance(plain, str | float) or (isinstance(plain, int) and abs(plain) < 2**63)
                shown = ascii(plain)[:100] if small else f"a {type(plain).__name__}"
                fail(ctx, BadField(f"{type(ctx._agent).__name__}.{name} is a {kind.__name__}, not {shown}"))
            plain = ctx._before[at] if len(self._fields) > 1 else ctx._before
        setattr(ctx._agent, name, plain)
        return plain

    def _public_of(self, ctx: Context) -> Any:
        """The agent's public fields; where one was deleted, all are put back and the turn fails."""
        try:
            return self._read_fields(ctx._agent)  # type: ignore[misc]
        except AttributeError as error:
            values = ctx._before if len(self._fields) > 1 else (ctx._before,)
            for name, value in zip(self._fields, values, strict=True):
                setattr(ctx._agent, name, value)
            if ctx._failure is None:
                fail(ctx, BadField(f"{type(ctx._agent).__name__}: a public field was deleted: {error}"))
            return ctx._before

    def _end_run(self, event: EndRun) -> RunDone:
        """Expire what nobody will read; of a tick still open, count what was billed and drop the rest."""
        plan, counts = self.plan, Counts()
        sent_in = max((frame.tick for frame in event.frames), default=self.scope.tick)
        frames = distinct(event.frames, sent_in, plan.attempt)
        check_complete(f"shard {plan.index}, the run's end", sent_in, frames, event.expected)
        counts.expired = sum(map(len, frames))
        if self._open:
            spent = self._counts
            counts.calls, counts.tokens_in, counts.tokens_out = spent.calls, spent.tokens_in, spent.tokens_out
            counts.cost_usd = spent.cost_usd
            for ctx in (*self._waiting.values(), *(ctx for batch in self._looking.values() for ctx in batch)):
                close(ctx)
            self._waiting, self._looking, self._finished = {}, {}, []
            self._mail = Mail([], self.plan.inbox_messages)
            self._open = False
        self._last = None
        return RunDone(plan.index, counts, expired_rows(frames) if plan.record_messages else {}, plan.attempt)

    def export(self, *, whole: bool) -> ShardState:
        """The shard between two ticks: the agents that took a turn since the last export, or ever, and the timers."""
        assert not self._open, "a shard is exported between two ticks"
        self._touched |= self._changed
        ids = self._touched if whole else self._changed
        agents, shards = self.agents, self.plan.shards
        packed = {one: pack_agent(agents[one // shards], one) for one in sorted(ids)}
        self._changed = set()
        pairs = [(tick, agent) for tick, ids in sorted(self.timers.items()) for agent in ids]
        return ShardState(
            packed, np.array([tick for tick, _ in pairs], np.int64), np.array([one for _, one in pairs], np.int32)
        )

    def restore(self, tick: int, state: ShardState) -> None:
        """Go on before `tick` from what a whole export gave. Raises CheckpointDamaged for agents that do not fit."""
        decode = msgspec.msgpack.Decoder(type(self.agents[0])).decode if state.agents else None
        shards = self.plan.shards
        for id, packed in state.agents.items():  # noqa: A001
            try:
                self.agents[id // shards] = decode(packed)  # type: ignore[misc]
            except (msgspec.MsgspecError, IndexError) as error:
                raise CheckpointDamaged(
                    f"agent {id} of the checkpoint is not one of this scenario's: {error}. Go on with the scenario "
                    "that the run was begun with."
                ) from None
        self._touched = set(state.agents)
        self._changed = set()
        self.timers = {}
        for at, agent in zip(state.timer_ticks.tolist(), state.timer_agents.tolist(), strict=True):
            self.timers.setdefault(at, []).append(agent)
        self.scope.tick = tick - 1

    def validate(self) -> None:
        """Raise AssertionError where the shard's state contradicts itself; every test ends with it."""
        assert len(self.agents) == len(self.ids)
        assert 0 <= self._next <= len(self._due)
        assert all(ctx._coroutine is not None for ctx in self._waiting.values())
        live = len(self._waiting) + sum(map(len, self._looking.values())) + len(self._lookers)
        if self._open:
            assert live + len(self._finished) == self._next, "a turn was lost"
        else:
            assert not live, "a turn is alive between ticks"
            assert not self._finished
            assert len(self._mail) == 0
        assert all(tick > self.scope.tick for tick in self.timers), "a timer lies in the past"


_by_id: Final = attrgetter("id")


def _writable(kind: type, column: Sequence[Any]) -> bool:
    """Whether values of a right type can be written down: int64, and text without lone surrogates."""
    if kind is int:
        return bool(min(column) >= -(2**63) and max(column) < 2**63)
    if kind is str:
        try:
            "".join(column).encode()
        except UnicodeEncodeError:
            return False
    return True


def _none_of(out: Outgoing) -> Outgoing:
    none = out.sender[:0]
    return Outgoing(out.tick, none, none, none, [])


def _rows_of(out: Outgoing, mask: NDArray[np.bool_]) -> Outgoing:
    bodies = [body for body, yes in zip(out.bodies, mask.tolist(), strict=True) if yes]
    return Outgoing(out.tick, out.sender[mask], out.receiver[mask], out.nth[mask], bodies)
