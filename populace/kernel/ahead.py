"""Turns that begin before their tick is open, where a society declares who may influence whom. Pure.

An agent's turn of a tick follows from what it did itself in the ticks before, and from those who may influence it: what
they sent it, and the public fields of theirs that it reads. So once these and itself have ended the tick before, its
turn may begin, whoever else still waits for the model. That is never a guess: what the turn is given is what it would
have been given at the tick's opening, and that is checked when the tick opens. Ticks are closed in their order, and all
that a turn has made takes effect with its tick; so trace, tables and outcomes are those of a run tick by tick.

Agents change as their turns go on, so whoever begins a turn early is kept as it was before: what is saved or asked at a
tick's edge finds every agent as of that edge.

No turn passes a `fence`: a tick at whose edge levers act begins when it is opened, for all.

Shards tell one another who has a tick behind it (`kernel.notices`). What has not been heard of by the time a tick opens
is known then anyway.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from operator import itemgetter
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.agents.agent import Agent
from populace.core.draws import WORLD
from populace.core.errors import ScenarioError, TransportError
from populace.core.records import Counts, Look, Message
from populace.kernel.ahead_columns import ColumnarPost, by_shard, outgoing
from populace.kernel.bus import Frame, Inbox, Mail, Outgoing, unpack_frame
from populace.kernel.columnar_tick import Came
from populace.kernel.committed import STRIDE
from populace.kernel.early_mail import EarlyInbox, EarlyMail, Letter
from populace.kernel.edge import Edge
from populace.kernel.events import Answered, Effect, HeardShards, Looked, Proceed, TellShards
from populace.kernel.influence import FIELDS_OF
from populace.kernel.notices import Heard, Outbox
from populace.kernel.plan import ShardPlan
from populace.kernel.tick import Known, Tick
from populace.kernel.turn import Turn
from populace.kernel.units import Units, count_down

Ids = NDArray[np.int32]

_BATCHES: Final = 2**32
"""Batches of looks of tick `t` are numbered from `t` times this on, so that a reply finds its tick."""
_NEVER: Final = 2**30
"""How many those lack who begin elsewhere."""
_AS_IT_IS: Final = "run it tick by tick with `--set limits.ticks_ahead=0`, or leave Society(influence=...) out."


class Means(msgspec.Struct, frozen=True):
    """What turns that begin early need of their shard.

    `due` masks the agents who are due in a tick by their activation; `fence` says at which ticks nobody begins early;
    `make` makes a tick that is not open; `mail` gives what an agent reads of what it was sent, and `post` what those in
    columns read; `keep` has agents hold what a checkpoint would give back, once their turns have ended; `pack` packs an
    agent; `fields` gives an agent's public fields by name; `timers` are those set before.
    """

    due: Callable[[int], NDArray[np.bool_]]
    fence: Callable[[int], bool]
    make: Callable[[int], Tick]
    mail: EarlyMail
    post: ColumnarPost
    keep: Callable[[Sequence[int]], None]
    pack: Callable[[int], bytes]
    fields: Callable[[Agent], dict[str, Any]]
    timers: Callable[[int], Iterable[int]]


class Ahead:
    """The turns of a shard of ticks that are not open yet: at most `plan.ahead` beyond the one that was opened last.

    The run stands before tick `first`; `plan.live_turns` bounds the turns that are alive at once, in all ticks.
    """

    def __init__(self, units: Units, plan: ShardPlan, means: Means, *, first: int) -> None:
        self._means = means
        self._units = units
        self._agents = units.agents
        self._ticks_of_run = plan.ticks
        self._most = plan.ahead
        self._live_turns = plan.live_turns
        self._index, self._shards = plan.index, plan.shards
        self._onto = units.onto()
        """By unit, those on this shard whom it may influence. An agent that takes turns of its own is a unit."""
        self._needs = (np.diff(units.influence.offsets) + 1).astype(np.int32)
        self._weight: list[int] = np.bincount(units.influence.by, minlength=len(units)).tolist()
        self._base = first - 1
        """The tick that was opened last."""
        self._limit = first - 1
        """The last tick in which turns may begin now."""
        self._done = np.full(len(units), first, np.int32)
        """How many ticks each unit of this shard has behind it; -1 for the others."""
        self._read = units.read_on(plan.index) if units.names else None
        """Which columnar agents of this shard are read by those here who take turns of their own."""
        self._outbox: Outbox | None = None
        self._heard = Heard(plan.index, plan.attempt)
        elsewhere = units.owner != plan.index
        self._done[elsewhere], self._needs[elsewhere] = -1, _NEVER
        if plan.shards > 1:
            self._outbox = Outbox(units, plan.attempt)
        self._lack: dict[int, NDArray[np.int32]] = {}
        """By tick, how many of those who matter to each unit, itself among them, have not ended the tick before."""
        self._held: dict[int, list[Ids]] = {}
        """By tick beyond the limit, who could begin."""
        self._ready: list[tuple[int, int, int]] = []
        """Who begins next: a heap of ticks, the earliest first; then who matters to most others; then the unit."""
        self._led: dict[int, Tick] = {}
        self._given: dict[int, dict[int, Sequence[Message]]] = {}
        """By tick, the inboxes with which turns began."""
        self._rows: dict[int, dict[int, bytes]] = {}
        """By tick, agents packed as they were before it."""
        self._sent: dict[int, dict[int, list[Letter]]] = {}
        """By tick and receiver, what was sent."""
        self._wakes: dict[int, set[int]] = {}
        self._due: dict[int, bytes] = {}
        """By tick, a byte an agent: 1 for those who are due in it by their activation."""
        self._shown: dict[int, list[tuple[int, dict[str, Any]]]] = {}
        """By agent, its public fields after each tick that the world may not have closed."""
        self._proceeding = False
        self._stepped: list[Tick] = []
        """Ticks that are not open in which turns have gone on since the last `_put_down`."""
        self._unkept: set[int] = set()
        """Agents whose turn has ended, and who do not yet hold what a resumed run would."""

    def handle(self, event: Answered | Looked | Proceed | HeardShards) -> list[Effect]:
        """Hand what has come to the turns of ticks that are not open; gives what they want to be asked."""
        match event:
            case Proceed():
                self._proceeding = False
                return []
            case HeardShards():
                self._hear(event)
                return []
        effects: list[Effect] = []
        for number in ticks_of(event):
            led = self._led.get(number)
            if led is not None:
                effects += led.handle(event)
                self._stepped.append(led)
        return effects

    def follow(self, opened: Tick | None) -> list[Effect]:
        """Go by the turns that have ended, in the open tick and beyond it: begin those that waited for nobody else."""
        effects: list[Effect] = []
        begun = 0
        while True:
            self._put_down(opened)
            if not self._ready or begun >= STRIDE:
                break
            room = self._live_turns - self.turns_alive
            room -= 0 if opened is None else opened.turns_alive + opened.turns_to_begin
            batch = self._begin(min(room, STRIDE))
            if not batch:
                break
            begun += sum(n for _, n in batch)
            for led, _ in batch:
                effects += led.go_on()
                self._stepped.append(led)
        if self._ready and begun >= STRIDE and not self._proceeding:
            self._proceeding = True
            effects.append(Proceed())
        if self._outbox is not None and (notices := self._outbox.take()):
            effects.append(TellShards(notices))
        return effects

    def open(
        self, tick: int, due: list[int], mail: Mail, counts: Counts, last: int | None = None
    ) -> tuple[Tick | None, dict[int, bytes]]:
        """A tick opens, in which these agents take a turn, with this mail; nobody begins in one after `last`.

        Gives the tick where turns of it have begun already, and those who have, packed as they were before. Raises
        TransportError where a turn has begun otherwise than it would begin now.
        """
        begun, rows = self._given.pop(tick, {}), self._rows.pop(tick, {})
        self._check(tick, begun, due, mail)
        led = self._led.pop(tick, None)
        if led is not None:
            led.open(due, begun, mail, counts)
        self._base = tick
        self._limit = max(self._limit, self._last_to_begin(tick, last))
        while self._ready and self._ready[0][0] <= tick:
            heapq.heappop(self._ready)
        for kept in (self._lack, self._held, self._due, self._wakes):
            kept.pop(tick, None)
        self._sent.pop(tick - 1, None)
        self._means.mail.forget(tick - 1)
        self._means.post.forget(tick - 1)
        for agent, shown in list(self._shown.items()):
            self._shown[agent] = now = [one for one in shown if one[0] >= tick]
            if not now:
                del self._shown[agent]
        alone = np.flatnonzero(self._done[: self._agents] == tick)
        self._complete(tick, np.setdiff1d(alone, due).astype(np.int32))
        for number in sorted(one for one in self._held if one <= self._limit):
            for ids in self._held.pop(number):
                for of, idle in self._reach(number, ids.tolist()):
                    self._complete(of, idle)
        return led, rows

    def follows(self, tick: Tick) -> None:
        """Have a tick, newly made, tell of the turns that end in it, and read public fields as of its start."""
        tick.finished.take()
        tick.number_batches(tick.number * _BATCHES)
        tick.known = self.known

    def refuse(self, tick: int, frames: Sequence[Frame], edge: Edge) -> None:
        """Raise ScenarioError where the world does at a tick's edge what turns cannot begin without."""
        if any((frame.sender == WORLD).any() for frame in frames):
            raise ScenarioError(
                f"tick {tick}: a part of the world sends messages to agents, and where a society declares its "
                f"influence no turn waits for the world: {_AS_IT_IS}"
            )
        if edge.born or edge.left:
            raise ScenarioError(
                f"tick {tick}: agents are born or leave, and where a society declares its influence that stays as "
                f"declared: {_AS_IT_IS}"
            )

    def row(self, agent: int) -> bytes | None:
        """An agent packed as it was before the first of its turns that have begun early; None for one without any."""
        return next((self._rows[at][agent] for at in sorted(self._rows) if agent in self._rows[at]), None)

    def known(self, tick: int, looks: Sequence[Look]) -> list[Known]:
        """What these looks are to read of public fields as of the start of a tick, where the world is not there yet.

        It is known when they are put: while the world's reply is on its way, the world goes on.
        """
        found = []
        for row, look in enumerate(looks):
            named = look.args.get("agents") if look.query == FIELDS_OF else None
            for at, agent in enumerate(named if isinstance(named, list) else ()):
                if type(agent) is not int:
                    continue
                for of, fields in reversed(self._shown.get(agent, ())):
                    if of < tick:
                        found.append((row, at, fields))
                        break
        return found

    def drop(self) -> Counts:
        """End all turns that are alive; nothing is committed. Gives what was billed for them and those that ended."""
        counts = Counts()
        for led in self._led.values():
            counts.add(led.counts.spend())
            led.drop()
        self._led, self._ready = {}, []
        return counts

    def led(self, tick: int) -> Tick | None:
        """A tick that is not open in which turns have begun; they are about to go on. None where none have."""
        led = self._led.get(tick)
        if led is not None:
            self._stepped.append(led)
        return led

    @property
    def sharing(self) -> int | None:
        """The last tick that is not open in which turns wait for what another shard asks; None where none do."""
        return max((number for number, led in self._led.items() if led.sharing), default=None)

    @property
    def turns_alive(self) -> int:
        """How many turns of ticks that are not open wait for something."""
        return sum(one.turns_alive for one in self._led.values())

    def _last_to_begin(self, tick: int, most: int | None) -> int:
        last = min(tick + self._most, self._ticks_of_run - 1)
        if most is not None:
            last = max(tick, min(last, most))
        return next((one - 1 for one in range(tick + 1, last + 1) if self._means.fence(one)), last)

    def _put_down(self, opened: Tick | None) -> None:
        """Take what turns that have ended made; who may go on then is made ready."""
        stepped, self._stepped = self._stepped, []
        if opened is not None:
            stepped.append(opened)
        for tick in stepped:
            if tick.finished.any_fresh and (turns := tick.finished.take()):
                self._unkept.update([turn.id for turn in turns])
                self._take(tick.number, turns)
            for name, came in tick.columns.take_ended():
                self._take_columns(tick.number, name, came)

    def keep(self) -> None:
        """Have agents whose turns have ended hold what a resumed run would. Raises ScenarioError."""
        if self._unkept:
            ids, self._unkept = sorted(self._unkept), set()
            self._means.keep(ids)

    def _take(self, tick: int, turns: Sequence[Turn]) -> None:
        sent, size, outbox = self._sent.setdefault(tick, {}), self._agents, self._outbox
        index, shards, post = self._index, self._shards, self._means.post if self._units.names else None
        for turn in turns:
            if fields := self._means.fields(turn.agent):
                self._shown.setdefault(turn.id, []).append((tick, fields))
                if outbox is not None:
                    outbox.show(tick, turn.id, fields)
            if turn.failure is not None:
                continue
            for nth, (to, body) in enumerate(zip(turn.to, turn.bodies, strict=True)):
                if not 0 <= to < size:
                    continue
                if outbox is not None and to % shards != index:
                    outbox.say(tick, turn.id, nth, to, body)
                elif post is None or not post.say(tick, turn.id, nth, to, body):
                    sent.setdefault(to, []).append((turn.id, nth, body))
            for wake in turn.wakes or ():
                if wake < self._ticks_of_run:
                    self._wakes_of(wake).add(turn.id)
        if len(turns) == 1:  # as most end
            self._complete_one(tick, turns[0].id)
        else:
            self._complete(tick, np.array([turn.id for turn in turns], np.int32))

    def _take_columns(self, tick: int, name: str, came: Came) -> None:
        """Take what the turns of a columnar type made."""
        here, away = by_shard(came.sent, self._units)
        self._hand_out(here)
        for agent, fields in came.shown(self._read):
            self._shown.setdefault(agent, []).append((tick, fields))
        if self._outbox is not None:
            self._outbox.post(away)
            self._outbox.show_columns(tick, came)
        for wake, ids in came.wakes:
            if wake < self._ticks_of_run:
                self._wakes_of(wake).update(ids.tolist())
        self._complete(tick, np.array([self._units.unit(name)], np.int32))

    def _hand_out(self, out: Outgoing) -> None:
        """Messages in columns to agents of this shard."""
        rest = self._means.post.take(out)
        sent = self._sent.setdefault(out.tick, {})
        columns = (rest.sender.tolist(), rest.nth.tolist(), rest.receiver.tolist())
        for sender, nth, receiver, body in zip(*columns, rest.bodies, strict=True):
            sent.setdefault(receiver, []).append((sender, nth, body))

    def _hear(self, event: HeardShards) -> None:
        """Take what others tell; of ticks that are closed all is known already."""
        for notice in self._heard.new(event.notices):
            for tick, agent, fields in notice.shown:
                if tick >= self._base:
                    self._shown.setdefault(agent, []).append((tick, fields))
                    self._shown[agent].sort(key=itemgetter(0))
            for one in notice.said:
                letter = one.tick, one.sender, one.nth, one.receiver, one.body
                if one.tick >= self._base and not (self._units.names and self._means.post.say(*letter)):
                    sent = self._sent.setdefault(one.tick, {})
                    sent.setdefault(one.receiver, []).append((one.sender, one.nth, one.body))
            for packed in notice.posted:
                frame = unpack_frame(packed, len(packed))
                if frame.tick >= self._base:
                    self._hand_out(outgoing(frame))
            for tick, ids in notice.ids():
                if tick >= self._base:
                    for of, idle in self._release(tick + 1, ids):
                        self._complete(of, idle)

    def _wakes_of(self, tick: int) -> set[int]:
        known = self._wakes.get(tick)
        if known is None:
            known = self._wakes[tick] = set(self._means.timers(tick))
        return known

    def _complete(self, tick: int, ids: Ids) -> None:
        """These agents have a tick behind them, and so have those who take no turn in the ticks after it."""
        todo = deque([(tick, ids)])
        while todo:
            tick, ids = todo.popleft()
            self._done[ids] = tick + 1
            if self._outbox is not None:
                self._outbox.end(tick, ids)
            todo.extend(self._release(tick + 1, ids))

    def _complete_one(self, tick: int, agent: int) -> None:
        """`_complete` for one agent, by plain integers."""
        self._done[agent] = tick + 1
        if self._outbox is not None:
            self._outbox.end(tick, np.array([agent], np.int32))
        tick += 1
        if tick >= self._ticks_of_run:
            return
        lack, free = self._lack_of(tick).data, list[int]()
        for other in (*self._onto.of(agent).tolist(), agent):
            left = lack[other] - 1
            lack[other] = left
            if not left:
                free.append(other)
        if free and tick > self._limit:
            self._held.setdefault(tick, []).append(np.array(free, np.int32))
        elif free:
            for of, idle in self._reach(tick, free):
                self._complete(of, idle)

    def _lack_of(self, tick: int) -> Ids:
        lack = self._lack.get(tick)
        if lack is None:
            lack = self._lack[tick] = self._needs.copy()
        return lack

    def _release(self, tick: int, ids: Ids) -> list[tuple[int, Ids]]:
        """Nobody waits for these agents any more before a tick; gives who takes no turn in it, with its number."""
        if not len(ids) or tick >= self._ticks_of_run:
            return []
        free = count_down(self._lack_of(tick), self._onto, ids)
        if not len(free):
            return []
        if tick > self._limit:
            self._held.setdefault(tick, []).append(free)
            return []
        return self._reach(tick, free.tolist())

    def _reach(self, tick: int, agents: Sequence[int]) -> list[tuple[int, Ids]]:
        """These agents have nobody left to wait for in a tick; gives those who take no turn in it, with its number."""
        due = self._due.get(tick)
        if due is None:
            due = self._due[tick] = self._means.due(tick).tobytes()
        sent, wakes = self._sent.get(tick - 1, {}), self._wakes_of(tick)
        idle: list[int] = []
        for agent in agents:
            if agent >= self._agents or due[agent] or agent in sent or agent in wakes:
                heapq.heappush(self._ready, (tick, -self._weight[agent], agent))
            else:
                idle.append(agent)
        return [(tick, np.array(idle, np.int32))] if idle else []

    def _begin(self, room: int) -> list[tuple[Tick, int]]:
        """Begin turns of the earliest tick in which any may begin, at most so many; gives the tick, and how many.

        Those of agents in columns are not counted.
        """
        if not self._ready or room <= 0:
            return []
        number, agents, whole = self._ready[0][0], list[int](), list[int]()
        while self._ready and self._ready[0][0] == number and len(agents) < room:
            unit = heapq.heappop(self._ready)[2]
            (agents if unit < self._agents else whole).append(unit)
        led = self._led.get(number)
        if led is None:
            led = self._led[number] = self._means.make(number)
        for unit in whole:
            mail = self._means.post.mail(number - 1, unit)
            wakes = np.fromiter(self._wakes_of(number), np.int32, len(self._wakes_of(number)))
            called = np.concatenate((mail.receivers, wakes[self._units.of[wakes] == unit]))
            led.begin_columns(self._units.name(unit), called, mail)
        given, rows, pack = self._given.setdefault(number, {}), self._rows.setdefault(number, {}), self._means.pack
        sent, inbox_of = self._sent.get(number - 1, {}), self._means.mail.inbox
        if not self._unkept.isdisjoint(agents):
            self.keep()
        for agent in agents:
            rows[agent] = pack(agent)
            inbox = given[agent] = inbox_of(number - 1, agent, sent.pop(agent, ()))
            led.begin(agent, inbox)
        return [(led, len(agents))]

    def _check(self, tick: int, begun: dict[int, Sequence[Message]], due: list[int], mail: Mail) -> None:
        """Raise TransportError where turns that have begun have no place in the tick, or other mail."""
        known = set(due)
        for agent, inbox in sorted(begun.items(), key=itemgetter(0)):  # inboxes lie one after the other in the mail
            if agent not in known or _packed(inbox) != _packed(mail.inbox(agent)):
                raise TransportError(
                    f"tick {tick}: the turn of agent {agent} began before it could know what it was to read. That is "
                    "a bug in populace: please report it. The run can go on with `--set limits.ticks_ahead=0`."
                )

    def validate(self) -> None:
        """Raise AssertionError where the state contradicts itself."""
        assert all(self._base < number <= self._limit for number in self._led)
        own = self._done[self._units.own]
        assert int(own.min(initial=self._ticks_of_run)) >= self._base
        assert int(self._done.max(initial=0)) <= self._limit + 1
        for led in self._led.values():
            led.validate()


def ticks_of(event: Answered | Looked | Proceed | HeardShards) -> Collection[int]:
    """To which ticks something that has come belongs; none that is known for what goes on with the open one."""
    if type(event) is Looked:
        return (event.batch // _BATCHES,)
    if type(event) is Answered:
        answers = event.answers
        return (answers[0].tick,) if len(answers) == 1 else {one.tick for one in answers}
    return ()


def _packed(inbox: Sequence[Message]) -> list[tuple[int, bytes]]:
    """An inbox as it came, nothing decoded."""
    return inbox.packed() if isinstance(inbox, EarlyInbox | Inbox) else []
