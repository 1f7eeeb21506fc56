"""What it costs that agents keep between turns only what a checkpoint gives back (`kernel.saving`), and trying parts.

Run it as `python benchmarks/saving.py [--agents N] [--ticks N] [--rounds N]`. Runs in one process with it and without
it, in turn, the order changing from round to round; tables off. Each figure is CPU time from the end of tick 0 to the
end of the run; the ratio is that with it over that without it, the median of the rounds and their range.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rich.console import Console
from rich.table import Table

from populace.cluster.coordinator import Coordinator
from populace.cluster.host import tune_collector
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


def spent_s(source: str, agents: int, ticks: int, *, kept: bool) -> float:
    """CPU seconds of a run after its first tick."""
    out, clock = Path(tempfile.mkdtemp()), Clock()
    off = dict.fromkeys(("record__messages", "record__asks", "record__actions"), False)
    settings = load_settings(
        agents=agents, ticks=ticks, model__kind="scripted", record__agents="none", journal="off", **off
    )
    run = Coordinator(Origin("society.py", HEAD + source + TAIL), settings, LocalTransport(), out, [clock])
    tune_collector()
    try:
        if kept:
            asyncio.run(run.run())
        else:
            with patch.object(Keeper, "keep", lambda *_, **__: []), patch.object(Environment, "try_parts"):
                asyncio.run(run.run())
        return time.process_time() - clock.began_s
    finally:
        shutil.rmtree(out)


def main() -> None:
    """Run all societies and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=5_000)
    parser.add_argument("--ticks", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    table = Table("agents", "us a turn without", "us a turn with", "ratio, median", "range")
    for name, source in SOURCES.items():
        pairs = []
        for at in range(options.rounds):
            took = {
                kept: spent_s(source, options.agents, options.ticks, kept=kept) for kept in (at % 2 == 0, at % 2 == 1)
            }
            pairs.append((took[False], took[True]))
        turns = options.agents * (options.ticks - 1)
        ratios = [on / off for off, on in pairs]
        without, given = (1e6 * statistics.median(side) / turns for side in zip(*pairs, strict=True))
        table.add_row(
            name, f"{without:.1f}", f"{given:.1f}", f"{statistics.median(ratios):.3f}",
            f"{min(ratios):.3f} to {max(ratios):.3f}",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
