"""Runs whose processes are killed: a provider that bills every call that reaches it, and kill -9 at its nth call.

The provider is a real HTTP server on loopback in the test's process. It bills a call when it arrives, whether its
answer is read or not, and knows by the content (messages and seed) which calls are one ask's.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import psutil
from aiohttp import web

from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.data.societies import find_society
from populace.runs.courses import resume_course
from support.misbehaving import Act, Misbehaving, Seen
from support.running import SOCIETIES, settings_of

AGENTS, TICKS, EVERY = 40, 6, 2
NEAR_S = 2.0
"""A call that is paid for twice was open within so long of a kill: what is on the wire is in no process's books."""


@dataclass
class Kill:
    """One kill -9: whose processes died, at which call, and how many connections to the provider died with them.

    A connection carries one call at a time, so no more calls than that were in flight.
    """

    who: str
    nth: int
    at_s: float
    open_calls: int
    slots: int
    tick: int = -1


class Provider(Misbehaving):
    """A provider that answers after 5 to 25 ms, drawn from the call's content, and kills at planned calls.

    `kills` are (nth call, who) in order. `victims` gives the processes of a name now: those that die first, then those
    that die of it. A victim that is not there is waited for.
    """

    def __init__(
        self, kills: Iterable[tuple[int, str]] = (), stretch: float = 1.0, how: signal.Signals = signal.SIGKILL
    ) -> None:
        super().__init__(self._act_on)
        self.planned = sorted(kills)
        self.stretch = stretch
        self.how = how
        self.done: list[Kill] = []
        self.struck: set[int] = set()
        self.victims: Callable[[str], tuple[list[int], list[int]]] = lambda _: ([], [])
        self.ended_s: dict[int, float] = {}

    @property
    def calls(self) -> int:
        """Calls billed."""
        return len(self.seen)

    def twice(self) -> list[Seen]:
        """The calls that were paid for once more later, as they were first made."""
        first: dict[bytes, Seen] = {}
        found = []
        for seen in self.seen:
            key = name_of(seen)
            if key in first:
                found.append(first[key])
            first[key] = seen
        return found

    def far_from_a_kill(self) -> list[Seen]:
        """Calls that were paid for twice although they were not open about any kill."""
        now = time.monotonic()
        return [
            seen
            for seen in self.twice()
            if not any(
                seen.arrived_s < kill.at_s + NEAR_S and self.ended_s.get(seen.nth, now) > kill.at_s - NEAR_S
                for kill in self.done
            )
        ]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        nth = len(self.seen)
        try:
            return await super()._handle(request)
        finally:
            self.ended_s[nth] = time.monotonic()

    def _act_on(self, seen: Seen) -> Act:
        if self.planned and seen.nth >= self.planned[0][0]:
            self._strike(self.planned[0][1])
        return Act(latency_s=self.stretch * (0.005 + 0.02 * name_of(seen)[0] / 255))

    def _strike(self, who: str) -> None:
        direct, others = self.victims(who)
        direct = [pid for pid in direct if pid not in self.struck and psutil.pid_exists(pid)]
        if not direct:
            return
        nth, _ = self.planned.pop(0)
        if self.how is signal.SIGKILL:  # else who has just begun opens more while they are counted
            for pid in direct:
                os.kill(pid, signal.SIGSTOP)
        slots = sum(self._connections(pid) for pid in (*direct, *others))
        for pid in direct:
            os.kill(pid, self.how)
        self.struck.update(direct)
        self.done.append(Kill(who, nth, time.monotonic(), self.open_now, slots))

    def _connections(self, pid: int) -> int:
        try:
            there = psutil.Process(pid).net_connections(kind="tcp")
        except psutil.Error:
            return 0
        return sum(bool(one.raddr) and one.raddr.port == self.port for one in there)


def name_of(seen: Seen) -> bytes:
    """What tells the calls of one ask from all others."""
    assert seen.body is not None
    return blake2b(json.dumps([seen.body["messages"], seen.body["seed"]]).encode(), digest_size=16).digest()


def options_of(provider: Misbehaving, **options: Any) -> dict[str, Any]:
    """Options of a run that asks this provider."""
    return {
        "model__kind": "openai", "endpoint__base_url": provider.base_url, "model__name": "test-model",
        "endpoint__concurrency": 8, "agents": AGENTS, "ticks": TICKS, "shards": 2,
        "checkpoint__every_ticks": EVERY, **options,
    }  # fmt: skip


