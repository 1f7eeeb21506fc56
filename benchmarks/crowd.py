"""Crowds on one machine: how long a run of a million agents takes to begin, what an agent takes, how long a tick is.

    python benchmarks/crowd.py [--agents 1000000] [--dormant 10000000] [--shards N] [--transport local|ray]

Each row is a run of the command line in processes of its own, with journal and checkpoints on. There is no model.
`ready` is from the start of the command to the begin of the first tick. A tick's seconds are the mean of all but the
first, with checkpoints and trials of the world's state, and their median, which is a tick without these. Memory is
that of all processes of the run together (PSS, samples each half second), at its most and at rest, the median of the
samples while the first ticks last; an agent's is what it is more than in a run of 1,000 agents. Linux only.

The crowd's agents have three public fields, a network of mean degree 20 and a feed. First 1 % of them are active in a
tick, then 10 %; an active one reads three posts of those it follows, likes one, and one in ten posts. What a tick grows
by with the population is told of two runs with as many active agents: in ten times as many, each finds a tenth of the
posts among those it follows, so there one in a thousand posts, that both find next to none. The last rows have agents
without fields or world: first nobody is active, then as many as of the crowd's 1 %. Many of them are stopped where
they take more than `--most-gib`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from figures import figure
from rich.console import Console
from rich.table import Table
from watched import Held, watch

FEW, MANY = 8, 3
"""Ticks with few active, and ticks with many."""
EVERY = 4
"""Ticks from one checkpoint to the next."""

CROWD = """
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
        if ctx.draw("post").bernoulli(POSTING):
            self.posted = True
            ctx.act("feed.post", text=f"a post of {ctx.id} in tick {ctx.tick}")

class Rising:
    def due(self, seed, tick, ids):
        return Sometimes(FEW if tick < TICKS_OF_FEW else MANY).due(seed, tick, ids)

society = Society(
    name="crowd", agent=User, population=lambda setup: Population.of_defaults(setup.agents), activation=Rising(),
    world=lambda setup, people: World(Network.watts_strogatz(setup, neighbours=20, rewire=0.1), Feed()),
)
"""
BARE = """
from populace import Agent, Population, Society, Sometimes

class Sleeper(Agent):
    async def turn(self, ctx):
        pass

class Rising:
    def due(self, seed, tick, ids):
        return Sometimes(FEW if tick < TICKS_OF_FEW else MANY).due(seed, tick, ids)

society = Society(name="dormant", agent=Sleeper, activation=Rising(),
                  population=lambda setup: Population.of_defaults(setup.agents))
"""
DORMANT_MOST_GIB = 24.0


class Case(NamedTuple):
    """A run: its society, agents, the shares that are active first and then, ticks of either, the share that posts."""

    source: str
    agents: int
    few: float
    many: float
    few_ticks: int = FEW
    many_ticks: int = MANY
    posting: float = 0.1

    def text(self) -> str:
        """The society's file."""
        given = {"POSTING": self.posting, "TICKS_OF_FEW": self.few_ticks, "FEW": self.few, "MANY": self.many}
        return "".join(f"{name} = {value!r}\n" for name, value in given.items()) + self.source


class Seconds(NamedTuple):
    """Of ticks: their mean, and their median."""

    mean_s: float
    median_s: float

    def __str__(self) -> str:
        return f"{self.mean_s:.2f} / {self.median_s:.2f}"


class Measured(NamedTuple):
    """Seconds until the first tick, of ticks with few active and of those with many, bytes of memory, bytes on disk.

    `rest_bytes` are those held at rest, `held_bytes` the most.
    """

    ready_s: float
    few: Seconds
    many: Seconds
    rest_bytes: float
    held_bytes: int
    written_bytes: int


