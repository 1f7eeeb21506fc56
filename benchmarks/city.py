"""What trips in a city cost: ticks in which nobody, a few or all set out, and what an agent takes.

Run it as `python benchmarks/city.py [--agents N]`. The world is measured alone: actions in columns, as a columnar type
takes them, their effects and the digest; no turns, no kernel.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from populace.core.draws import Draws
from populace.env import City, Opening, World
from populace.env.acts import Acting, Acts

TICK_S = 60.0
TEN = 600
"""The tick at ten o'clock."""


class Setup:
    """What the city is generated for."""

    def __init__(self, agents: int) -> None:
        self.agents = agents
        self.draw = Draws(7)


class Bench:
    """A city of so many agents, at ten in the morning of each measurement."""

    def __init__(self, agents: int) -> None:
        self.agents = agents
        begun = time.perf_counter()
        self.city = City.grid(Setup(agents))
        self.made_s = time.perf_counter() - begun
        self.world = World(self.city)
        self.world.open(Opening(agents=agents, seed=7, tick_seconds=TICK_S, parameters=None, columns={}, draw=Draws(7)))
        self.start = self.world.state()
        self.table = Table("tick", "set out", "acts, s", "their end, s", "digest, s", "all, s")
        self.restart()

    def restart(self) -> None:
        """Everybody at home, at ten; all that is made once is made."""
        self.world.restore(self.start | {"tick": TEN})
        self.world.digests()

    def row(self, name: str, who: np.ndarray | None = None, **args: Any) -> None:
        """Measure a tick in which `who` acts so."""
        whole = []
        if who is not None:
            columns = {key: one for key, one in args.items() if isinstance(one, np.ndarray)}
            same = {key: one for key, one in args.items() if key not in columns}
            whole = [Acts("city.go", who, np.zeros(len(who), np.int32), columns, same)]
        marks = [time.perf_counter()]
        applied = self.world.apply(Acting([], whole))
        marks.append(time.perf_counter())
        done = self.world.finish(applied)
        marks.append(time.perf_counter())
        self.city.digest()
        marks.append(time.perf_counter())
        took = [f"{one:.3f}" for one in (*np.diff(marks), marks[-1] - marks[0])]
        self.table.add_row(name, f"{done.applied:,}", *took)


def timed(call: Callable[[], Any]) -> float:
    """Seconds that it takes."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=1_000_000)
    agents = parser.parse_args().agents
    bench = Bench(agents)
    everybody = np.random.default_rng(1).permutation(agents).astype(np.int32)
    few = everybody[: agents // 100]
    anywhere = np.random.default_rng(2).integers(0, len(bench.city.places), agents)
    bench.row("nobody")
    for name, who in (("1 %", few), ("all", everybody)):
        bench.row(f"{name} to a place", who, place=anywhere[: len(who)], mode="car")
        for _ in range(3):
            bench.row(f"after {name} set out")
        bench.restart()
        for choice in ("nearest", "gravity"):
            bench.row(f"{name} to a shop, {choice}, first", who, kind="shop", choice=choice, mode="car")
            kept = bench.city.choosing
            bench.restart()
            bench.city.choosing = kept
            bench.row(f"{name} to a shop, {choice}", who, kind="shop", choice=choice, mode="car")
            bench.restart()
    print_seen(bench, few, everybody)
    console = Console(width=120)
    console.print(f"{agents:,} agents, {len(bench.city.places):,} places, generated in {bench.made_s:.1f} s")
    console.print(bench.table)
    people, trips = bench.city.people, bench.city.trips
    columns = [one for one in vars(people).values() if isinstance(one, np.ndarray)]
    own = sum(one.nbytes for one in people.assigned.values())
    digests = sum(one._places.nbytes for one in trips._digests)
    index = trips.present._order.nbytes + trips.present._moved.nbytes
    console.print(
        f"bytes an agent: {sum(one.nbytes for one in columns) / agents:.0f} where it is, {own / agents:.0f} own places,"
        " "
        f"{digests / agents:.0f} digests, {index / agents:.0f} the index of who is where"
    )


def print_seen(bench: Bench, few: np.ndarray, everybody: np.ndarray) -> None:
    """What looks cost."""
    world, console = bench.world, Console()
    seen = timed(lambda: world.observe_columns(few)), timed(lambda: world.observe_columns(everybody))
    first = timed(lambda: world.look("city.here", [int(few[0])], [{}]))
    more = timed(lambda: world.look("city.here", few[:1000].tolist(), [{}] * 1000))
    console.print(f"seen by 1 %: {seen[0]:.3f} s, by all: {seen[1]:.3f} s; first `here` of a run {first:.3f} s, "
                  f"a thousand more {more:.3f} s")  # fmt: skip


if __name__ == "__main__":
    main()