@dataclass
class Clock:
    """Tells when each tick ended, and what was noted."""

    ticks: list[tuple[float, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def begin(self, *_: object) -> None: ...
    def pulse(self, _: object) -> None: ...
    def end(self, *_: object) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)

    def tick(self, report: Any) -> None:
        self.ticks.append((time.monotonic(), report.tick))

    def back_s(self, kill: Kill, kills: list[Kill]) -> float:
        """Seconds from a kill to the end of the first tick that was not known before it; sets the kill's tick.

        They are counted from the last kill where others followed before that.
        """
        kill.tick = max((tick for at_s, tick in self.ticks if at_s <= kill.at_s), default=0)
        back_s = min(at_s for at_s, tick in self.ticks if at_s > kill.at_s and tick > kill.tick)
        return back_s - max(one.at_s for one in kills if one.at_s <= back_s)


def run_here(out: Path, scenario: str = SOCIETIES, **options: Any) -> dict[str, Any]:
    """A run in this process."""
    coordinator = Coordinator(find_society(scenario), settings_of(**options), LocalTransport(), out)
    return asyncio.run(coordinator.run())


def resume_here(out: Path, clock: Clock | None = None, **options: Any) -> dict[str, Any]:
    """Go on with a run, in this process."""
    going = resume_course(out, **options)
    observers = [] if clock is None else [clock]
    return asyncio.run(Coordinator(going.origin, going.settings, LocalTransport(), out, observers, going.course).run())


def run_elsewhere(out: Path, scenario: str, **options: Any) -> int | None:
    """A run in a fresh process; its exit code, negative where a signal ended it."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["populace.cluster.coordinator", "populace.cluster.local", "populace.env"])
    process = server.Process(target=run_here, args=(out, scenario), kwargs=options)
    process.start()
    process.join(240)
    assert process.exitcode is not None
    return process.exitcode


def watched_transport() -> Any:
    """A Ray transport that knows its actors' processes: `pids()` by name."""
    from populace.cluster.ray import RayTransport

    class Watched(RayTransport):
        def __init__(self) -> None:
            super().__init__()
            self.known: dict[str, int] = {}

        async def start(self, job: Any) -> Any:
            opened = await super().start(job)
            actors = {"the world": self._environment, "the quota": self._quota}
            actors |= {f"shard {index}": actor for index, actor in enumerate(self._shards)}
            there = {name: actor for name, actor in actors.items() if actor is not None}
            pid = lambda _actor: os.getpid()  # noqa: E731 - a named function would have to be importable there
            found = await asyncio.gather(*(actor.__ray_call__.remote(pid) for actor in there.values()))
            self.known = dict(zip(there, found, strict=True))
            return opened

    return Watched()


def run_on_ray(
    out: Path, provider: Provider, scenario: str = SOCIETIES, **options: Any
) -> tuple[dict[str, Any], Clock]:
    """A run whose shards, world and quota are processes that the provider may kill."""
    transport, clock = watched_transport(), Clock()
    provider.victims = lambda who: ([transport.known[who]] if who in transport.known else [], [])
    settings = settings_of(transport="ray", **options)
    coordinator = Coordinator(find_society(scenario), settings, transport, out, [clock])
    return asyncio.run(coordinator.run()), clock


class Command:
    """`populace` in a process of its own; `ticks` are read from its log as they come."""

    def __init__(self, *args: str, cwd: Path, **env: str) -> None:
        self.clock = Clock()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "populace.cli", *args], cwd=cwd, env={**os.environ, **env}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.errors: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                try:
                    event = json.loads(line)
                except ValueError:
                    self.errors.append(line)
                    continue
                if event["event"] == "tick":
                    self.clock.ticks.append((time.monotonic(), event["tick"]))
                elif event["event"] == "note":
                    self.clock.notes.append(event["text"])

    def wait(self, timeout_s: float = 120.0) -> int:
        """Its exit code."""
        assert self.process.stdout is not None
        try:
            self.out = self.process.stdout.read()
            code = self.process.wait(timeout_s)
            self._reader.join(240)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
        return code
