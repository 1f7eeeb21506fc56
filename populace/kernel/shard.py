"""A shard: hosts agents, finds who is due, drives their turns, commits what they did when the tick ends.

It is a state machine without I/O: `handle(event)` returns effects, and whoever runs the shard carries them out and
hands back their results as events. Results may come in any order and in any grouping; the shard's effects at a
tick's end do not depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from populace.agents.agent import Agent
from populace.agents.context import Scope
from populace.core.containers import check_sealed, sealed
from populace.core.draws import WORLD
from populace.core.errors import StaleOrder, TransportError
from populace.core.records import Counts
from populace.core.roster import Roster
from populace.core.tables import TableRows
from populace.core.union import union
from populace.interventions.at_work import NO_LEVERS, Levers
from populace.interventions.groups import Members
from populace.kernel.ahead import Ahead, ticks_of
from populace.kernel.before import Before
from populace.kernel.bus import (
    Envelope,
    Frame,
    Mail,
    Outgoing,
    check_complete,
    distinct,
)
from populace.kernel.edge import Edge, unpack_edge
from populace.kernel.events import (
    Answered,
    Attend,
    Claimed,
    Effect,
    EndRun,
    Event,
    HeardAnswers,
    HeardShards,
    Looked,
    Observe,
    ObserveColumns,
    OpenTick,
    Proceed,
    RunDone,
    SeenColumns,
    TickDone,
)
from populace.kernel.joint import Joint, by_tick, go_on_with, to_claim
from populace.kernel.looking_ahead import due_in, look_ahead
from populace.kernel.plan import Hosted, ShardPlan
from populace.kernel.residents import Residents
from populace.kernel.rows import expired_rows
from populace.kernel.saving import pack_agent
from populace.kernel.settling import Unsettled
from populace.kernel.snapshot import ShardState, scope_at
from populace.kernel.standing_in import StandIns, unpack_standing
from populace.kernel.tick import Tick
from populace.kernel.tick_end import routed, tick_done


class Shard(Residents):
    """Hosts its residents and drives their turns.

    `scope` is what turns read of the run. `tick` is the tick that was opened last, and
    `open` that tick while its turns last.
    """

    def __init__(
        self,
        plan: ShardPlan,
        scope: Scope,
        agents: list[Agent],
        types: Mapping[str, Hosted],
        levers: Levers = NO_LEVERS,
        roster: Roster | None = None,
    ) -> None:
        super().__init__(
            plan, agents, types, Roster(dict.fromkeys(types, scope.population)) if roster is None else roster
        )
        self.tick = -1
        self.timers: dict[int, list[int]] = {}
        self.levers = levers
        self.open: Tick | None = None
        self._scope = scope
        self._last: TickDone | None = None
        self._end: RunDone | None = None
        self._sealed: dict[str, bytes] = {}
        self._before: Before | None = None
        self._unsettled: Unsettled | None = None
        self._settled: Mapping[str, TableRows] = {}
        self.ahead = self._look_ahead(0)
        """The turns of ticks that are not open yet, where the society declares who may influence whom."""

    @property
    def turns_due(self) -> int:
        """How many agents take a turn in the tick that was opened last."""
        if self.open is not None:
            return self.open.turns_due
        return 0 if self._last is None else self._last.counts.turns

    @property
    def exchanging(self) -> bool:
        """Whether turns of the open tick wait in rounds."""
        return self.open is not None and self.open.exchanging

    @property
    def sharing(self) -> int | None:
        """The last tick in which turns wait for answers to what another shard asks; None where none do."""
        led = None if self.ahead is None else self.ahead.sharing
        return self.tick if led is None and self.open is not None and self.open.sharing else led

    @property
    def turns_done(self) -> int:
        """How many turns of the open tick have ended."""
        return 0 if self.open is None else self.open.turns_ended

    def handle(self, event: Event) -> list[Effect]:
        """Take an event, give the effects that follow from it.

        What comes twice changes nothing: a tick opened again once it is closed gives its `TickDone` again, a run
        ended again its `RunDone`. Raises StaleOrder for what is meant for another attempt and ActorLost for messages
        that are missing; then nothing has changed.
        """
        match event:
            case OpenTick():
                self._check_attempt(f"tick {event.tick} was opened", event.envelope)
                if self._heard(event.tick):
                    return [self._last] if self._last is not None and self._last.tick == event.tick else []
                self.settle()
                self.open = self._open_tick(event)
                columns, effects = self.open.columns, list[Effect]()
                if columns and not (self.plan.observes and columns.turns_due):
                    effects = to_claim(columns.take({}), self.tick)
                if self.plan.rounds or (self.plan.observes and self.turns_due):
                    return effects + self._ask_the_world(self.open)
                return effects + self._end_of(self.open, self.open.handle(event))
            case SeenColumns(shown):
                return [] if self.open is None else self._end_of(
                    self.open, to_claim(self.open.columns.take(shown), self.tick)
                )  # fmt: skip
            case Claimed() | HeardAnswers():
                return self._after(self._go_on_together(event))
            case Answered(answers) if any(one.agent < WORLD for one in answers):
                effects = self._go_on_together(Answered([one for one in answers if one.agent < WORLD]))
                own = [one for one in answers if one.agent >= WORLD]
                return effects + self.handle(Answered(own)) if own else self._after(effects)
            case EndRun():
                self._check_attempt("the run was ended", event.envelope)
                if self._end is None:
                    self._end = self._end_run(event)
                return [self._end]
        if self.ahead is not None and isinstance(event, Answered | Looked | Proceed | HeardShards):
            return self._go_on(self.ahead, event)
        if self.open is None:
            return []
        return self._end_of(self.open, self.open.handle(event))

    def _go_on_together(self, event: Joint) -> list[Effect]:
        """Go on with what agents ask together, in each tick of which something has come."""
        effects: list[Effect] = []
        for number, part in by_tick(event).items():
            tick = self.open if self.open is not None and number == self.tick else None
            if tick is None and self.ahead is not None:
                tick = self.ahead.led(number)
            if tick is not None:
                effects += go_on_with(tick, part)
        return effects

    def _after(self, effects: list[Effect]) -> list[Effect]:
        """The effects, and what follows from them in the open tick and in those that are not open yet."""
        if self.open is not None:
            return self._end_of(self.open, effects)
        return effects if self.ahead is None else effects + self.ahead.follow(None)

    def _go_on(self, ahead: Ahead, event: Answered | Looked | Proceed | HeardShards) -> list[Effect]:
        """Go on with turns of the open tick and of ticks that are not open yet."""
        effects = ahead.handle(event)
        if self.open is None:
            return effects + ahead.follow(None)
        if self.open.turns_to_begin:
            self.open.elsewhere = ahead.turns_alive
        elif self.open.number not in ticks_of(event):
            return self._end_of(self.open, effects)
        return self._end_of(self.open, effects + self.open.handle(event))

    def _end_of(self, tick: Tick, effects: list[Effect]) -> list[Effect]:
        """The effects, and the tick's end where all turns have ended."""
        if self.ahead is not None:
            effects += self.ahead.follow(tick)
        if tick.ended:
            effects.append(self._close_tick(tick))
        return effects

    def _ask_the_world(self, tick: Tick) -> list[Effect]:
        """What the world is told and asked before turns begin; where it holds rounds, it is told of nobody too."""
        effects: list[Effect] = []
        due = np.array(tick.due, np.int32)
        if self.plan.rounds:
            effects.append(Attend(due))
        if self.plan.observes and tick.due:
            effects.append(Observe(due))
        if self.plan.observes and tick.columns.turns_due:
            effects.append(ObserveColumns(tick.columns.due))
        return self._end_of(tick, effects)

    def _check_attempt(self, what: str, envelope: Envelope) -> None:
        if envelope.attempt != self.plan.attempt:
            raise StaleOrder(
                f"shard {self.plan.index}: {what} for its attempt {envelope.attempt}; this is its attempt "
                f"{self.plan.attempt}"
            )

    def _heard(self, tick: int) -> bool:
        """Whether a tick was opened before in this attempt."""
        if self.open is not None and tick > self.tick:
            raise TransportError(f"shard {self.plan.index}: tick {tick} was opened while {self.tick} is open")
        return self.open is not None or self._end is not None or (self._last is not None and tick <= self._last.tick)

    def _open_tick(self, event: OpenTick) -> Tick:
        tick = event.tick
        for frame in event.envelope.parcels:
            if frame.destination != self.plan.index or frame.tick >= tick:
                raise TransportError(
                    f"shard {self.plan.index}, tick {tick}: got a frame of tick {frame.tick} for {frame.destination}"
                )
        frames = distinct(event.envelope.parcels, tick - 1, self.plan.attempt)
        check_complete(f"shard {self.plan.index}, tick {tick}", tick - 1, frames, event.envelope.expected)
        self.tick = tick
        self._last = None
        self._columnar.keep_before(tick)
        edge = unpack_edge(event.envelope.edge)
        if self.ahead is not None:
            self.ahead.refuse(tick, frames, edge)
        born = self._pass_edge(tick, edge) if event.envelope.edge else []
        before = Before(tick, {}, self.timers.get(tick, []), born)
        if self.plan.saved:
            changing = self.levers.changing(tick, self.plan.index, self.plan.shards, self.roster)
            alone = self._alone(np.array(sorted(changing), np.int32)).tolist()
            before.preserve(alone, self.agents, self.plan.shards, self._rows)
        sent = self._pull_levers(tick) if self.levers else []
        plan, scope = self.plan, self._scope_of(tick)
        lives = self.roster.lives if self.roster.anyone_left else None
        seed = scope.seed if plan.trace_version >= 2 else None
        mail = Mail(frames + sent, plan.inbox_messages, seed, lives)
        timers = np.array(self.timers.pop(tick, ()), np.int32)
        if lives is not None:
            timers = timers[lives(timers)]
        active = [
            ids[self.types[of].activation.due(scope.seed, tick, ids)]
            for of, ids in self._own.items()
            if of not in self._columnar.types
        ]
        self._sealed = sealed(scope.parameters)
        counts = Counts()
        counts.sent = sum(map(len, sent))
        counts.delivered = len(mail)
        if len(mail.refused):
            counts.refused["inbox_full"] = len(mail.refused)
        if len(mail.retired):
            counts.refused["retired"] = len(mail.retired)
        called = self._alone(mail.receivers), self._alone(timers)
        due: list[int] = union(*called, *active).tolist()
        opened, rows = None, dict[int, bytes]()
        if self.ahead is not None:
            opened, rows = self.ahead.open(tick, due, mail, counts, event.envelope.last)
        if self.plan.saved:
            before.agents.update(rows)
            before.preserve([one for one in due if one not in rows], self.agents, self.plan.shards, self._rows)
            self._before = before
        if opened is None:
            opened = self._make_tick(scope, due, mail, counts)
        if self._columnar:
            opened.columns.open(mail, timers)
        opened.elsewhere = 0 if self.ahead is None else self.ahead.turns_alive
        if scope.surrogate is not None:
            opened.stand_ins = StandIns(scope.seed, self.roster, unpack_standing(edge.surrogates))
        return opened

    def _make_tick(self, scope: Scope, due: list[int], mail: Mail, counts: Counts) -> Tick:
        plan = self.plan
        made = Tick(
            scope,
            due,
            mail,
            self.agents,
            shards=plan.shards,
            live_turns=plan.live_turns,
            observes=plan.observes,
            rounds=plan.rounds,
            fields=self._fields,
            keep_asks=plan.record_asks,
            counts=counts,
            influence=plan.influence,
            columns=self._columnar.tick(scope) if self._columnar else None,
        )
        if plan.ahead and self.ahead is not None:
            self.ahead.follows(made)
        return made

    def _look_ahead(self, first: int) -> Ahead | None:
        """What begins turns early, in a run that stands before tick `first`."""

        def row(agent: int) -> bytes:
            packed = self._rows.pop(agent, None)
            return pack_agent(self.agents[agent // self.plan.shards], agent) if packed is None else packed

        return look_ahead(
            self.plan,
            first,
            self.types,
            self.roster,
            seed=self._scope.seed,
            due=lambda tick: due_in(self.types, self._own, self._scope.seed, tick, self.roster.size),
            fence=self.levers.acts_at,
            make=lambda tick, mail: self._make_tick(self._scope_of(tick), [], mail, Counts()),
            keep=self._keep,
            pack=row,
            fields=self._fields.named,
            timers=lambda tick: self.timers.get(tick, ()),
        )

    def _pass_edge(self, tick: int, edge: Edge) -> list[int]:
        """Let agents be born and leave as `tick` begins, and fix the groups of levers; gives those born here."""
        newborn = self._turn_over(tick, edge)
        self.levers.fix(edge.members(), self.roster)
        self.levers.fire(tick, edge.firings(), self.roster)
        return newborn

    def _scope_of(self, tick: int) -> Scope:
        """What the turns of a tick read of it: in a past that a fork took over, the model of that past."""
        parameters = self.levers.parameters(tick)
        return scope_at(self._scope, tick, self._scope.parameters if parameters is None else parameters, self.plan.eras)

    def _pull_levers(self, tick: int) -> list[Frame]:
        """Let levers act at the start of a tick; gives what they send."""
        plan, levers = self.plan, self.levers
        changed = levers.change(tick, self.agents, plan.index, plan.shards, self.roster, self._columnar or None)
        self._keep(sorted(changed))
        self._changed |= changed
        frames: list[Frame] = []
        for to, nth, body in levers.mail(tick, plan.index, plan.shards):
            out = Outgoing(tick - 1, np.full(len(to), WORLD, np.int32), to, nth, [body] * len(to))
            frames += routed(plan, out, WORLD)
        return frames

    def _close_tick(self, tick: Tick) -> TickDone:
        done, woken, self._unsettled = tick_done(self.plan, tick, self.levers, self.roster.size)
        for wake, ids in woken:
            self.timers.setdefault(wake, []).extend(ids)
        if self._before is not None:
            for wake, ids in woken:
                self._before.wakes[wake] = self._before.wakes.get(wake, 0) + len(ids)
        check_sealed(tick.scope.parameters, self._sealed, f"a turn of tick {tick.number}")
        self._changed.update(tick.due)
        self.open = None
        self._last = done
        return done

    def settle(self) -> Mapping[str, TableRows]:
        """Do what the tick that was closed last has left to be done; gives its rows for tables, by name.

        That is what nobody waits for once its `TickDone` is on its way: agents come to hold what a resumed run would,
        and rows can be made, once they are wanted. A second call does nothing, and gives the same; opening a tick and
        an export begin with it.
        Raises ScenarioError for an agent that a resumed run would have otherwise.
        """
        if (left := self._unsettled) is not None:
            if self.ahead is None:
                self._keep(left.tick.due)
            else:
                self.ahead.keep()
            self._settled, self._unsettled = left.rows(messages=self.plan.record_messages), None
        return self._settled

    def _end_run(self, event: EndRun) -> RunDone:
        """Expire what nobody will read; of a tick that is not committed, count what was billed and drop the rest."""
        plan, counts = self.plan, Counts()
        envelope = event.envelope
        sent_in = max((frame.tick for frame in envelope.parcels), default=self.tick)
        frames = distinct(envelope.parcels, sent_in, plan.attempt)
        check_complete(f"shard {plan.index}, the run's end", sent_in, frames, envelope.expected)
        counts.expired = sum(map(len, frames))
        if self.open is not None:
            counts.add(self.open.counts.spend())
            self.open.drop()
            self.open = None
        elif self._last is not None and event.tick is not None and self._last.tick >= event.tick:
            counts.add(self._last.counts.spend())
        if self.ahead is not None:
            counts.add(self.ahead.drop())
        self._last = None
        expired = expired_rows(frames) if plan.record_messages else {}
        return RunDone(plan.index, counts, {"messages": expired} if expired else {}, plan.attempt)

    def export(self, *, whole: bool, tick: int | None = None) -> ShardState:
        """The shard at a tick's edge: the agents that took a turn since the last export, or ever, and the timers.

        That is before `tick`: the next one, or in a run that is saved the one that was opened last, which is then
        abandoned.
        """
        self.settle()
        before = self._before if tick is not None and tick == self.tick else None
        assert before is not None or self.open is None, "a shard is exported between two ticks"
        self._touched |= self._changed
        agents, shards, timers = self.agents, self.plan.shards, self.timers
        ids = self._touched if whole else self._changed
        was: dict[int, bytes] = {}
        if before is not None:
            was, timers = before.agents, before.rewind(self.timers)
            ids = (ids | was.keys()) - set(before.born)
        rows = self._rows
        packed = {one: was.get(one) or self.row_at_edge(one) or rows.get(one) or pack_agent(agents[one // shards], one)
                  for one in sorted(ids)}  # fmt: skip
        self._changed = set()
        if self._before is not None:
            self._rows = {one: rows[one] for one in self._before.agents if one in rows}
        pairs = [(at, agent) for at, ids in sorted(timers.items()) for agent in ids]
        return ShardState(
            packed,
            np.array([at for at, _ in pairs], np.int64),
            np.array([one for _, one in pairs], np.int32),
            columns=self._columnar.state(self.tick + (before is None)),
        )

    def row_at_edge(self, agent: int) -> bytes | None:
        """An agent packed as of the edge of the tick that was opened last, or is next, where it has gone on since."""
        return None if self.ahead is None else self.ahead.row(agent)

    def restore(self, tick: int, state: ShardState) -> None:
        """Go on before `tick` from what a whole export gave. Raises CheckpointDamaged for agents that do not fit."""
        self._restore_residents(state)
        if state.groups is not None:
            self.levers.fix({int(at): Members(one["group"], one.get("other")) for at, one in state.groups.items()},
                            self.roster)  # fmt: skip
        if state.fired is not None:
            self.levers.restore(state.fired, tick, self.roster)
        self._before = None
        self.timers = {}
        for at, agent in zip(state.timer_ticks.tolist(), state.timer_agents.tolist(), strict=True):
            self.timers.setdefault(at, []).append(agent)
        self.tick = tick - 1
        self.ahead = self._look_ahead(tick)

    def validate(self) -> None:
        """Raise AssertionError where the shard's state contradicts itself; every test ends with it."""
        assert len(self.agents) == len(range(self.plan.index, self.roster.size, self.plan.shards))
        if self.open is not None:
            assert self.open.number == self.tick
            self.open.validate()
        if self.ahead is not None:
            self.ahead.validate()
        assert all(tick > self.tick for tick in self.timers), "a timer lies in the past"
