"""How many turns a second one process runs: rule agents, and agents that ask the scripted model.

Run it as `python benchmarks/kernel.py [--agents N] [--ticks N] [--repeats N] [--no-gc] [--profile]`.

A whole run in one process: coordinator, barrier, one shard, environment service, scripted model. Time is the
process's CPU time from the end of tick 0 to the end of the run, so building the society is left out, and so is what
other programs take from a shared core. `tables off` records nothing; `tables on` records every message and ask and
the rows that changed, and its time includes writing the Parquet files.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from clock import Clock
from figures import figure
from rich.console import Console
from rich.table import Table

from populace.cluster.collector import tune_collector
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.data.societies import Origin
from populace.settings import Model, Record, Settings

RULE = """
from populace.agents.agent import Agent, Public
from populace.agents.population import Population
from populace.agents.society import Society

class Citizen(Agent):
    size: int
    mood: Public[float] = 0.0

    async def turn(self, ctx):
        for message in ctx.inbox:
            self.mood = 0.9 * self.mood + 0.1 * message.body
        ctx.send(ctx.draw("partner").integer(self.size), self.mood + 1.0)

society = Society(name="rule", agent=Citizen,
                  population=lambda setup: Population({"size": [setup.agents] * setup.agents}))
"""

ASKING = """
from populace.agents.agent import Agent, Public
from populace.agents.answers import Choice
from populace.agents.population import Population
from populace.agents.society import Society

VOTE = Choice("yes", "no")

class Voter(Agent):
    profile: str
    yes: Public[bool] = False

    async def turn(self, ctx):
        vote = await ctx.ask(f"{self.profile} It is day {ctx.tick}. Do you agree?", VOTE, system="You are a voter.")
        self.yes = vote.label == "yes"

def population(setup):
    return Population({"profile": [f"You are voter {i}." for i in range(setup.agents)]})

society = Society(name="asking", agent=Voter, population=population)
"""
AIMS = {"rule": 120_000, "asking": 60_000}
SOURCES = {"rule": RULE, "asking": ASKING}
NOTHING = Record(agents="none", messages=False, asks=False, actions=False)


TUNED = True
"""Whether the collector is set as `populace run` and the shards' actors set it."""


def turns_a_second(
    kind: str, agents: int, ticks: int, record: Record, profile: cProfile.Profile | None = None
) -> float:
    """Turns for each second of CPU time, tick 0 left out."""
    out = Path(tempfile.mkdtemp())
    clock = Clock(profile)
    settings = Settings(agents=agents, ticks=ticks, record=record, model=Model(kind="scripted"))
    run = Coordinator(Origin(f"{kind}.py", SOURCES[kind]), settings, LocalTransport(), out, [clock])
    if TUNED:
        tune_collector()
    try:
        asyncio.run(run.run())
        spent_s = time.process_time() - clock.began_s
    finally:
        if profile is not None:
            profile.disable()
        shutil.rmtree(out)
    assert clock.turns == agents * (ticks - 1)
    return clock.turns / spent_s


def calibration() -> float:
    """Millions of Python calls a second of CPU time: how fast this core is just now."""

    def nothing(_: int) -> None: ...

    began_s = time.process_time()
    for i in range(2_000_000):
        nothing(i)
    return 2.0 / (time.process_time() - began_s)


def spread(measure: Callable[[], float], repeats: int) -> tuple[float, float]:
    """The best and the median of several."""
    figures = [measure() for _ in range(repeats)]
    return max(figures), statistics.median(figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--ticks", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="show where the time goes, tables off")
    parser.add_argument("--plain-gc", action="store_true", help="with Python's own settings of its garbage collector")
    options = parser.parse_args()
    global TUNED
    TUNED = not options.plain_gc
    size: tuple[int, int] = (options.agents, options.ticks)
    console = Console()
    table = Table(
        "agents that", "tables", "turns/s, best", "median", "us a turn", "aim", "of tables off",
        title=f"{size[0]} agents, {size[1] - 1} ticks of {size[1]}, turns for each second of CPU time",
    )  # fmt: skip
    for kind in SOURCES:
        off, off_median = spread(lambda kind=kind: turns_a_second(kind, *size, NOTHING), options.repeats)  # type: ignore[misc]
        on, on_median = spread(lambda kind=kind: turns_a_second(kind, *size, Record()), options.repeats)  # type: ignore[misc]
        table.add_row(kind, "off", f"{off:,.0f}", f"{off_median:,.0f}", f"{1e6 / off:.1f}", f"{AIMS[kind]:,}", "1")
        figure(f"{kind} agents, tables off", off, "turns/s", aim=AIMS[kind], least=off_median, most=off)
        figure(f"{kind} agents, tables on", on, "turns/s", least=on_median, most=on)
        table.add_row(kind, "on", f"{on:,.0f}", f"{on_median:,.0f}", f"{1e6 / on:.1f}", "", f"{on / off:.2f}")
    console.print(table)
    calls = calibration()
    figure("this core", calls, "million Python calls/s")
    console.print(f"Calibration: {calls:.1f} million Python calls/s on this core.")
    if options.profile:
        for kind in SOURCES:
            profile = cProfile.Profile()
            turns_a_second(kind, *size, NOTHING, profile)
            console.print(f"\n{kind}: by own time, under the profiler, which itself slows Python calls about twofold")
            pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(15)


if __name__ == "__main__":
    main()