def run(case: Case, more: list[str], most_gib: float = float("inf")) -> Measured:
    """Run a society, watched from outside."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "society.py").write_text(case.text(), encoding="utf-8")
        arguments = [
            "society.py", "--model", "scripted", "--agents", str(case.agents), "--ticks",
            str(case.few_ticks + case.many_ticks), "--set", f"checkpoint.every_ticks={EVERY}", *more,
        ]  # fmt: skip
        watched = watch(arguments, folder, most_bytes=most_gib * 2**30)
        ends_s = [one["wall_s"] for one in watched.ticks()]
        begins = next(one for one in watched.progress() if one["event"] == "tick")
        ready_s = begins["at_s"] - begins["wall_s"] - watched.began_s
        began_s = begins["at_s"] - begins["wall_s"]
        rest = held_between(watched.held, began_s + ends_s[0], began_s + ends_s[case.few_ticks - 1])
        took_s = [after - before for before, after in pairwise(ends_s)]
        few, many = took_s[: case.few_ticks - 1], took_s[case.few_ticks - 1 :]
        written = watched.written_bytes().total()
        return Measured(ready_s, seconds(few), seconds(many), rest, watched.pss_bytes, written)


def held_between(samples: list[Held], first_s: float, last_s: float) -> float:
    """The median of what was held from one moment to another; the nearest sample where none fell between."""
    inside = [one.pss_bytes for one in samples if first_s <= one.at_s <= last_s]
    return statistics.median(inside or [min(samples, key=lambda one: abs(one.at_s - first_s)).pss_bytes])


def seconds(took_s: list[float]) -> Seconds:
    """What ticks took."""
    return Seconds(statistics.mean(took_s), statistics.median(took_s)) if took_s else Seconds(*2 * [float("nan")])


def middle(rounds: list[Measured]) -> Measured:
    """The median of several runs, by each of its figures."""
    few, many = (
        Seconds(*map(statistics.median, zip(*given, strict=True)))
        for given in ([one.few for one in rounds], [one.many for one in rounds])
    )
    ready_s, rest, held, written = (
        statistics.median(given) for given in zip(*((one.ready_s, *one[3:]) for one in rounds), strict=True)
    )
    return Measured(ready_s, few, many, rest, int(held), int(written))


def main() -> None:
    """Run all sizes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=1_000_000)
    parser.add_argument("--dormant", type=int, default=10_000_000, help="0 leaves them out")
    parser.add_argument("--most-gib", type=float, default=DORMANT_MOST_GIB, help="what the dormant ones may take")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--transport", choices=("local", "ray"), default="local")
    options = parser.parse_args()
    more = ["--shards", str(options.shards), "--transport", options.transport]
    whole, tenth, active = options.agents, options.agents // 10, options.agents / 100
    cases = {
        f"{tenth:,}": Case(CROWD, tenth, 0.01, 0.1),
        f"{whole:,}": Case(CROWD, whole, 0.01, 0.1),
        f"{tenth:,}, few posts": Case(CROWD, tenth, 0.1, 0.1, 2 * FEW, 0, 0.001),
        f"{whole:,}, few posts": Case(CROWD, whole, 0.01, 0.01, 2 * FEW, 0, 0.001),
    }
    if options.dormant:
        for agents in (options.dormant // 10, options.dormant):
            cases[f"{agents:,}, bare"] = Case(BARE, agents, 0.0, active / agents, MANY, FEW)
    base = {
        source: run(Case(source, 1_000, 0.01, 0.1), more) for source in dict.fromkeys(c.source for c in cases.values())
    }
    rounds: dict[str, list[Measured]] = {name: [] for name in cases}
    for _ in range(options.rounds):
        for name, case in cases.items():
            rounds[name].append(run(case, more, options.most_gib if case.source is BARE else float("inf")))
    found = {name: middle(given) for name, given in rounds.items()}
    show(options, cases, found, base)


def show(
    options: argparse.Namespace, cases: dict[str, Case], found: dict[str, Measured], base: dict[str, Measured]
) -> None:
    """Print the table, and what a tick grows by with the population."""
    table = Table("agents", "ready, s", "a tick, few active, s", "a tick, many active, s", "at rest / most, MB",
                  "bytes an agent", "MB written", title=f"load {os.getloadavg()[0]:.1f}, {options.shards} shards, "
                  f"{options.transport}")  # fmt: skip
    for name, case in cases.items():
        one, less = found[name], base[case.source]
        held = (one.rest_bytes, one.held_bytes)
        an_agent = [(now - then) / (case.agents - 1_000) for now, then in zip(held, less[3:5], strict=True)]
        table.add_row(
            name, f"{one.ready_s:.1f}", f"{case.few:.2%}: {one.few}", f"{case.many:.2%}: {one.many}",
            "{:,.0f} / {:,.0f}".format(*(given / 1e6 for given in held)), "{:,.0f} / {:,.0f}".format(*an_agent),
            f"{one.written_bytes / 1e6:,.1f}",
        )  # fmt: skip
        if name.endswith("few posts"):  # told of in pairs
            continue
        figure(f"{name}: ready", one.ready_s, "s")
        figure(f"{name}: a tick, {case.few:.2%} active", one.few.mean_s, "s")
        figure(f"{name}: a tick, {case.many:.2%} active", one.many.mean_s, "s")
        figure(f"{name}: at most", an_agent[1], "bytes an agent")
    Console(width=140).print(table)
    kinds = {"few posts": "few", "bare": "many"}
    for kind, phase in kinds.items():
        pair = [getattr(found[name], phase) for name in cases if name.endswith(kind)]
        if len(pair) == 2:
            means, medians = (after / before - 1.0 for before, after in zip(*pair, strict=True))
            print(
                f"{kind}: ten times as many agents, as many active: a tick {medians:+.0%}, the mean of all {means:+.0%}"
            )
            figure(f"{kind}: a tick among ten times as many", medians, "")


if __name__ == "__main__":
    main()
