"""Virtual time, a network that delays, doubles, reorders and loses, and processes that crash where the seed says."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec


class Faults(msgspec.Struct, frozen=True):
    """What goes wrong in a run. Shares are of messages; `dropped` of frames and of calls between processes.

    `crashes` are the steps of the protocol (numbered as they are taken) at which whoever takes the step ends. Whoever
    lives at the address `cursed` ends at its tenth step, in each of its lives. `zombies` is the share of processes that
    live on when another has taken over their address.
    """

    seed: int = 0
    doubled: float = 0.0
    reordered: float = 0.0
    dropped: float = 0.0
    crashes: frozenset[int] = frozenset()
    zombies: float = 0.0
    cursed: str = ""


class Crash(BaseException):
    """A process ends here, in the middle of whatever it does."""


class Hang(AssertionError):
    """A run that neither ends nor does anything."""


class Process:
    """A participant with an address. A process that has ended neither receives nor sends; its timers are void."""

    def __init__(self, universe: Universe, address: str) -> None:
        self.universe = universe
        self.address = address
        self.alive = True
        self.steps = 0

    def receive(self, message: Any) -> None:
        raise NotImplementedError

    def crashed(self) -> None:
        """Told when the process has ended by a crash."""

    def run(self, call: Callable[..., None], *args: Any) -> None:
        """Do a piece of the process's work; a crash in it ends the process."""
        if not self.alive:
            return
        try:
            call(*args)
        except Crash:
            self.alive = False
            self.universe.crashed[self.address] += 1
            self.crashed()

    def step(self) -> None:
        """One step of the protocol: the process may crash here."""
        self.universe.step()
        self.steps += 1
        if self.address == self.universe.faults.cursed and self.steps == 10:
            raise Crash

    def post(self, to: str, message: Any, *, lossy: bool = True) -> None:
        """Send a message; `lossy` ones may be dropped."""
        self.step()
        self.universe.send(to, message, lossy=lossy)

    def later(self, delay: float, call: Callable[..., None], *args: Any) -> None:
        self.universe.at(delay, self.run, call, *args)


class Universe:
    """Everything that is: who lives at which address, and what will happen when."""

    PATIENCE = 400.0
    """How long a caller waits for a reply before it asks again, and a receiver for frames: no delay is longer."""
    TRIES = 6
    MOST_EVENTS = 200_000

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.random = random.Random(faults.seed)
        self.now = 0.0
        self.steps = 0
        self.processes: dict[str, Process] = {}
        self.crashed: Counter[str] = Counter()
        self.dropped = 0
        self.doubled = 0
        self.outcome: Any = None
        self._queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._events = 0

    def at(self, delay: float, call: Callable[..., None], *args: Any) -> None:
        self._events += 1
        heapq.heappush(self._queue, (self.now + delay, self._events, call, args))

    def step(self) -> None:
        self.steps += 1
        if self.steps in self.faults.crashes:
            raise Crash

    def send(self, to: str, message: Any, *, lossy: bool) -> None:
        faults, draw = self.faults, self.random.random
        if lossy and draw() < faults.dropped:
            self.dropped += 1
            return
        self.at(self._delay(), self._deliver, to, message)
        if draw() < faults.doubled:
            self.doubled += 1
            # Some doubles come so late that ticks, or whole lives, have passed.
            self.at(self._delay() + (0.0 if draw() < 0.5 else 2000.0 * draw()), self._deliver, to, message)

    def _delay(self) -> float:
        delay = 1.0 + 9.0 * self.random.random()
        return delay + 150.0 * self.random.random() if self.random.random() < self.faults.reordered else delay

    def _deliver(self, to: str, message: Any) -> None:
        process = self.processes.get(to)
        if process is not None:
            process.run(self._received, process, message)

    @staticmethod
    def _received(process: Process, message: Any) -> None:
        process.step()
        process.receive(message)

    def run(self) -> Any:
        """Let everything happen until there is an outcome. Raises Hang where there will be none."""
        for _ in range(self.MOST_EVENTS):
            if self.outcome is not None:
                return self.outcome
            if not self._queue:
                break
            self.now, _, call, args = heapq.heappop(self._queue)
            call(*args)
        raise Hang(f"no outcome at {self.now}, after {self.steps} steps")
