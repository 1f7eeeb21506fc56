"""The participants of a run. Each drives the real state machine; what stands here is what a transport would do.

A message between two processes may come late, twice or never; a caller asks again until it is answered, and gives the
other up when it never is. A process that starts at an address takes it over; the one before may live on unaddressed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import msgspec

from populace.cluster.barrier import (
    Barrier,
    Begin,
    Effect,
    End,
    Finished,
    Open,
    Resolve,
    ShardDone,
    ShardEnded,
    TickClosed,
    WorldClosed,
)
from populace.cluster.bus import Frame
from populace.cluster.coordinator import DEATHS
from populace.cluster.delivery import distinct, shortfall, tally
from populace.cluster.environment import Reports, read_values
from populace.cluster.events import (
    Answered,
    AskModel,
    EndRun,
    Looked,
    LookWorld,
    Observe,
    OpenTick,
    RunDone,
    Seen,
    TickDone,
)
from populace.cluster.state import (
    RunState,
    from_blocks,
    join_mail,
    join_shards,
    pack_world,
    split_mail,
    to_blocks,
    unpack_world,
)
from populace.core.draws import WORLD
from populace.core.errors import ActorLost, StaleOrder, TransportError
from populace.core.records import Answer, Ask
from simulator import society
from simulator.universe import Process, Universe

CHECKPOINT_TICKS = 2
DRIVER, MODEL, NODE = "driver", "model", "node"


def name(role: int) -> str:
    """The address of a shard, or of the world at -1."""
    return "the world" if role == WORLD else f"shard {role}"


class Start(msgspec.Struct, frozen=True):
    """To the node: start a shard, or the world, at its address. `number` grows with every start."""

    role: int
    number: int
    attempt: int
    tick: int
    state: Any


class Started(msgspec.Struct, frozen=True):
    role: int
    number: int


class Reported(msgspec.Struct, frozen=True):
    tick: int
    reports: Reports


class Failed(msgspec.Struct, frozen=True):
    attempt: int
    names: list[str]
    story: str


class Request(msgspec.Struct, frozen=True):
    """A shard's question to the world; `caller` is the life of the process that asks."""

    id: int
    caller: int
    sender: str
    effect: Any


class Reply(msgspec.Struct, frozen=True):
    id: int
    caller: int
    packed: bytes


class Export(msgspec.Struct, frozen=True):
    """Save what stands before `tick`: all of it, or what changed since the last time."""

    attempt: int
    tick: int
    whole: bool


class Exported(msgspec.Struct, frozen=True):
    attempt: int
    tick: int
    role: int
    state: Any


class Disk:
    """What outlives every process: the journal, the checkpoints, and how many attempts there were."""

    def __init__(self) -> None:
        self.journal: dict[tuple[int, int, int], tuple[bytes, Answer]] = {}
        self.state: RunState | None = None
        self.attempts = 0
        self.starts = 0

    def next_attempt(self) -> int:
        self.attempts += 1
        return self.attempts - 1

    def save(self, state: RunState) -> None:
        """Keep a state as a checkpoint does: what has not changed stands in the one before."""
        before = {} if state.whole or self.state is None else self.state.agents
        blocks = to_blocks(state)
        self.state = from_blocks(state.tick, {**blocks, "agents": {**before, **state.agents}})


class Run(Universe):
    """A universe with one run in it. `paid` counts the model's answers.

    `lost_calls` are those that were in flight when somebody ended, and those of processes that lived on unaddressed.
    """

    def __init__(self, faults: Any, shards: int) -> None:
        super().__init__(faults)
        self.shards = shards
        self.disk = Disk()
        self.paid = 0
        self.lost_calls = 0
        self.deaths = 0
        self.stories: list[str] = []
        self.lives = 0
        self.processes = {NODE: Node(self, NODE), MODEL: Model(self), DRIVER: Driver(self)}
        self.at(0.0, self.processes[DRIVER].run, self.processes[DRIVER].begin)

    def roles(self) -> list[int]:
        return [*range(self.shards), WORLD]


