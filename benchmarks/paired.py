"""Whole runs of this checkout beside those of another, in turn: what a change costs, as ratios of CPU time.

Run it as `python benchmarks/paired.py OTHER_CHECKOUT [--rounds N] [--only NAME]`, for instance beside a
`git worktree add ../before COMMIT`. Each row is a society run by the command line (`python -m populace.cli run`) of
either checkout, one after the other in every round, the order changing from round to round; time is the CPU time of
the process and its children, less that of the same run with one tick, so that start-up is left out. A ratio above 1
says that this checkout is faster. The model is the scripted one: what is measured is the engine.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

RULE = '''
from populace import Agent, Population, Public, Society

class Citizen(Agent):
    size: int
    mood: Public[float] = 0.0

    async def turn(self, ctx):
        for message in ctx.inbox:
            self.mood = 0.9 * self.mood + 0.1 * message.body
        ctx.send(ctx.draw("partner").integer(self.size), self.mood + 1.0)

society = Society(name="rule", agent=Citizen,
                  population=lambda setup: Population({"size": [setup.agents] * setup.agents}))
'''

ASKING = '''
from populace import Agent, Choice, Population, Public, Society

VOTE = Choice("yes", "no")

class Voter(Agent):
    profile: str
    yes: Public[bool] = False

    async def turn(self, ctx):
        vote = await ctx.ask(f"{self.profile} It is day {ctx.tick}. Do you agree?", VOTE, system="You are a voter.")
        self.yes = vote.label == "yes"

society = Society(name="asking", agent=Voter,
                  population=lambda setup: Population({"profile": [f"You are {i}." for i in range(setup.agents)]}))
'''

FEED = '''
from populace import Agent, Population, Public, Society, World
from populace.env import Feed, Network

class User(Agent):
    seen: Public[int] = 0

    async def turn(self, ctx):
        posts = await ctx.look("feed.from_followed", n=5)
        self.seen += len(posts)
        if ctx.draw("post").bernoulli(0.2):
            ctx.act("feed.post", text=f"a post of {ctx.id}")
        for post in posts[:2]:
            ctx.act("feed.like", post=post["id"])

society = Society(name="feed", agent=User, population=lambda setup: Population({"seen": [0] * setup.agents}),
                  world=lambda setup, people: World(Network.watts_strogatz(setup, neighbours=10, rewire=0.1), Feed()))
'''

OFF = ("--set", "record.agents=none", "--set", "record.messages=false", "--set", "record.asks=false",
       "--set", "record.actions=false")  # fmt: skip


class Row(NamedTuple):
    """A society, its size, and further arguments of the command line."""

    source: str
    agents: int
    ticks: int
    more: tuple[str, ...] = ()


ROWS = {
    "rule agents, no tables": Row(RULE, 10_000, 16, OFF),
    "rule agents, tables": Row(RULE, 10_000, 16),
    "rule agents, two shards": Row(RULE, 10_000, 16, ("--shards", "2")),
    "asking agents, no tables": Row(ASKING, 10_000, 11, OFF),
    "asking agents, tables": Row(ASKING, 10_000, 11),
    "network and feed": Row(FEED, 3_000, 11),
}


def cpu_s(checkout: Path, row: Row, ticks: int) -> float:
    """CPU seconds of one run and its children."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "society.py").write_text(row.source, encoding="utf-8")
        size = ("--agents", str(row.agents), "--ticks", str(ticks))
        command = [sys.executable, "-m", "populace.cli", "run", "society.py", "--model", "scripted", *size, *row.more]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [*command, "--out", "run"], cwd=folder, env={**os.environ, "PYTHONPATH": str(checkout)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{checkout}: {' '.join(command)}\n{done.stderr}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Run all rows and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="another checkout, as it was before")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="rows whose names hold this")
    options = parser.parse_args()
    here, other = Path(__file__).resolve().parents[1], options.other.resolve()
    table = Table("row", "turns/s here", "turns/s there", "here / there, median", "least", "most")
    for name, row in ROWS.items():
        if options.only not in name:
            continue
        spent: dict[Path, list[float]] = {here: [], other: []}
        for turn in range(options.rounds):
            for checkout in (here, other) if turn % 2 else (other, here):
                spent[checkout].append(cpu_s(checkout, row, row.ticks) - cpu_s(checkout, row, 1))
        turns = row.agents * (row.ticks - 1)
        ratios = sorted(there / mine for mine, there in zip(spent[here], spent[other], strict=True))
        best = (turns / min(spent[here]), turns / min(spent[other]))
        table.add_row(
            name, *(f"{one:,.0f}" for one in best), f"{statistics.median(ratios):.2f}", f"{ratios[0]:.2f}",
            f"{ratios[-1]:.2f}",
        )  # fmt: skip
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
