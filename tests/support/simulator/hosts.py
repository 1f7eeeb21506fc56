"""The participants besides the driver. Each drives the real state machine; the rest is what a transport would do.

A message between two processes may come late, twice or never; a caller asks again until it is answered, and gives the
other up when it never is. A process that starts at an address takes it over; the one before may live on unaddressed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from populace.core.draws import WORLD
from populace.core.errors import ActorLost, StaleOrder, TransportError
from populace.core.records import Answer, Ask
from populace.kernel.barrier import End, Open, Resolve, ShardDone, ShardEnded, WorldClosed
from populace.kernel.bus import Frame, distinct, shortfall
from populace.kernel.events import (
    Answered,
    AskModel,
    Attend,
    Attended,
    ClaimAsks,
    Claimed,
    EndRun,
    HeardAnswers,
    HeardRounds,
    HeardShards,
    Looked,
    LookWorld,
    Observe,
    ObserveColumns,
    OpenTick,
    Proceed,
    RunDone,
    Seen,
    SeenColumns,
    TellAnswers,
    TellRounds,
    TellShards,
    TickDone,
)
from populace.kernel.notices import Notice
from populace.kernel.packing import read_seen, read_values
from populace.kernel.reports import Reports
from populace.kernel.snapshot import pack_world_state, unpack_world_state
from support.environments import handed
from support.simulator import society
from support.simulator.messages import (
    DRIVER,
    MODEL,
    Export,
    Exported,
    Failed,
    Hear,
    Reply,
    Reported,
    Request,
    Run,
    Start,
    Started,
    name,
)
from support.simulator.universe import Process


class Node(Process):
    """What starts processes on machines. It does not crash; its messages are as good as everybody's."""

    def __init__(self, run: Run, address: str) -> None:
        super().__init__(run, address)
        self.run_ = run
        self._numbers: dict[int, int] = {}

    def step(self) -> None:
        pass

    def receive(self, message: Start) -> None:
        run, role = self.run_, message.role
        if message.number > self._numbers.get(role, -1):
            before = run.processes.get(name(role))
            if before is not None:
                if isinstance(before, Hosted) and before.alive:
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

    def ask(self, ask: Ask, caller: Hosted) -> None:
        self.later(1.0 + 40.0 * self.universe.random.random(), self._answer, ask, caller)

    def _answer(self, ask: Ask, caller: Hosted) -> None:
        self.step()
        self.run_.paid += 1
        self.run_.asked.add((ask.agent, ask.tick, ask.nth, ask.key))
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
            if isinstance(process, Hosted) and process.alive:
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
        self.in_flight: dict[tuple[int, int, int], Ask] = {}
        self.replaced = False

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
        frames = distinct(self.frames_for(order), self.sent_in(order), self.attempt)
        return not shortfall(frames, order.envelope.expected)

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
            self.failed(order.envelope.attempt, lost.names, lost.story)
        except TransportError as error:
            self.failed(order.envelope.attempt, [self.address], str(error))

    def failed(self, attempt: int, names: list[str], story: str) -> None:
        self.post(DRIVER, Failed(attempt, names, story), lossy=False)

    def crashed(self) -> None:
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

    def told(self, answer: Answer) -> None:
        """What the model says, once it is on record."""
        raise NotImplementedError

    def _ask(self, ask: Ask) -> None:
        identity = (ask.agent, ask.tick, ask.nth)
        found = self.run_.disk.journal.get(identity)
        if found is not None and found[0] == ask.key:
            self.later(0.1, self.told, found[1])
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
            self.run_.disk.journal[identity] = (ask.key, answer)
            self.step()
            del self.in_flight[identity]
        self.told(answer)