class Node(Process):
    """What starts processes on machines. It does not crash; its messages are as good as everybody's."""

    def __init__(self, universe: Run, address: str) -> None:
        super().__init__(universe, address)
        self.run_ = universe
        self._numbers: dict[int, int] = {}

    def step(self) -> None:
        pass

    def receive(self, message: Start) -> None:
        run, role = self.run_, message.role
        if message.number > self._numbers.get(role, -1):
            before = run.processes.get(name(role))
            if before is not None:
                if isinstance(before, ShardProcess) and before.alive:
                    run.lost_calls += len(before.in_flight)
                    before.replaced = True
                before.alive = before.alive and run.random.random() < run.faults.zombies
            self._numbers[role] = message.number
            run.processes[name(role)] = (WorldProcess if role == WORLD else ShardProcess)(run, message)
        if message.number == self._numbers[role]:
            self.post(DRIVER, Started(role, message.number))


class Model(Process):
    """Answers asks after a while. When it ends, those it was at are lost; whoever asked it asks again."""

    def __init__(self, run: Run) -> None:
        super().__init__(run, MODEL)
        self.run_ = run

    def ask(self, ask: Ask, caller: ShardProcess) -> None:
        self.later(1.0 + 40.0 * self.universe.random.random(), self._answer, ask, caller)

    def _answer(self, ask: Ask, caller: ShardProcess) -> None:
        self.step()
        self.run_.paid += 1
        answer = society.answer(ask)
        self.universe.at(self.universe._delay(), caller.run, caller.answered, answer)
        if self.universe.random.random() < self.universe.faults.doubled:
            self.universe.at(3.0 * self.universe._delay(), caller.run, caller.answered, answer)
        self.step()

    def crashed(self) -> None:
        self.universe.at(50.0, self._again)

    def _again(self) -> None:
        run = self.run_
        run.processes[MODEL] = Model(run)
        for process in list(run.processes.values()):
            if isinstance(process, ShardProcess) and process.alive:
                run.lost_calls += len(process.in_flight)
                process.run(process.ask_again)


class Hosted(Process):
    """A process that hosts a shard or the world: it waits for an order's frames, then hands both to the machine."""

    def __init__(self, run: Run, start: Start) -> None:
        super().__init__(run, name(start.role))
        self.run_ = run
        self.role = start.role
        self.attempt = start.attempt
        run.lives += 1
        self.life = run.lives
        self.frames: dict[int, list[Frame]] = {}
        self.waiting: list[Any] = []
        self.exported: dict[int, Any] = {}

    def receive(self, message: Any) -> None:
        match message:
            case Frame():
                self.frames.setdefault(message.tick, []).append(message)
            case Open() | Resolve() | End():
                self.waiting.append(message)
                self.later(self.universe.PATIENCE, self.force, message)
            case Export():
                self.export(message)
            case _:
                self.hear(message)
        for order in list(self.waiting):
            if self.ready(order):
                self.force(order)

    def ready(self, order: Any) -> bool:
        """Whether all that the order needs has come."""
        return not shortfall(distinct(self.frames_for(order), self.sent_in(order), self.attempt), order.expected)

    def force(self, order: Any) -> None:
        """Carry an order out with the frames that have come."""
        if not any(one is order for one in self.waiting):
            return
        self.waiting = [one for one in self.waiting if one is not order]
        try:
            self.carry_out(order)
        except StaleOrder:
            pass
        except ActorLost as lost:
            self.failed(order.attempt, lost.names, lost.story)
        except TransportError as error:
            self.failed(order.attempt, [self.address], str(error))

    def failed(self, attempt: int, names: list[str], story: str) -> None:
        self.post(DRIVER, Failed(attempt, names, story), lossy=False)

    def crashed(self) -> None:
        if isinstance(self, ShardProcess):
            self.run_.lost_calls += len(self.in_flight)
        if self.universe.random.random() < 0.5:  # or nobody notices, until a caller gives it up
            self.universe.send(DRIVER, Failed(self.attempt, [self.address], "its process ended"), lossy=True)

    def frames_for(self, order: Any) -> list[Frame]:
        return self.frames.get(self.sent_in(order), [])

    def sent_in(self, order: Any) -> int:
        raise NotImplementedError

    def carry_out(self, order: Any) -> None:
        raise NotImplementedError

    def export(self, message: Export) -> None:
        """Give the state at the edge before a tick; asked again, the same."""
        if message.attempt != self.attempt:
            return
        if message.tick not in self.exported and self.stands_before(message.tick):
            self.exported[message.tick] = self.state(message.whole)
        if message.tick in self.exported:
            self.post(DRIVER, Exported(self.attempt, message.tick, self.role, self.exported[message.tick]))

    def stands_before(self, tick: int) -> bool:
        raise NotImplementedError

    def state(self, whole: bool) -> Any:
        raise NotImplementedError

    def hear(self, message: Any) -> None:
        raise NotImplementedError


