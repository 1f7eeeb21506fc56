"""Crowds on one machine: how long a run of a million agents takes to begin, what an agent takes, how long a tick is.

    python benchmarks/crowd.py [--agents 1000000] [--dormant 10000000] [--shards N] [--transport local|ray]

Each row is a run of the command line in processes of its own, with journal and checkpoints on: agents with three
public fields in a network of mean degree 20, with a feed. First 1 % of them are active in a tick, then 10 %; an
active one reads three posts of those it follows, likes one, and one in ten posts. There is no model. `ready` is from
the start of the command to the begin of the first tick; memory is that of all processes of the run together (PSS,
samples each half second), at its most and at rest, the median of the samples while ticks with 1 % active last; an
agent's is what it is more than in a run of 1,000 agents. A row of a tenth of the agents has as many active with 10 %
as the whole has with 1 %: what a tick grows by with the population at equal activity is told under the table. The
last row has agents without fields, world or activity. Linux only (it reads /proc).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from figures import figure
from rich.console import Console
from rich.table import Table

FEW, FIRST, MANY = 8, 2, 3
"""Ticks with 1 % active, of which the first are not counted, and ticks with 10 % active."""

CROWD = f"""
from populace import Agent, Population, Public, Sometimes, Society, World
from populace.env import Feed, Network

class User(Agent):
    mood: Public[float] = 0.0
    read: Public[int] = 0
    posted: Public[bool] = False

    async def turn(self, ctx):
        posts = await ctx.look("feed.from_followed", n=3)
        self.read += len(posts)
        self.mood = 0.9 * self.mood + 0.1 * ctx.draw("mood").random()
        for post in posts[:1]:
            ctx.act("feed.like", post=post["id"])
        if ctx.draw("post").bernoulli(0.1):
            self.posted = True
            ctx.act("feed.post", text=f"a post of {{ctx.id}} in tick {{ctx.tick}}")

class Rising:
    def due(self, seed, tick, ids):
        return Sometimes(0.01 if tick < {FEW} else 0.1).due(seed, tick, ids)

society = Society(
    name="crowd", agent=User, population=lambda setup: Population.of_defaults(setup.agents), activation=Rising(),
    world=lambda setup, people: World(Network.watts_strogatz(setup, neighbours=20, rewire=0.1), Feed()),
    ticks={FEW + MANY},
)
"""
DORMANT = """
from populace import Agent, Population, Society, Sometimes

class Sleeper(Agent):
    async def turn(self, ctx):
        pass

society = Society(name="dormant", agent=Sleeper, activation=Sometimes(0.0), ticks=3,
                  population=lambda setup: Population.of_defaults(setup.agents))
"""


class Measured(NamedTuple):
    """Seconds until the first tick, seconds of a tick with 1 % and with 10 % active, bytes of memory, bytes on disk.

    `rest_bytes` are those held at rest, `held_bytes` the most.
    """

    ready_s: float
    few_s: float
    many_s: float
    rest_bytes: float
    held_bytes: int
    written_bytes: int


def run(source: str, agents: int, more: list[str]) -> Measured:
    """Run a society, watched from outside."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "society.py").write_text(source, encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1]), "PYTHONHASHSEED": "0"}
        command = [
            sys.executable, "-m", "populace.cli", "run", "society.py", "--model", "scripted", "--agents", str(agents),
            "--out", "out", "--set", "checkpoint.every_ticks=4", *more,
        ]  # fmt: skip
        began_s, samples = time.time(), list[tuple[float, int]]()
        with (folder / "log.txt").open("w") as log:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
            while process.poll() is None:
                samples.append((time.time(), pss_bytes(process.pid)))
                time.sleep(0.5)
        if process.returncode:
            raise SystemExit((folder / "log.txt").read_text()[-4000:])
        told = [json.loads(line) for line in (folder / "out" / "progress.jsonl").read_text().splitlines()]
        ends = {one["tick"]: one["wall_s"] for one in told if one["event"] == "tick"}
        begins = next(one for one in told if one["event"] == "tick")
        written = sum(path.stat().st_size for path in (folder / "out").rglob("*") if path.is_file())
        ready_s = begins["at_s"] - begins["wall_s"] - began_s
        rest = held_between(samples, begins["at_s"], [one["at_s"] for one in told if one.get("tick") == FEW])
        few_s, many_s = per_tick_s(ends, FIRST, FEW), per_tick_s(ends, FEW, FEW + MANY)
        return Measured(ready_s, few_s, many_s, rest, max(held for _, held in samples), written)


def held_between(samples: list[tuple[float, int]], first_s: float, ends_s: list[float]) -> float:
    """The median of what was held from a moment to the first of others; the nearest sample where none fell between."""
    until_s = min(ends_s, default=samples[-1][0])
    inside = [held for at_s, held in samples if first_s <= at_s <= until_s]
    return statistics.median(inside or [min(samples, key=lambda one: abs(one[0] - first_s))[1]])


def per_tick_s(ends: dict[int, float], first: int, last: int) -> float:
    """Seconds a tick from the end of tick `first` to that of `last`, by what was told (not each tick is)."""
    told = sorted(tick for tick in ends if first <= tick <= last)
    return (ends[told[-1]] - ends[told[0]]) / (told[-1] - told[0]) if len(told) > 1 else float("nan")


def pss_bytes(pid: int) -> int:
    """What a process and all that it started hold, what is shared divided among those who share it."""
    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return 0
    for one in family:
        try:
            lines = Path(f"/proc/{one.pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def main() -> None:
    """Run all sizes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=1_000_000)
    parser.add_argument("--dormant", type=int, default=10_000_000, help="0 leaves them out")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--transport", choices=("local", "ray"), default="local")
    options = parser.parse_args()
    more = ["--shards", str(options.shards), "--transport", options.transport]
    table = Table("agents", "ready, s", "tick, 1 % active, s", "tick, 10 % active, s", "at rest / most, MB",
                  "bytes an agent", "MB written", title=f"load {os.getloadavg()[0]:.1f}, {' '.join(more)}")  # fmt: skip
    base, found = run(CROWD, 1_000, more), list[list[Any]]()
    for source, agents in ((CROWD, options.agents // 10), (CROWD, options.agents), (DORMANT, options.dormant)):
        if not agents:
            continue
        rounds = [run(source, agents, more) for _ in range(options.rounds)]
        middle: list[Any] = [statistics.median(column) for column in zip(*rounds, strict=True)]
        found.append(middle)
        name = f"{agents:,}{', dormant' if source is DORMANT else ''}"
        held_mb = [one / 1e6 for one in middle[3:5]]
        an_agent = [(one - less) / (agents - 1_000) for one, less in zip(middle[3:5], base[3:5], strict=True)]
        figure(f"{name}: ready", middle[0], "s")
        if math.isfinite(middle[1]):  # each tick of a small crowd may hold a checkpoint
            figure(f"{name}: a tick, 1 % active", middle[1], "s")
        figure(f"{name}: at most", an_agent[1], "bytes an agent")
        table.add_row(
            name, f"{middle[0]:.1f}", f"{middle[1]:.2f}", f"{middle[2]:.2f}", "{:,.0f} / {:,.0f}".format(*held_mb),
            "{:,.0f} / {:,.0f}".format(*an_agent), f"{middle[5] / 1e6:,.1f}",
        )  # fmt: skip
    Console(width=110).print(table)
    grows = found[1][1] / found[0][2] - 1.0
    few = options.agents // 100
    print(f"A tick with {few:,} active, of {options.agents:,} agents over one of a tenth of them: {grows:+.0%}")


if __name__ == "__main__":
    main()
