"""The headline run: 10,000 citizens and five million interactions, with journal, checkpoints and metrics on.

    python benchmarks/headline.py [--agents 10000] [--interactions 5000000] [--shards 2] [--transport ray]

One run of the command line in processes of its own, `populace run citizen --model rules --until-interactions ...`: an
interaction is a delivered message or an applied action. The model is the society's own rules, so what is measured is
the engine. Prints wall seconds (of the command, and from the first tick's begin to the last one's end), CPU seconds of
all processes by what they are, memory of all of them together (RSS; PSS counts shared pages once), interactions and
turns a second, the wall of the ticks by stage, and the folder's bytes by what is in it; then what the same rate makes
of five million interactions. A short run, as `--interactions 300000`, projects the long one: the first ticks of a
society are cheaper than later ones, since memories fill, so the projection is low by some per cent. Linux only.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import Counter
from pathlib import Path

from figures import figure
from rich.console import Console
from rich.table import Table
from watched import Watched, watch

GOAL = 5_000_000


def main() -> None:
    """Run it and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--interactions", type=int, default=GOAL)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--transport", choices=("local", "ray"), default="ray")
    parser.add_argument("--limit-s", type=float, default=3600.0, help="ends the run after so many seconds")
    parser.add_argument("--keep", type=Path, help="keep the run in this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headline") as name:
        folder = Path(name)
        arguments = [
            "citizen", "--model", "rules", "--agents", str(options.agents),
            "--until-interactions", str(options.interactions), "--shards", str(options.shards),
            "--transport", options.transport, "--metrics-port", "0",
        ]  # fmt: skip
        show(options, watch(arguments, folder, out=options.keep, limit_s=options.limit_s, memory_share=0.02))


AIM_S, AIM_GIB = 240.0, 3.0


def show(options: argparse.Namespace, watched: Watched) -> None:
    """Print what came of a run."""
    told, stages_s, wall_s = watched.manifest(), watched.stages_s(), watched.wall_s
    written: Counter[str] = Counter()
    for name, size in watched.written_bytes().items():
        written["tables" if name.startswith("table ") else name] += size
    interactions = told["messages"]["delivered"] + told["actions"]["applied"]
    ticks_s, cpu_s = told["wall_s"], watched.cpu_s()
    whole_s, begun_s = sum(cpu_s.values()), sum((watched.begun_cpu_s or {}).values())
    long_s = wall_s - ticks_s + ticks_s * GOAL / interactions
    long_cpu_s = begun_s + (whole_s - begun_s) * GOAL / interactions
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    title = (
        f"citizen, {options.agents:,} agents, {options.shards} shards ({options.transport}), {os.cpu_count()} cores, "
        f"load {load}, status {told['status']}"
    )
    table = Table("what", "value", title=title)
    shares = [f"{name} {1e6 * took_s / interactions:.1f}" for name, took_s in cpu_s.items()]
    rows = [
        ("interactions, turns, ticks", f"{interactions:,}, {told['turns']:,}, {told['ticks']:,}"),
        ("wall of the command / of the ticks, s", f"{wall_s:.1f} / {ticks_s:.1f}"),
        ("interactions / turns a second of ticks", f"{interactions / ticks_s:,.0f} / {told['turns'] / ticks_s:,.0f}"),
        ("CPU of all processes, s", f"{whole_s:.1f}: " + ", ".join(f"{n} {s:.1f}" for n, s in cpu_s.items())),
        ("CPU until the first tick had ended, s", f"{begun_s:.1f}"),
        ("CPU an interaction after it, us", f"{1e6 * (whole_s - begun_s) / interactions:.1f}"),
        ("CPU an interaction, start and all, us", f"{1e6 * whole_s / interactions:.1f}: " + ", ".join(shares)),
        ("memory of all processes, MB", f"RSS {watched.rss_bytes / 1e6:,.0f}, PSS {watched.pss_bytes / 1e6:,.0f}"),
        ("wall of ticks by stage, s", ", ".join(f"{name} {stages_s[name]:.1f}" for name in stages_s)),
        ("folder, MB", ", ".join(f"{name} {size / 1e6:,.1f}" for name, size in written.most_common())),
        (f"{GOAL:,} interactions at this rate, s", f"{long_s:.0f} of wall, {long_cpu_s:.0f} of CPU"),
        ("trace hash", told["trace_hash"]),
    ]  # fmt: skip
    for row in rows:
        table.add_row(*row)
    figure(f"citizen, {GOAL:,} interactions, projected", long_s, "s", aim=AIM_S, up=False)
    figure("citizen, an interaction", 1e6 * (whole_s - begun_s) / interactions, "us of CPU")
    figure(
        f"citizen, {options.agents:,} agents, memory in all", watched.pss_bytes / 2**30, "GiB", aim=AIM_GIB, up=False
    )
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
