"""A long run: whether memory is flat over many ticks, and what a run's folder grows by a tick, by cause.

    python benchmarks/long_run.py [--agents 500] [--ticks 10000] [--shards N] [--transport local|ray]

A run of the command line in processes of its own, with journal, tables and checkpoints on: agents with two public
fields in a network of mean degree 10, with a feed that keeps 2,000 posts; 5 % of them are active in a tick, each of
whom reads, posts one time in four, likes, and sends a message to a neighbour. There is no model. Memory is that of
all processes of the run together (PSS), sampled twice a second. The first quarter of the ticks, in which the feed
fills, is left out. The slope is that of ten means over as many equal spans of ticks, with its 95 % interval
(Student's t, 8 degrees of freedom), and a folder's growth the difference between the last and the first sample of
those ticks. Linux only (it reads /proc).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from figures import figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from watched import Watched, watch

SOCIETY = """
from populace import Agent, Population, Public, Society, Sometimes, World
from populace.env import Feed, Network

class User(Agent):
    mood: Public[float] = 0.0
    read: Public[int] = 0

    async def turn(self, ctx):
        self.read += sum(1 for message in ctx.inbox)
        posts = await ctx.look("feed.from_followed", n=3)
        self.mood = 0.9 * self.mood + 0.1 * ctx.draw("mood").random()
        for post in posts[:1]:
            ctx.act("feed.like", post=post["id"])
        if ctx.draw("post").bernoulli(0.25):
            ctx.act("feed.post", text=f"a post of {ctx.id} in tick {ctx.tick}")
        for friend in (await ctx.look("network.neighbors"))[:1]:
            ctx.send(friend, {"mood": self.mood})

society = Society(
    name="long", agent=User, population=lambda setup: Population.of_defaults(setup.agents), activation=Sometimes(0.05),
    world=lambda setup, people: World(Network.watts_strogatz(setup, neighbours=10, rewire=0.1), Feed(keep=2000)),
    outcomes={"mood": lambda world: float(world.columns["mood"].mean())},
)
"""
SPANS, LEFT_OUT = 10, 0.25
T_95 = 2.306
"""Student's t with 8 degrees of freedom, 97.5 %."""


class Sample(NamedTuple):
    """How far the run was, what it held, and what its folder held, by cause."""

    tick: int
    held_bytes: int
    written_bytes: Counter[str]


def sampled(agents: int, ticks: int, more: list[str]) -> tuple[list[Sample], float]:
    """Run the society, watched from outside; the samples of its ticks, and its seconds."""
    samples: list[Sample] = []

    def keep(watched: Watched) -> None:
        tick = reached(watched.out / "progress.jsonl")
        if tick is not None and tick < ticks and watched.held:
            samples.append(Sample(tick, watched.held[-1].pss_bytes, watched.written_bytes()))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "society.py").write_text(SOCIETY, encoding="utf-8")
        arguments = [
            "society.py", "--model", "scripted", "--agents", str(agents), "--ticks", str(ticks),
            "--set", "checkpoint.every_ticks=50", *more,
        ]  # fmt: skip
        return samples, watch(arguments, folder, each=keep).wall_s


def reached(progress: Path) -> int | None:
    """How many ticks a run has told of; None before the first and once it has ended."""
    try:
        with progress.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2000))
            told = [json.loads(line) for line in file.read().splitlines()[1:] if line.endswith(b"}")]
    except OSError:
        return None
    if not told or told[-1]["event"] == "end":
        return None
    ticks = [one["tick"] for one in told if one["event"] == "tick"]
    return ticks[-1] if ticks else None


def slope(ticks: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[float, float]:
    """What the values grow by a tick, and half the width of its 95 % interval, over means of equal spans of ticks."""
    span = np.minimum(SPANS * (ticks - ticks[0]) // (ticks[-1] - ticks[0] + 1), SPANS - 1)
    there = np.unique(span)
    x, y = (np.array([column[span == one].mean() for one in there]) for column in (ticks, values))
    if len(there) < SPANS:
        return float("nan"), float("nan")
    spread = ((x - x.mean()) ** 2).sum()
    found = ((x - x.mean()) * (y - y.mean())).sum() / spread
    left = y - y.mean() - found * (x - x.mean())
    return float(found), float(T_95 * np.sqrt((left**2).sum() / (SPANS - 2) / spread))


def main() -> None:
    """Run it and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=500)
    parser.add_argument("--ticks", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--transport", choices=("local", "ray"), default="local")
    options = parser.parse_args()
    more = ["--shards", str(options.shards), "--transport", options.transport]
    samples, took_s = sampled(options.agents, options.ticks, more)
    kept = [one for one in samples if one.tick >= LEFT_OUT * options.ticks]
    if len(kept) < 2 or kept[0].tick == kept[-1].tick:
        raise SystemExit(f"{len(samples)} samples in {took_s:.1f} s say nothing: give more --ticks")
    ticks, held = (np.array([one[at] for one in kept], np.float64) for at in (0, 1))
    grows, half = slope(ticks, held)
    load = os.getloadavg()[0]
    table = Table("what", "value", title=f"{options.agents:,} agents, {options.ticks:,} ticks, load {load:.1f}")
    table.add_row("seconds of the command", f"{took_s:.0f}")
    table.add_row(
        f"memory at tick {kept[0].tick:,} and {kept[-1].tick:,}, MB", f"{held[0] / 1e6:.1f}, {held[-1] / 1e6:.1f}"
    )
    table.add_row("memory grows by a tick, bytes", f"{grows:,.0f} ± {half:,.0f}")
    table.add_section()
    figure("a long run: memory a tick", grows, "bytes", least=grows - half, most=grows + half)
    spent = ticks[-1] - ticks[0]
    first, last = kept[0].written_bytes, kept[-1].written_bytes
    for cause in sorted(first | last, key=lambda one: first[one] - last[one]):
        a_tick = (last[cause] - first[cause]) / spent
        table.add_row(f"{cause} grows by a tick, bytes", f"{a_tick:,.1f} (now {last[cause] / 1e6:,.2f} MB)")
    whole = (last.total() - first.total()) / spent
    table.add_row("folder grows by a tick, bytes", f"{whole:,.0f}")
    figure("a long run: folder a tick", whole, "bytes")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
