"""How long a run takes to be built, by the number of shards: population, world, and every shard with its agents.

    python benchmarks/startup.py [--agents 50000] [--other PATH]

Population and world are built once, and each shard then makes its own agents from its rows, so the time that the
slowest process takes falls with shards. Times are of one process, one after the other, each the best of three:

- once: the population, the world, every shard's part of them, packed as it travels;
- a shard: reading its part and making its agents, in a process of its own (the slowest of those tried);
- whole: once and the slowest shard, which is when a run on a machine a shard could begin;
- all here: once and all shards, one after the other, as in one process.

With --other, the folder of another checkout in which each shard builds everything by itself, its figures follow:
there "once" is the world's process alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from figures import figure

SHARDS = (1, 2, 8, 50)
SOCIETY = """
from populace import Agent, Context, Population, Public, Setup, Society, World
from populace.env import Feed, Network


class Citizen(Agent):
    age: int
    mood: Public[float]
    name: str
    tags: list[str] = []
    trust: dict[str, float] = {}

    async def turn(self, ctx: Context) -> None:
        self.mood = self.mood * 0.99


def population(setup: Setup) -> Population:
    draw = setup.draw("people")
    n = setup.agents
    return Population({
        "age": [18 + draw.integer(70) for _ in range(n)],
        "mood": [draw.random() for _ in range(n)],
        "name": [f"citizen {i}" for i in range(n)],
        "tags": [[f"tag {draw.integer(9)}", "voter"] for _ in range(n)],
        "trust": [{"media": draw.random(), "state": draw.random()} for _ in range(n)],
    })


def world(setup: Setup, people: Population) -> World:
    return World(Network.watts_strogatz(setup, neighbours=10, rewire=0.1), Feed(keep=1000))


society = Society(name="citizens", agent=Citizen, population=population, world=world, ticks=1)
"""


def best(of: Callable[[], object], times: int = 3) -> float:
    """The shortest of a few times, in seconds."""
    took_s = []
    for _ in range(times):
        began_s = time.perf_counter()
        of()
        took_s.append(time.perf_counter() - began_s)
    return min(took_s)


def measure(agents: int) -> dict[str, list[float]]:
    """By number of shards: once, a shard, whole, all here; in seconds. Elsewhere a shard builds all by itself."""
    from populace.settings import Settings

    try:
        from populace.cluster import job as jobs
        from populace.data.societies import Origin
    except ImportError:  # a checkout of before the rooms were moved
        from populace.cluster import build as jobs  # type: ignore[attr-defined,no-redef]
        from populace.society import Origin  # type: ignore[import-not-found,no-redef]

    found = {}
    for shards in SHARDS:
        settings = Settings(agents=agents, shards=shards, seed=1)
        job = jobs.plan_job(Origin("citizens.py", SOCIETY), settings)
        tried = sorted({0, shards // 2, shards - 1})
        if hasattr(jobs, "build_run"):
            from populace.cluster.wire import pack, unpack_part

            built = jobs.build_run(job)
            packed = [pack(built.part(index, shards)) for index in range(shards)]

            def once(job: object = job, shards: int = shards) -> None:
                made = jobs.build_run(job)
                for index in range(shards):
                    pack(made.part(index, shards))

            once_s = best(once)

            def one(index: int, job: object = job, packed: list[bytes] = packed) -> None:
                jobs.build_shard(job, index, unpack_part(packed[index]))

            a_shard_s = max(best(lambda index=index, one=one: one(index)) for index in tried)
            here_s = once_s + shards * a_shard_s
        else:
            once_s = best(lambda job=job: jobs.build_environment(job))
            a_shard_s = max(best(lambda index=index, job=job: jobs.build_shard(job, index), 2) for index in tried)
            here_s = once_s + shards * a_shard_s
        found[str(shards)] = [once_s, a_shard_s, once_s + a_shard_s, here_s]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=50_000)
    parser.add_argument("--other", type=Path, help="another checkout, measured in the same run")
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.json:
        print(json.dumps(measure(options.agents)))
        return
    places = {"here": Path(__file__).parents[1], **({"other": options.other} if options.other else {})}
    figures = {}
    for name, place in places.items():
        command = [sys.executable, __file__, "--json", "--agents", str(options.agents)]
        env = {**os.environ, "PYTHONPATH": str(place), "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        figures[name] = json.loads(done.stdout)
    print(f"{options.agents:,} agents     shards    once  a shard    whole  all here   (seconds)")
    for name, rows in figures.items():
        for shards, row in rows.items():
            figure(f"ready, {options.agents:,} agents, {shards} shards, {name}", row[2], "s")
            print(f"{name:16} {shards:>6}  " + "  ".join(f"{value:7.2f}" for value in row))
    if "other" in figures:
        for shards, row in figures["here"].items():
            ratios = [row[at] / figures["other"][shards][at] for at in (2, 3)]
            print(f"here over other, {shards:>2} shards: whole {ratios[0]:.2f}, all here {ratios[1]:.2f}")


if __name__ == "__main__":
    main()
