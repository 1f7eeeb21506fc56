"""The driver: what the coordinator does, over the simulated network."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

import msgspec

from populace.cluster.coordinator import DEATHS
from populace.core.draws import WORLD
from populace.core.errors import ActorLost
from populace.kernel.barrier import (
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
from populace.kernel.bus import Frame, count_messages
from populace.kernel.columnar import join_columns
from populace.kernel.snapshot import RunState, join_mail, join_shards, pack_world_state, split_mail, unpack_world_state
from support.simulator import society
from support.simulator.hosts import Model, Node
from support.simulator.messages import DRIVER, MODEL, NODE, Export, Exported, Failed, Run, Start, Started, name
from support.simulator.universe import Faults, Process

CHECKPOINT_TICKS = 2


def make_run(faults: Faults, shards: int) -> Run:
    """A run that is about to begin."""
    run = Run(faults, shards)
    driver = Driver(run)
    run.processes = {NODE: Node(run, NODE), MODEL: Model(run), DRIVER: driver}
    run.at(0.0, driver.run, driver.begin)
    return run


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
                part = pack_world_state(state.world) if role == WORLD else state.shard(role, run.shards)
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
            barrier.restore(state.hashes, state.total, mail, count_messages(frames))
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
            world=unpack_world_state(parts[WORLD]),
            total=barrier.total,
            hashes=list(barrier.trace.ticks),
            columns=join_columns([parts[shard].columns for shard in range(barrier.shards)]),
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
    return msgspec.structs.replace(order, envelope=msgspec.structs.replace(order.envelope, parcels=[]))