class ShardProcess(Hosted):
    """A shard, its gateway to the model with its journal, and its door to the world."""

    def __init__(self, run: Run, start: Start) -> None:
        super().__init__(run, start)
        self.shard = society.make_shard(start.role, run.shards, start.attempt)
        if start.state is not None:
            self.shard.restore(start.tick, start.state)
        self.in_flight: dict[tuple[int, int, int], Ask] = {}
        self.replaced = False
        self._calls: dict[int, Any] = {}
        self._n_calls = 0

    def sent_in(self, order: Open | End) -> int:
        return order.tick - 1 if isinstance(order, Open) else self.shard.scope.tick

    def carry_out(self, order: Open | End) -> None:
        frames = self.frames_for(order)
        event = (
            OpenTick(order.tick, frames, order.expected, order.attempt)
            if isinstance(order, Open)
            else EndRun(frames, order.expected, order.attempt)
        )
        self.effects(self.shard.handle(event))

    def effects(self, effects: Sequence[Any]) -> None:
        for effect in effects:
            match effect:
                case AskModel(asks):
                    for ask in asks:
                        self._ask(ask)
                case Observe() | LookWorld():
                    self._n_calls += 1
                    self._calls[self._n_calls] = effect
                    self._call(self._n_calls, 1)
                case TickDone():
                    self._tick_done(effect)
                case RunDone():
                    self.post(DRIVER, ShardEnded(effect.shard, effect.counts, effect.attempt))

    def _tick_done(self, done: TickDone) -> None:
        for frame in done.frames:
            self.post(name(frame.destination), frame)
        reports = Reports(done.agents, done.fields, done.shard, done.attempt)
        self.post(name(WORLD), Reported(done.tick, reports))
        parcels = [(frame.destination, frame) for frame in done.frames if frame.destination != WORLD]
        event = ShardDone(
            done.shard, done.attempt, done.tick, done.agents, done.digests, done.counts, parcels, done.sent
        )
        self.post(DRIVER, event)

    def _call(self, call: int, tries: int) -> None:
        effect = self._calls.get(call)
        if effect is None:
            return
        if tries > self.universe.TRIES:
            self.failed(self.attempt, [name(WORLD)], "it does not answer")
            return
        self.post(name(WORLD), Request(call, self.life, self.address, effect))
        self.later(self.universe.PATIENCE, self._call, call, tries + 1)

    def hear(self, message: Any) -> None:
        if not isinstance(message, Reply) or message.caller != self.life or message.id not in self._calls:
            return
        effect, values = self._calls.pop(message.id), read_values(message.packed)
        event = Seen(values) if isinstance(effect, Observe) else Looked(effect.batch, values)
        self.effects(self.shard.handle(event))

    def _ask(self, ask: Ask) -> None:
        identity = (ask.agent, ask.tick, ask.nth)
        found = self.run_.disk.journal.get(identity)
        if found is not None and found[0] == ask.key:
            self.later(0.1, self._told, found[1])
            return
        self.in_flight[identity] = ask
        self.run_.lost_calls += self.replaced
        self.step()
        self.run_.processes[MODEL].run(self.run_.processes[MODEL].ask, ask, self)

    def ask_again(self) -> None:
        for ask in list(self.in_flight.values()):
            self.run_.processes[MODEL].run(self.run_.processes[MODEL].ask, ask, self)

    def answered(self, answer: Answer) -> None:
        """An answer is on record before its turn sees it."""
        self.step()
        identity = (answer.agent, answer.tick, answer.nth)
        ask = self.in_flight.get(identity)
        if ask is not None:
            self.run_.disk.journal.setdefault(identity, (ask.key, answer))
            self.step()
            del self.in_flight[identity]
        self._told(answer)

    def _told(self, answer: Answer) -> None:
        self.effects(self.shard.handle(Answered([answer])))

    def stands_before(self, tick: int) -> bool:
        return tick == self.shard.scope.tick + 1 and not self.shard._open

    def state(self, whole: bool) -> Any:
        return self.shard.export(whole=whole)


