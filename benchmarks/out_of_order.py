"""How much sooner a run ends where turns wait for those who influence them alone: makespan beside the lower bound.

    python benchmarks/out_of_order.py [--agents N] [--degree N] [--slots N] [--slow N] [--sigma F] [--ticks N]
        [--shards N] [--columns N]

Agents are asked once a tick, and each of `--degree` others, drawn by lot, may influence it. Calls take a log-normal
time with a median of 1 s, `--slots` of them at once; the call that is waited for longest in ticks goes first. The clock
is virtual: only calls take time, so the figures are those of the order of turns and not of this machine, and the same
on any. What the engine costs itself is measured beside, in seconds of CPU. With `--columns` there are so many agents in
columns beside them, each of whom tells one of them a number in each tick, and whom nobody influences.

The lower bound is the longer of what all calls take over the slots and the longest chain of turns of which each waits
for the one before. No order of the turns is faster.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import math
import selectors
import tempfile
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np
from figures import figure

import populace.cluster.host as host
from populace import Agent, ColumnarAgent, Context, Parameters, Population, Society
from populace.agents.columnar_context import ColumnarContext
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.draws import Stream
from populace.core.records import Answer, Ask
from populace.data.societies import find_society
from populace.env import Network, World
from populace.models.protocol import Deliver, Pressure
from populace.settings import load_settings

SLOWER: Final = 10.0
"""How many times as long a slow endpoint takes."""


class Dials(Parameters):
    """How many others may influence an agent."""

    degree: int = 4


class Talker(Agent):
    """Asks once a tick, and tells those who follow it what it was answered."""

    heard: int = 0

    async def turn(self, ctx: Context) -> None:
        """Ask and tell."""
        self.heard = sum(message.body for message in ctx.inbox) % 1_000_003
        answer = await ctx.ask(f"agent {ctx.id} at {ctx.tick}: {self.heard}")
        followers = await ctx.look("network.followers")
        ctx.send(followers, len(str(answer)) + ctx.id + self.heard)


class Station(ColumnarAgent):
    """Tells its listener a number."""

    value: int = 0
    listener: int = 0

    def turns(self, ctx: ColumnarContext) -> None:
        """Tell all listeners."""
        self.value = (self.value * 31 + ctx.ids) % 1_000_003
        ctx.send(self.listener, self.value)


def _population(setup: Any) -> Population:
    return Population({"heard": [0] * setup.agents})


def _populations(setup: Any) -> dict[str, Population]:
    talkers, stations = setup.count("talker"), setup.count("station")
    return {
        "talker": Population({"heard": [0] * talkers}),
        "station": Population({"listener": [one * 7919 % talkers for one in range(stations)]}),
    }


def ties_among(agents: int, degree: int, seed: int) -> list[tuple[int, int]]:
    """Who follows whom."""
    drawn = np.random.Generator(np.random.Philox(seed))
    return [(one, (one + 1 + int(other)) % agents) for one in range(agents)
            for other in drawn.choice(agents - 1, degree, replace=False)]  # fmt: skip


def _world(setup: Any, people: Any) -> World:
    beside = isinstance(people, dict)
    talkers = setup.count("talker") if beside else setup.agents
    ties = ties_among(talkers, setup.parameters.degree, setup.seed)
    if beside:
        ties += [(listener, talkers + at) for at, listener in enumerate(people["station"].columns["listener"])]
    source, target = zip(*ties, strict=True)
    return World(Network(source, target, size=setup.agents))


society = Society(
    name="talkers", agent=Talker, population=_population, world=_world, parameters=Dials(), influence="network"
)
beside = Society(
    name="talkers beside stations", types={"talker": Talker, "station": Station}, population=_populations,
    world=_world, parameters=Dials(), influence="network", size={"talker": 1000, "station": 1000},
)  # fmt: skip


class VirtualClock(selectors.DefaultSelector):
    """Where nothing happens, time goes on to what is due next; it stands still while a thread is `at_work`."""

    now_s = 0.0
    at_work = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        """What has happened; a wait for a call takes no time."""
        if self.at_work:
            return super().select(timeout if timeout is not None and timeout <= 0.0 else 0.001)
        if timeout is not None and timeout > 0.0:
            self.now_s += timeout
            timeout = 0.0
        return super().select(timeout)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop by a virtual clock, in seconds from 0."""

    def __init__(self) -> None:
        self._clock = VirtualClock()
        super().__init__(self._clock)

    def time(self) -> float:
        """The virtual time."""
        return self._clock.now_s

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        """Run something in a thread, which takes no virtual time."""
        self._clock.at_work += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, _: Any) -> None:
        self._clock.at_work -= 1


