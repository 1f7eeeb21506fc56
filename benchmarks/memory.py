"""Bytes an agent takes: dormant, due at a tick's peak, and waiting for the model.

Run it as `python benchmarks/memory.py [--agents N]`. Linux only (it reads /proc).

Each figure comes from a child process of its own, twice: once under tracemalloc, which counts what Python and NumPy
asked for, and once as resident memory (VmRSS before, VmHWM at the peak), which counts pages. The agents declare no
fields, so that all there is belongs to the kernel: the agent object, its place in the shard, its id.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figures import figure
from rich.console import Console
from rich.table import Table

from populace.agents.activation import Activation, EveryTick, Sometimes
from populace.agents.agent import Agent
from populace.agents.context import Context, Scope
from populace.cluster.host import ShardHost
from populace.cluster.local import _Door
from populace.cluster.world_host import WorldHost
from populace.core.draws import Draws
from populace.core.records import Ask
from populace.env import Opening, World
from populace.kernel.bus import Envelope
from populace.kernel.environment import Environment
from populace.kernel.events import TickDone
from populace.kernel.plan import Hosted, ShardPlan
from populace.kernel.shard import Shard
from populace.models.protocol import Deliver, Pressure
from populace.models.scripted.gateway import Scripted
from populace.store.journal.recording import Recording

CASES = {
    "dormant": "dormant: nobody due, no mail",
    "due": "due: a draw and a send, in one tick",
    "mail": "due, and reads one message of 100 bytes",
    "waiting": "waiting for the model, prompt of 200 characters",
}
TICKS = 3


class Idle(Agent):
    """Does nothing."""


class Sender(Agent):
    """One draw, one send."""

    async def turn(self, ctx: Context) -> None:
        for _ in ctx.inbox:
            pass
        ctx.send((ctx.id + 1 + ctx.draw("step").integer(1)) % ctx.parameters, "x" * 98)


class Asker(Agent):
    """One ask."""

    async def turn(self, ctx: Context) -> None:
        await ctx.ask(f"{ctx.id:0200d}")


class AllAtOnce:
    """A gateway that answers when every agent waits, so that the peak holds all of them."""

    failure = None

    def __init__(self, model: Scripted, agents: int) -> None:
        self._model = model
        self._agents = agents
        self._held: list[tuple[Sequence[Ask], Deliver]] = []

    async def open(self) -> None: ...

    def wind_down(self) -> None: ...

    def abort(self) -> None: ...

    async def close(self) -> None: ...

    def pressure(self) -> Pressure:
        return Pressure(waiting=0, in_flight=0)

    def offer(self, asks: Sequence[Ask], deliver: Deliver) -> None:
        self._held.append((asks, deliver))
        if sum(len(held) for held, _ in self._held) >= self._agents:
            held, self._held = self._held, []
            for of, to in held:
                self._model.offer(of, to)


AIM_BYTES = 500  # of a dormant agent


def status_bytes(field: str) -> int:
    """A field of /proc/self/status, in bytes."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def child(case: str, agents: int, traced: bool) -> float:
    """Bytes an agent of one case, measured in this process."""
    kind: type[Agent] = {"dormant": Idle, "due": Sender, "mail": Sender, "waiting": Asker}[case]
    activation: Activation = Sometimes(0.0) if case == "dormant" else EveryTick()
    run_ticks(kind, activation, 100, 2)  # imports, caches and the event loop are not the agents' cost
    gc.collect()
    if traced:
        tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0] if traced else status_bytes("VmRSS")
    if case == "dormant":
        keep = run_ticks(kind, activation, agents, TICKS)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0] if traced else status_bytes("VmRSS")
        assert len(keep[0].shard.agents) == agents
    else:
        built = build(kind, activation, agents)
        done = asyncio.run(drive(*built, 0, 1, [])) if case == "mail" else None
        gc.collect()
        if traced:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
        else:
            before = status_bytes("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")
        first = 1 if case == "mail" else 0
        last = asyncio.run(drive(*built, first, first + 1, done.frames if done else []))
        after = tracemalloc.get_traced_memory()[1] if traced else status_bytes("VmHWM")
        assert last is not None
        assert len(last.agents) == agents
    return (after - before) / agents


def build(kind: type[Agent], activation: Activation, agents: int) -> tuple[ShardHost, Environment]:
    """One shard of everyone, and an empty world."""
    plan = ShardPlan(0, 1, 0, False, agents, 10_000, 2**25, False, False)
    scope = Scope(1, 1.0, agents, agents, "scripted", 64, 0.0, 65_536, 100, frozenset(), frozenset())
    world = World()
    world.open(Opening(agents=agents, seed=1, tick_seconds=1.0, parameters=None, columns={}, draw=Draws(1), fields={}))
    environment = Environment(world, {}, shards=1, frame_bytes=2**25)
    shard = Shard(plan, scope, [kind() for _ in range(agents)], {"agent": Hosted(kind, {}, activation)})
    return ShardHost(
        shard, Recording(AllAtOnce(Scripted(seed=1), agents), None), _Door(WorldHost(environment, None))
    ), environment


async def drive(
    runner: ShardHost, environment: Environment, first: int, last: int, frames: list[Any]
) -> TickDone | None:
    """Run the ticks `first` to `last` - 1."""
    done = None
    for tick in range(first, last):
        done = await runner.run_tick(tick, Envelope(frames))
        frames = done.frames
        environment.close_tick(tick, Envelope())
    return done


def run_ticks(kind: type[Agent], activation: Activation, agents: int, ticks: int) -> tuple[ShardHost, Environment]:
    """A society after some ticks."""
    built = build(kind, activation, agents)
    asyncio.run(drive(*built, 0, ticks, []))
    return built


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=100_000)
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--traced", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(child(options.case, options.agents, options.traced))
        return
    table = Table("an agent that is", "bytes asked for (tracemalloc)", "bytes resident", "aim",
                  title=f"{options.agents} agents without fields, one shard, one process")  # fmt: skip
    for case, title in CASES.items():
        figures = [
            float(subprocess.run(
                [sys.executable, __file__, "--agents", str(options.agents), "--case", case, *flag],
                check=True, capture_output=True, text=True,
            ).stdout)
            for flag in (["--traced"], [])
        ]  # fmt: skip
        aim = AIM_BYTES if case == "dormant" else None
        figure(f"an agent that is {title}", figures[0], "bytes", aim=aim, up=False)
        table.add_row(title, *(f"{one:,.0f}" for one in figures), f"< {aim}" if aim else "")
    Console().print(table)


if __name__ == "__main__":
    main()
