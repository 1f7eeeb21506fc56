"""What it costs that agents keep between turns only what a checkpoint gives back (`kernel.saving`), and trying parts.

Run it as `python benchmarks/saving.py [--agents N] [--ticks N] [--rounds N]`. Runs in one process, one shard, tables
off; both are timed where they are called, from the end of tick 0 to the end of the run. The share is their CPU time
over that of all else in the same run, the median of the rounds and their range: a loaded machine slows both alike.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from figures import figure
from rich.console import Console
from rich.table import Table

from populace.cluster.collector import tune_collector
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.data.societies import Origin
from populace.kernel.environment import Environment
from populace.kernel.saving import Keeper
from populace.monitoring.report import Pulse, TickReport
from populace.settings import load_settings

HEAD = "from typing import Any\nfrom populace import Agent, Choice, Population, Public, Society, World\n"
TAIL = """
society = Society(name="s", agent=One, population=lambda setup: Population({"size": [setup.agents] * setup.agents}))
"""
RULE = """
class One(Agent):
    size: int
    mood: Public[float] = 0.0

    async def turn(self, ctx):
        for message in ctx.inbox:
            self.mood = 0.9 * self.mood + 0.1 * message.body
        ctx.send(ctx.draw("partner").integer(self.size), self.mood + 1.0)
"""
REMEMBERING = """
class One(Agent):
    size: int
    mood: Public[float] = 0.0
    memory: list[str] = []
    met: set[int] = set()
    ties: dict[int, float] = {}
    last: Any = None

    async def turn(self, ctx):
        for message in ctx.inbox:
            self.mood = 0.9 * self.mood + 0.1 * message.body["mood"]
            self.met.add(message.sender)
            self.ties[message.sender] = self.mood
            self.last = message.body
        self.memory = [*self.memory[-9:], f"tick {ctx.tick}: I met {len(self.met)}"]
        ctx.send(ctx.draw("partner").integer(self.size), {"mood": self.mood + 1.0, "why": [1, "a"]})
"""
ASKING = """
VOTE = Choice("yes", "no")

class One(Agent):
    size: int
    yes: Public[bool] = False

    async def turn(self, ctx):
        vote = await ctx.ask(f"You are {ctx.id} on day {ctx.tick}. Do you agree?", VOTE, system="You are a voter.")
        self.yes = vote.label == "yes"
"""
SOURCES = {"rule agents": RULE, "rule agents that remember": REMEMBERING, "asking agents": ASKING}


class Clock:
    """An observer that notes CPU time at the end of tick 0."""

    began_s = 0.0

    def begin(self, scenario: str, agents: int, ticks: int, shards: int, model: str) -> None: ...

    def pulse(self, pulse: Pulse) -> None: ...

    def note(self, text: str) -> None: ...

    def end(self, status: str, manifest: Mapping[str, Any]) -> None: ...

    def tick(self, report: TickReport) -> None:
        self.began_s = self.began_s or time.process_time()


class Timed:
    """Calls a function or method and sums the CPU time that its calls take, from when `clock` began."""

    def __init__(self, call: Callable[..., Any], clock: Clock) -> None:
        self.call = call
        self.clock = clock
        self.spent_s = 0.0

    def __get__(self, owner: object, kind: type | None = None) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            began_s = time.process_time()
            try:
                return self.call(owner, *args, **options)
            finally:
                if self.clock.began_s:
                    self.spent_s += time.process_time() - began_s

        return timed


def spent_s(source: str, agents: int, ticks: int) -> tuple[float, float]:
    """CPU seconds that a run takes to keep and try, and those of all else, after its first tick."""
    out, clock = Path(tempfile.mkdtemp()), Clock()
    off = dict.fromkeys(("record__messages", "record__asks", "record__actions"), False)
    settings = load_settings(
        agents=agents, ticks=ticks, model__kind="scripted", record__agents="none", journal="off", **off
    )
    run = Coordinator(Origin("society.py", HEAD + source + TAIL), settings, LocalTransport(), out, [clock])
    tune_collector()
    keep, tried = Timed(Keeper.keep, clock), Timed(Environment.try_parts, clock)
    try:
        with patch.object(Keeper, "keep", keep), patch.object(Environment, "try_parts", tried):
            asyncio.run(run.run())
        spent = keep.spent_s + tried.spent_s
        return spent, time.process_time() - clock.began_s - spent
    finally:
        shutil.rmtree(out)


AIM_SHARE = 0.10  # of a turn


def main() -> None:
    """Run all societies and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=5_000)
    parser.add_argument("--ticks", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    table = Table("agents", "us a turn for it", "us a turn for all else", "share, median", "range")
    turns = options.agents * (options.ticks - 1)
    for name, source in SOURCES.items():
        rounds = [spent_s(source, options.agents, options.ticks) for _ in range(options.rounds)]
        kept, rest = (1e6 * statistics.median(side) / turns for side in zip(*rounds, strict=True))
        shares = [mine / others for mine, others in rounds]
        figure(
            f"keeping {name}, of a turn", statistics.median(shares), "", aim=AIM_SHARE, up=False, least=min(shares),
            most=max(shares),
        )  # fmt: skip
        table.add_row(
            name, f"{kept:.2f}", f"{rest:.1f}", f"{statistics.median(shares):.3f}",
            f"{min(shares):.3f} to {max(shares):.3f}",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