class WorldProcess(Hosted):
    """The environment service."""

    def __init__(self, run: Run, start: Start) -> None:
        super().__init__(run, start)
        self.environment = society.make_environment(run.shards, start.attempt)
        if start.state is not None:
            self.environment.world.restore(unpack_world(start.state))
        self.reports: dict[int, list[Reports]] = {}

    def sent_in(self, order: Resolve) -> int:
        return order.tick

    def hear(self, message: Any) -> None:
        match message:
            case Reported(tick, reports):
                self.reports.setdefault(tick, []).append(reports)
            case Request(id, caller, sender, effect):
                world = self.environment
                packed = world.observe(effect.agents) if isinstance(effect, Observe) else world.look(effect.looks)
                self.post(sender, Reply(id, caller, packed))

    def ready(self, order: Resolve) -> bool:
        reported = {one.shard for one in self.reports.get(order.tick, []) if one.attempt == self.attempt}
        return len(reported) == self.run_.shards and super().ready(order)

    def carry_out(self, order: Resolve) -> None:
        reports = self.reports.get(order.tick, [])
        done = self.environment.close_tick(
            order.tick, self.frames_for(order), reports, order.expected, order.attempt
        )
        for frame in done.frames:
            self.post(name(frame.destination), frame)
        parcels = [(frame.destination, frame) for frame in done.frames]
        self.post(DRIVER, WorldClosed(done.tick, done.digest, done.counts, parcels, done.sent, done.attempt))

    def stands_before(self, tick: int) -> bool:
        return tick == self.environment.world.tick

    def state(self, whole: bool) -> Any:
        return pack_world(self.environment.world.state())