class ShardProcess(Hosted):
    """A shard, its gateway to the model with its journal, and its door to the world."""

    def __init__(self, run: Run, start: Start) -> None:
        super().__init__(run, start)
        self.shard = society.make_shard(start.role, run.shards, start.attempt)
        if start.state is not None:
            self.shard.restore(start.tick, start.state)
        self._calls: dict[int, Any] = {}
        self._n_calls = 0
        self._ending: TickDone | None = None

    def sent_in(self, order: Open | End) -> int:
        return order.tick - 1 if isinstance(order, Open) else self.shard.tick

    def carry_out(self, order: Open | End) -> None:
        envelope = msgspec.structs.replace(order.envelope, parcels=self.frames_for(order))
        event = OpenTick(order.tick, envelope) if isinstance(order, Open) else EndRun(envelope)
        self.effects(self.shard.handle(event))

    def effects(self, effects: Sequence[Any]) -> None:
        for effect in effects:
            match effect:
                case AskModel(asks):
                    for ask in asks:
                        self._ask(ask)
                case Observe() | ObserveColumns() | LookWorld() | Attend() | TellRounds() | ClaimAsks() | TellAnswers():
                    self._begin_call(effect)
                case TellShards(notices):
                    for one in notices:
                        self.post(name(one.destination), one)
                case Proceed():
                    self.effects(self.shard.handle(effect))
                case TickDone():
                    self._ending = effect
                case RunDone():
                    self.post(DRIVER, ShardEnded(effect.shard, effect.counts, effect.attempt))
        self._end_tick()
        if (self.shard.exchanging or self.shard.sharing is not None) and not self._calling(Hear):
            self._begin_call(Hear())

    def _calling(self, *kinds: type) -> bool:
        return any(isinstance(one, kinds) for one in self._calls.values())

    def _end_tick(self) -> None:
        """Tell how the tick ended, once the world has been told of all who left, asked and were answered."""
        if self._ending is not None and not self._calling(TellRounds, TellAnswers, ClaimAsks):
            done, self._ending = self._ending, None
            self._tick_done(done)

    def _begin_call(self, effect: Any) -> None:
        self._n_calls += 1
        self._calls[self._n_calls] = effect
        match effect:
            case ClaimAsks():
                tick = effect.tick
            case TellAnswers(answers):
                tick = answers[0].tick
            case Hear() if self.shard.sharing is not None:
                tick = self.shard.sharing
            case _:
                tick = self.shard.tick
        self._call(self._n_calls, tick, 1)

    def _tick_done(self, done: TickDone) -> None:
        for frame in done.frames:
            self.post(name(frame.destination), frame)
        reports = Reports(done.agents, done.fields, done.shard, done.attempt, done.whole)
        self.post(name(WORLD), Reported(done.tick, reports))
        parcels = [(frame.destination, frame) for frame in done.frames if frame.destination != WORLD]
        event = ShardDone(
            done.shard, done.attempt, done.tick, done.agents, done.digests, done.counts, parcels, done.sent, done.sums
        )
        self.post(DRIVER, event)

    def _call(self, call: int, tick: int, tries: int) -> None:
        effect = self._calls.get(call)
        if effect is None:
            return
        if tries > self.universe.TRIES:
            self.failed(self.attempt, [name(WORLD)], "it does not answer")
            return
        request = Request(call, self.life, self.address, effect, self.attempt, self.role, tick)
        self.post(name(WORLD), request)
        self.later(self.universe.PATIENCE, self._call, call, tick, tries + 1)

    def hear(self, message: Any) -> None:
        if isinstance(message, Notice):
            self.effects(self.shard.handle(HeardShards([message])))
            return
        if not isinstance(message, Reply) or message.caller != self.life or message.id not in self._calls:
            return
        effect = self._calls.pop(message.id)
        events: list[Any]
        match effect:
            case Observe():
                events = [Seen(read_seen(message.values))]
            case ObserveColumns():
                events = [SeenColumns(message.values)]
            case LookWorld():
                events = [Looked(effect.batch, read_values(message.values))]
            case Attend():
                events = [Attended(message.values)]
            case ClaimAsks(claims):
                events = [Claimed(message.values, [(one.agent, one.nth) for one in claims], effect.tick)]
            case _:
                heard, answers = message.values
                events = [HeardRounds(heard), HeardAnswers(answers)]
        for event in events:
            self.effects(self.shard.handle(event))

    def told(self, answer: Answer) -> None:
        self.effects(self.shard.handle(Answered([answer])))

    def stands_before(self, tick: int) -> bool:
        return tick == self.shard.tick + 1 and self.shard.open is None

    def state(self, whole: bool) -> Any:
        return self.shard.export(whole=whole)