class Slots:
    """A model that answers so many calls at once, each after a time drawn for its ask; the earliest tick goes first.

    The last `slow` of the slots are those of an endpoint that takes ten times as long.
    """

    def __init__(self, slots: int, sigma: float, seed: int, slow: int = 0) -> None:
        self.failure: Exception | None = None
        self.slots = slots
        self.free = list(range(slots))
        self.sigma = sigma
        self.seed = seed
        self.took_s: dict[tuple[int, int], float] = {}
        """What each call takes where nothing is slow."""
        self.slow = slow
        self._waiting: list[tuple[int, int, int, Ask, Deliver]] = []
        self._entries = count()

    async def open(self) -> None:
        """Nothing has to be made ready."""

    def pressure(self) -> Pressure:
        """What waits and what is in flight."""
        return Pressure(waiting=len(self._waiting), in_flight=self.slots - len(self.free))

    def offer(self, asks: Sequence[Ask], deliver: Deliver) -> None:
        """Queue the asks."""
        for ask in asks:
            heapq.heappush(self._waiting, (ask.tick, ask.agent, next(self._entries), ask, deliver))
        self._start()

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        while self.free and self._waiting:
            *_, ask, deliver = heapq.heappop(self._waiting)
            slot = heapq.heappop(self.free)
            draw = Stream(self.seed, ask.agent, ask.tick, "latency")
            took_s = math.exp(draw.normal(0.0, self.sigma))
            self.took_s[ask.agent, ask.tick] = took_s
            slow = slot >= self.slots - self.slow
            loop.call_later(SLOWER * took_s if slow else took_s, self._done, slot, ask, deliver)

    def _done(self, slot: int, ask: Ask, deliver: Deliver) -> None:
        heapq.heappush(self.free, slot)
        deliver([Answer(ask.agent, ask.tick, ask.nth, "answered", "x" * (1 + ask.agent % 7), calls=1)])
        self._start()

    def wind_down(self) -> None:
        """Nothing."""

    def abort(self) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing."""


def bound_s(took_s: dict[tuple[int, int], float], influences: list[list[int]], ticks: int, slots: float) -> float:
    """The longer of all calls' time over the slots, and the longest chain of turns that wait for one another."""
    through = [0.0] * len(influences)
    for tick in range(ticks):
        through = [
            max(through[agent], *(through[one] for one in by)) + took_s[agent, tick] if by
            else through[agent] + took_s[agent, tick]
            for agent, by in enumerate(influences)
        ]  # fmt: skip
    return max(math.fsum(took_s.values()) / slots, max(through))


def play(options: argparse.Namespace, ahead: int) -> tuple[float, float, float, str]:
    """One run: its makespan and its lower bound in virtual seconds, seconds of CPU, and its trace hash."""
    model = Slots(options.slots, options.sigma, options.seed, options.slow)
    host.build_gateway = lambda *_args, **_options: model  # type: ignore[assignment]
    agents = {"talker": options.agents, "station": options.columns} if options.columns else options.agents
    settings = load_settings(
        model__kind="scripted", agents=agents, ticks=options.ticks, seed=options.seed, journal="off",
        limits__ticks_ahead=ahead, shards=options.shards, society__degree=options.degree, record__messages=False,
        record__asks=False, record__actions=False, record__ties=False,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        of = find_society(f"{__file__}:{'beside' if options.columns else 'society'}")
        coordinator = Coordinator(of, settings, LocalTransport(), Path(folder))
        began_s = time.process_time()
        manifest = runner.run(coordinator.run())
        cpu_s = time.process_time() - began_s
        makespan_s = runner.get_loop().time()
    influences: list[list[int]] = [[] for _ in range(options.agents)]
    for one, other in ties_among(options.agents, options.degree, options.seed):
        influences[one].append(other)
    rate = options.slots - options.slow + options.slow / SLOWER
    bound = bound_s(model.took_s, influences, options.ticks, rate)
    return makespan_s, bound, cpu_s, manifest["trace_hash"]


AIM_OF_BOUND = 1.10


def main() -> None:
    """Play the runs and print them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--degree", type=int, default=4)
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--slow", type=int, default=0, help="how many of the slots take ten times as long")
    parser.add_argument("--sigma", type=float, default=1.0)
    parser.add_argument("--ticks", type=int, default=30)
    parser.add_argument("--shards", type=int, default=1, help="in one process, with the slots in common")
    parser.add_argument("--columns", type=int, default=0, help="how many agents in columns there are beside them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ahead", type=int, nargs="+", default=[0, 2, 4, 8, 16])
    options = parser.parse_args()
    hashes = set()
    beside_columns = ", beside agents in columns" if options.columns else ""
    barrier_s = 0.0
    for ahead in options.ahead:
        makespan_s, bound, cpu_s, trace = play(options, ahead)
        hashes.add(trace)
        barrier_s = makespan_s if not ahead else barrier_s
        of_bound = makespan_s / bound
        figure(
            f"makespan, {options.slots} slots, {ahead} ticks ahead{beside_columns}", of_bound, "of the bound", up=False,
            aim=AIM_OF_BOUND if ahead and ahead == max(options.ahead) else None,
        )  # fmt: skip
        faster = f"{barrier_s / makespan_s:5.2f} times the barrier" if ahead and barrier_s else ""
        print(f"ahead {ahead:3}: {makespan_s:8.1f} s, {makespan_s / bound:5.3f} of the bound {bound:7.1f} s; "
              f"{cpu_s:5.1f} s of CPU {faster}")  # fmt: skip
    print("one trace hash" if len(hashes) == 1 else f"DIFFERENT HASHES: {hashes}")


if __name__ == "__main__":
    main()