class Driver(Process):
    """Carries out the barrier's effects, saves the run, goes back to the last checkpoint after a loss."""

    def __init__(self, run: Run) -> None:
        super().__init__(run, DRIVER)
        self.run_ = run
        self.attempt = -1
        self.barrier: Any = None
        self._deaths: Counter[str] = Counter()
        self._open: dict[Any, tuple[str, Any]] = {}
        self._numbers: dict[int, int] = {}
        self._state: RunState | None = None
        self._whole = True
        self._todo: deque[Effect] = deque()
        self._saving: dict[int, Any] | None = None

    def begin(self) -> None:
        """One attempt: start everything, from the newest state."""
        run, disk = self.run_, self.run_.disk
        self.attempt = disk.next_attempt()
        self.step()
        self.barrier, self._saving, self._whole = None, None, True
        self._open, self._todo, self._numbers = {}, deque(), {}
        state = self._state = disk.state
        tick = 0 if state is None else state.tick
        for role in run.roles():
            disk.starts += 1
            self._numbers[role] = disk.starts
            part = None
            if state is not None:
                part = pack_world(state.world) if role == WORLD else state.shard(role, run.shards)
            self._order(("start", role), NODE, Start(role, disk.starts, self.attempt, tick, part), [name(role)])

    def crashed(self) -> None:
        """Somebody takes the run up again."""
        run = self.run_
        run.deaths += 1
        run.stories.append("the driver crashed")
        driver = run.processes[DRIVER] = Driver(run)
        self.universe.at(100.0, driver.run, driver.begin)

    def _order(self, key: Any, to: str, message: Any, names: list[str]) -> None:
        self._open[key] = (to, message)
        self._send(key, message, names, 1)

    def _send(self, key: Any, message: Any, names: list[str], tries: int) -> None:
        entry = self._open.get(key)
        if entry is None or entry[1] is not message:
            return
        if tries > 3 * self.universe.TRIES:
            self._lost(names, f"no reply to {key}")
            return
        self.post(entry[0], message)
        self.later(self.universe.PATIENCE, self._send, key, message, names, tries + 1)

    def receive(self, message: Any) -> None:
        match message:
            case Started(role, number):
                if self._numbers.get(role) == number and self.barrier is None:
                    self._open.pop(("start", role), None)
                    if not self._open:
                        self._all_started()
            case Failed(attempt, names, story):
                if attempt == self.attempt:
                    self._lost(names, story)
            case Exported():
                self._exported(message)
            case ShardDone() | WorldClosed() | ShardEnded():
                if self.barrier is not None:
                    self._forget(message)
                    self._todo.extend(self.barrier.handle(message))
                    self.barrier.validate()
                    self._go_on()

    def _forget(self, event: Any) -> None:
        """What this event answers need not be sent again."""
        if event.attempt != self.attempt:
            return
        match event:
            case ShardDone():
                self._open.pop(("open", event.shard, event.tick), None)
            case WorldClosed():
                self._open.pop(("resolve", event.tick), None)
            case ShardEnded():
                self._open.pop(("end", event.shard), None)

    def _all_started(self) -> None:
        shards, state = self.run_.shards, self._state
        barrier = self.barrier = Barrier(shards, society.TICKS, 0 if state is None else state.tick, self.attempt)
        if state is not None:
            frames = split_mail(state.mail, shards=shards, attempt=self.attempt, frame_bytes=society.FRAME_BYTES)
            mail: dict[int, list[Frame]] = {shard: [] for shard in range(shards)}
            for frame in frames:
                mail[frame.destination].append(frame)
                self.post(name(frame.destination), frame)
            barrier.restore(state.hashes, state.total, mail, tally(frames))
        self._todo.extend(self.barrier.handle(Begin()))
        self._go_on()

    def _go_on(self) -> None:
        while self._todo and self._saving is None:
            self.step()
            match self._todo.popleft():
                case Open() as order:
                    self._order(("open", order.shard, order.tick), name(order.shard), _bare(order), [name(order.shard)])
                case Resolve() as order:
                    self._order(("resolve", order.tick), name(WORLD), _bare(order), [name(WORLD)])
                case End() as order:
                    self._order(("end", order.shard), name(order.shard), _bare(order), [name(order.shard)])
                case TickClosed(tick):
                    if (tick + 1) % CHECKPOINT_TICKS == 0:
                        self._saving = {}
                        for role in self.run_.roles():
                            message = Export(self.attempt, tick + 1, self._whole)
                            self._order(("export", role), name(role), message, [name(role)])
                case Finished():
                    self.universe.outcome = (self.barrier.trace.ticks, self.barrier.total)

    def _exported(self, message: Exported) -> None:
        if message.attempt != self.attempt or self._saving is None or message.tick != self.barrier.tick:
            return
        self._open.pop(("export", message.role), None)
        self._saving[message.role] = message.state
        if len(self._saving) == self.run_.shards + 1:
            self.step()
            self._save(self._saving)
            self.step()
            self._saving, self._whole = None, False
            self._go_on()

    def _save(self, parts: dict[int, Any]) -> None:
        barrier = self.barrier
        agents, timer_ticks, timer_agents = join_shards([parts[shard] for shard in range(barrier.shards)])
        state = RunState(
            tick=barrier.tick,
            agents=agents,
            whole=self._whole,
            timer_ticks=timer_ticks,
            timer_agents=timer_agents,
            mail=join_mail(barrier.tick - 1, [frame for box in barrier.mail.values() for frame in box]),
            world=unpack_world(parts[WORLD]),
            total=barrier.total,
            hashes=list(barrier.trace.ticks),
        )
        self.run_.disk.save(state)

    def _lost(self, names: list[str], story: str) -> None:
        run = self.run_
        run.deaths += 1
        run.stories.append(f"attempt {self.attempt}: {names}: {story}")
        self._deaths.update(names)
        if max(self._deaths.values()) >= DEATHS:
            run.outcome = ActorLost(names, f"{story}. It is the third time")
            return
        self.begin()


def _bare(order: Any) -> Any:
    """An order without its parcels: frames travel by themselves."""
    return msgspec.structs.replace(order, parcels=[])