class WorldProcess(Hosted):
    """The environment service. A shard's call is answered once, and the same to whoever repeats it."""

    HEARING = 150.0
    """How long a shard that waits for what is heard in rounds is left without a reply."""
    KEPT = True

    def __init__(self, run: Run, start: Start) -> None:
        super().__init__(run, start)
        self.environment = society.make_environment(run.shards, start.attempt)
        if start.state is not None:
            self.environment.world.restore(unpack_world_state(start.state))
        self.reports: dict[int, list[Reports]] = {}
        self._replies: dict[tuple[int, int], Reply] = {}
        self._hearing: dict[tuple[int, int], Request] = {}

    def sent_in(self, order: Resolve) -> int:
        return order.tick

    def hear(self, message: Any) -> None:
        match message:
            case Reported(tick, reports):
                self.reports.setdefault(tick, []).append(reports)
            case Request():
                self._serve(message)

    def _serve(self, request: Request) -> None:
        key = (request.caller, request.id)
        if self.KEPT and (reply := self._replies.get(key)) is not None:
            self.post(request.sender, reply)
            return
        world, effect, shard = self.environment, request.effect, request.shard
        values: Any
        try:
            match effect:
                case Observe(agents):
                    values = world.observe(agents, request.attempt)
                case ObserveColumns(agents):
                    values = world.observe_columns(agents, request.attempt)
                case ClaimAsks(claims):
                    values = world.claim(shard, request.tick, claims, request.attempt)
                case TellAnswers(answers):
                    world.tell_answers(request.tick, answers, request.attempt)
                    values = [], []
                case LookWorld(_, looks):
                    values = world.look(looks, request.attempt)
                case Attend(agents):
                    values = world.attend(shard, request.tick, agents, request.attempt)
                case TellRounds(said, left):
                    world.tell(shard, request.tick, said, left, request.attempt)
                    values = world.hear(shard, request.tick, request.attempt), []
                case _:
                    if key not in self._hearing:
                        self._hearing[key] = request
                        self.later(self.HEARING, self._tell, key, True)
                    values = None
        except StaleOrder:
            return
        if values is not None:
            self._reply(request, values)
        for waiting in list(self._hearing):
            self._tell(waiting, False)

    def _reply(self, request: Request, values: Any) -> None:
        reply = self._replies[request.caller, request.id] = Reply(request.id, request.caller, values)
        self.post(request.sender, reply)

    def _tell(self, key: tuple[int, int], anyway: bool) -> None:
        """Reply to a shard that waits to hear, if there is something, or it has waited for long."""
        request = self._hearing.get(key)
        if request is None:
            return
        whose = request.shard, request.tick, request.attempt
        try:
            heard = self.environment.hear(*whose) if society.TALKING else []
            answers = self.environment.hear_answers(*whose)
        except StaleOrder:
            heard, answers = [], []
        if heard or answers or anyway:
            del self._hearing[key]
            self._reply(request, (heard, answers))

    def ready(self, order: Resolve) -> bool:
        reported = {one.shard for one in self.reports.get(order.tick, []) if one.attempt == self.attempt}
        return len(reported) == self.run_.shards and super().ready(order)

    def carry_out(self, order: Resolve) -> None:
        expected, attempt = order.envelope.expected, order.envelope.attempt
        handed_over = handed(self.frames_for(order), self.reports.get(order.tick, []), expected, attempt)
        self._go_on(self.environment.close_tick(order.tick, handed_over))

    def told(self, answer: Answer) -> None:
        if self.environment.closing:
            self._go_on(self.environment.answer([answer]))

    def _go_on(self, step: Any) -> None:
        """Ask what parts want asked, or tell how the tick ended."""
        if isinstance(step, AskModel):
            for ask in step.asks:
                self._ask(ask)
            return
        for frame in step.frames:
            self.post(name(frame.destination), frame)
        parcels = [(frame.destination, frame) for frame in step.frames]
        self.post(DRIVER, WorldClosed(step.tick, step.digest, step.counts, parcels, step.sent, step.attempt))

    def stands_before(self, tick: int) -> bool:
        return tick == self.environment.world.tick and not self.environment.closing

    def state(self, whole: bool) -> Any:
        return pack_world_state(self.environment.world.state())
