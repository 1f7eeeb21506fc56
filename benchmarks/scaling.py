"""What a second shard gives: turns a second in one process, on one shard of Ray and on two, and where the time goes.

    python benchmarks/scaling.py [--only citizen feed larger nothing] [--agents 2000] [--ticks 48] [--rounds 1]

Whole runs of the command line, journal, checkpoints, tables and metrics on: the `citizen` on its rules (network, city
and economy), a rule society with a network and a feed, the same with four times as many agents (`larger`), and two
agents that do `nothing`: what a tick costs whoever is in it. Turns a second are of wall time from the end of the first
tick on, the best of the rounds; below them the wall of the ticks by stage ('observe' and 'exchange' lie within
'turns'), the share of a tick that is the world's alone ('resolve'), and CPU seconds of the processes since the first
tick. The hashes of all runs of a society must be one. Where other programs take the cores, two shards cannot show what
they give. Linux only.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from figures import figure
from paired import FEED_USER
from rich.console import Console
from rich.table import Table
from watched import watch

FEED = (
    FEED_USER
    + """
society = Society(name="feed", agent=User, population=lambda setup: Population({"seen": [0] * setup.agents}),
                  world=lambda setup, people: World(Network.watts_strogatz(setup, neighbours=10, rewire=0.1), Feed()))
"""
)
HOSTS = {"one process": (1, "local"), "one Ray shard": (1, "ray"), "two Ray shards": (2, "ray")}
NOTHING = """
from populace import Agent, Population, Public, Society

class Idler(Agent):
    ticks: Public[int] = 0

    async def turn(self, ctx):
        self.ticks += 1

society = Society(name="nothing", agent=Idler, population=lambda setup: Population({"ticks": [0] * setup.agents}))
"""


class Case(NamedTuple):
    """What is run: its source (None: the citizen), of how many agents and ticks, given what was asked for."""

    source: str | None
    agents: Callable[[int], int]
    ticks: Callable[[int], int]


CASES = {
    "citizen": Case(None, lambda agents: agents, lambda ticks: ticks),
    "feed": Case(FEED, lambda agents: agents, lambda ticks: max(3, ticks // 3)),
    "larger": Case(FEED, lambda agents: 4 * agents, lambda ticks: max(3, ticks // 6)),
    "nothing": Case(NOTHING, lambda _: 2, lambda ticks: 10 * ticks),
}
NAMES = {"larger": "feed of 4 times as many"}
AIMS = {"one Ray shard": 1.7, "one process": 1.4}
SERIAL_AIM = 0.15
SAMPLE_S = 0.2


class Ran(NamedTuple):
    """A run: turns a second, the seconds of its stages and of its ticks, CPU seconds by process, its hash."""

    turns_per_s: float
    stages_s: dict[str, float]
    ticks_s: float
    cpu_s: dict[str, float]
    trace_hash: str


def run(case: Case, host: str, agents: int, ticks: int) -> Ran:
    """One run of the command line."""
    shards, transport = HOSTS[host]
    with tempfile.TemporaryDirectory(prefix="scaling") as name:
        folder = Path(name)
        what = ["citizen", "--model", "rules"]
        if case.source is not None:
            source = folder / "society_of_rules.py"
            source.write_text(case.source)
            what = [str(source)]
        arguments = [
            *what, "--agents", str(agents), "--ticks", str(ticks), "--shards", str(shards), "--transport", transport,
            "--metrics-port", "0",
        ]  # fmt: skip
        watched = watch(arguments, folder, sample_s=SAMPLE_S, memory_share=0.0)
        ended = [one for one in watched.progress() if one["event"] == "tick"]
        ticks_s = ended[-1]["wall_s"] - ended[0]["wall_s"]
        before_s = watched.begun_cpu_s or {}
        cpu_s = {kind: spent_s - before_s.get(kind, 0.0) for kind, spent_s in watched.cpu_s().items()}
        return Ran(
            (ended[-1]["turns"] - ended[0]["turns"]) / ticks_s,
            watched.stages_s(first=2),
            ticks_s,
            {kind: spent_s for kind, spent_s in cpu_s.items() if spent_s >= 0.05},
            watched.manifest()["trace_hash"],
        )


def main() -> None:
    """Run them in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=tuple(CASES), default=tuple(CASES))
    parser.add_argument("--agents", type=int, default=2_000)
    parser.add_argument(
        "--ticks",
        type=int,
        default=48,
        help="of the citizen; a feed has a third, or a sixth, and nothing ten times as many",
    )
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    console = Console(width=150)
    for key in options.only:
        case, society = CASES[key], NAMES.get(key, key)
        agents, ticks = case.agents(options.agents), case.ticks(options.ticks)
        best: dict[str, Ran] = {}
        for _ in range(options.rounds):
            for host in HOSTS:
                ran = run(case, host, agents, ticks)
                if host not in best or ran.turns_per_s > best[host].turns_per_s:
                    best[host] = ran
        hashes = {ran.trace_hash for ran in best.values()}
        if len(hashes) > 1:
            raise SystemExit(f"{society}: the runs differ: {sorted(hashes)}")
        load = " ".join(f"{one:.1f}" for one in os.getloadavg())
        title = f"{society}, {agents:,} agents, {ticks} ticks, {os.cpu_count()} cores, load {load}"
        table = Table("host", "turns/s", "ticks, s", "by stage, s", "of it resolve", "CPU, s", title=title)
        for host, ran in best.items():
            stages = ", ".join(f"{name} {took_s:.2f}" for name, took_s in ran.stages_s.items())
            cpu = ", ".join(f"{kind} {spent_s:.1f}" for kind, spent_s in ran.cpu_s.items())
            serial = ran.stages_s.get("resolve", 0.0) / ran.ticks_s
            table.add_row(host, f"{ran.turns_per_s:,.0f}", f"{ran.ticks_s:.1f}", stages, f"{serial:.0%}", cpu)
        console.print(table)
        two = best["two Ray shards"]
        if key == "nothing":
            for host, ran in best.items():
                wall_ms, cpu_ms = (1000 * spent_s / (ticks - 1) for spent_s in (ran.ticks_s, sum(ran.cpu_s.values())))
                figure(f"a tick of {society}, {host}", wall_ms, "ms")
                console.print(
                    f"a tick of {society}, {host}: {wall_ms:.1f} ms, {cpu_ms:.1f} ms of CPU with the end of the run",
                    highlight=False,
                )
            continue
        for host, aim in AIMS.items():
            times = two.turns_per_s / best[host].turns_per_s
            figure(f"{society}, two Ray shards, of {host}", times, "", aim=aim)
            console.print(f"{society}: two Ray shards are {times:.2f} times {host} (aim {aim})", highlight=False)
        resolve = two.stages_s.get("resolve", 0.0) / two.ticks_s
        figure(f"{society}, two Ray shards, the world alone, of a tick", resolve, "", aim=SERIAL_AIM, up=False)


if __name__ == "__main__":
    main()
