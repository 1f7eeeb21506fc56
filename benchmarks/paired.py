"""Whole runs of this checkout beside those of another, in turn: what a change costs, as ratios of CPU time.

Run it as `python benchmarks/paired.py OTHER_CHECKOUT [--rounds N] [--only NAME] [--scale F]`, for instance beside a
`git worktree add ../before COMMIT`. Each row is a society. Either checkout has a process of its own that stays, and
does the runs by the command line's entry point (`populace.cli`); the two take turns, the order changing from round to
round, after one run of each that does not count. Time is the CPU time of the process from when the population is made
to the end of the run, so other programs of the machine and start-up are left out. A ratio above 1 says that this
checkout is faster. The model is the scripted one: what is measured is the engine.

`--metrics` has runs of this checkout with metrics on beside those without, and needs no other checkout: the ratio is
the CPU time without over that with. Both are done by one process, since two processes of the same code differ by more
than metrics cost. Beside the ratio stands what all calls of metrics took by a clock of their own, as a share of the
run's CPU time: it can be trusted on a busy machine too. `--same` has the same runs on both sides: what it shows is how
far the other ratios can be trusted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

RULE = """
from populace import Agent, Population, Public, Society

class Citizen(Agent):
    size: int
    mood: Public[float] = 0.0

    async def turn(self, ctx):
        for message in ctx.inbox:
            self.mood = 0.9 * self.mood + 0.1 * message.body
        ctx.send(ctx.draw("partner").integer(self.size), self.mood + 1.0)

society = Society(name="rule", agent=Citizen,
                  population=lambda setup: begun(Population({"size": [setup.agents] * setup.agents})))
"""

ASKING = """
from populace import Agent, Choice, Population, Public, Society

VOTE = Choice("yes", "no")

class Voter(Agent):
    profile: str
    yes: Public[bool] = False

    async def turn(self, ctx):
        vote = await ctx.ask(f"{self.profile} It is day {ctx.tick}. Do you agree?", VOTE, system="You are a voter.")
        self.yes = vote.label == "yes"

society = Society(name="asking", agent=Voter,
                  population=lambda setup: begun(
                      Population({"profile": [f"You are {i}." for i in range(setup.agents)]})))
"""

FEED_USER = """
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
"""
FEED = (
    FEED_USER
    + """
society = Society(name="feed", agent=User, population=lambda setup: begun(Population({"seen": [0] * setup.agents})),
                  world=lambda setup, people: World(Network.watts_strogatz(setup, neighbours=10, rewire=0.1), Feed()))
"""
)

CITIZEN = """
from dataclasses import replace
from populace.scenarios import citizen

society = replace(citizen.society, population=lambda setup: begun(citizen.society.population(setup)))
"""

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
    "citizens on their rules": Row(CITIZEN, 1_000, 30, ("--model", "rules")),
}


HEAD = """
import builtins, time

def begun(population):
    builtins.begun_s = builtins.begun_s or time.process_time()
    return population
"""
RUNNER = """
import builtins, gc, os, runpy, sys, time
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def timed(does):
    def does_so(*given, **named):
        begun_s = time.thread_time()
        try:
            return does(*given, **named)
        finally:
            builtins.watched_s += time.thread_time() - begun_s
    return does_so

def watch():
    # all that metrics do in the run's own thread; scrapes are answered in another
    from populace.monitoring.metrics.observer import Metrics
    for name in ("begin", "pulse", "tick", "end"):
        setattr(Metrics, name, timed(getattr(Metrics, name)))

watching = False
for line in sys.stdin:
    sys.argv = ["populace", *line.split()]
    if "--metrics-port" in sys.argv and not watching:
        watch()
        watching = True
    builtins.begun_s, builtins.watched_s, code = 0.0, 0.0, 0
    try:
        runpy.run_module("populace.cli", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code or 0
    spent_s = time.process_time() - builtins.begun_s
    gc.unfreeze()
    gc.collect()
    print(code, spent_s, builtins.watched_s, file=out, flush=True)
"""


class Runner:
    """A process that does runs of one checkout, in a folder of its own."""

    def __init__(self, checkout: Path, folder: Path, source: str) -> None:
        folder.mkdir()
        (folder / "society.py").write_text(HEAD + source, encoding="utf-8")
        self.checkout = checkout
        self.log = folder / "log.txt"
        self.runs = 0
        self.watched: list[float] = []  # of the runs with metrics on, which share of the CPU time was theirs
        environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONHASHSEED": "0"}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", RUNNER], cwd=folder, env=environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip

    def spent_s(self, *arguments: str) -> float:
        """CPU seconds of one run."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        self.runs += 1
        command = " ".join(("run society.py --model scripted", *arguments, f"--out run{self.runs}"))
        stdin.write(command + "\n")
        stdin.flush()
        answer = stdout.readline().split()
        if len(answer) != 3 or answer[0] != "0":
            raise SystemExit(f"{self.checkout}: {command}\n{self.log.read_text()}")
        if "--metrics-port" in arguments:
            self.watched.append(float(answer[2]) / float(answer[1]))
        return float(answer[1])

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def compare(
    row: Row, here: Path, other: Path, rounds: int, scale: float, own: tuple[str, ...] = ()
) -> tuple[list[float], list[float], list[float]]:
    """CPU seconds of the runs of either checkout, round by round, and the share of metrics in those that have them.

    `own` are further arguments of the runs here.
    """
    arguments = ("--agents", str(int(row.agents * scale)), "--ticks", str(row.ticks), *row.more)
    with tempfile.TemporaryDirectory() as folder:
        mine = Runner(here, Path(folder, "here"), row.source)
        theirs = mine if other == here else Runner(other, Path(folder, "there"), row.source)
        spent: dict[bool, list[float]] = {True: [], False: []}
        for turn in range(rounds + 1):
            for is_mine in (True, False) if turn % 2 else (False, True):
                runner, more = (mine, own) if is_mine else (theirs, ())
                spent[is_mine].append(runner.spent_s(*arguments, *more))
        for runner in {mine, theirs}:
            runner.close()
    return spent[True][1:], spent[False][1:], mine.watched[1:]


def main() -> None:
    """Run all rows and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, nargs="?", help="another checkout, as it was before")
    parser.add_argument("--metrics", action="store_true", help="metrics on beside off, in this checkout")
    parser.add_argument("--same", action="store_true", help="this checkout beside itself: the noise of the others")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="rows whose names hold this")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of agents")
    options = parser.parse_args()
    here = Path(__file__).resolve().parents[1]
    if options.other is None and not options.metrics and not options.same:
        parser.error("name another checkout, or --metrics, or --same")
    other = here if options.metrics or options.same else options.other.resolve()
    own = ("--metrics-port", "0") if options.metrics else ()
    table = Table("row", "turns/s here", "turns/s there", "here / there, median", "least", "most", "metrics, % of CPU")
    for name, row in ROWS.items():
        if options.only not in name:
            continue
        mine, theirs, watched = compare(row, here, other, options.rounds, options.scale, own)
        turns = int(row.agents * options.scale) * row.ticks
        ratios = sorted(before / now for now, before in zip(mine, theirs, strict=True))
        table.add_row(
            name, f"{turns / min(mine):,.0f}", f"{turns / min(theirs):,.0f}", f"{statistics.median(ratios):.2f}",
            f"{ratios[0]:.2f}", f"{ratios[-1]:.2f}",
            f"{100 * statistics.median(watched):.2f} (at most {100 * max(watched):.2f})" if watched else "",
        )  # fmt: skip
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
