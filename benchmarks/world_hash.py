"""What the hash of the world's state costs: alone on a feed of a million posts, and as a share of whole ticks.

Run it as `python benchmarks/world_hash.py [--posts N] [--rounds N]`.

Every pair of figures is one world with digests and one without, taking turns tick by tick in one process: read the
ratios. `alone` is the digest's own time in a tick of 1,000 posts and 3,000 likes; what it is compared with is the
tick's end in the world, and hashing the whole state as a part of one's own would. `runs` are whole runs of rule agents,
the cheapest turns there are, so their share is the worst.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Self

import numpy as np
from rich.console import Console
from rich.table import Table

from populace import Agent, Context, Population, Public, Society, World
from populace.cluster.collector import tune_collector
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.draws import Draws
from populace.data.societies import Origin
from populace.env import Action, Feed, Network, Opening, Part, RowDigests
from populace.kernel import environment
from populace.kernel.trial import try_world
from populace.settings import Settings, load_settings

AGENTS = 10_000
POSTS, LIKES = 1_000, 3_000
TEXT = "what somebody has to say about something, in about a hundred characters, as one does in a post: "


class Writer(Agent):
    """A rule agent of a feed: every tenth turn posts, and likes three."""

    score: Public[float] = 0.0

    async def turn(self, ctx: Context) -> None:
        lot = ctx.draw("lot")
        self.score += lot.random()
        ctx.send(lot.integer(AGENTS), 1)
        if lot.integer(10) == 0:
            ctx.act("feed.post", text=f"{TEXT}{self.score}")
            for _ in range(3):
                ctx.act("feed.like", post=lot.integer(POSTS * ctx.tick + 1))


class Quiet(Agent):
    """A rule agent that sends once and has a public field."""

    score: Public[float] = 0.0

    async def turn(self, ctx: Context) -> None:
        lot = ctx.draw("lot")
        self.score += lot.random()
        ctx.send(lot.integer(AGENTS), 1)


class Teller(Agent):
    """A rule agent whose public field is a text, another each time."""

    said: Public[str] = ""

    async def turn(self, ctx: Context) -> None:
        lot = ctx.draw("lot")
        self.said = f"{lot.random()}"
        ctx.send(lot.integer(AGENTS), 1)


def society_of(agent: type[Agent]) -> Society:
    return Society(
        name=agent.__name__.lower(),
        agent=agent,
        population=lambda setup: Population({"x": [0] * setup.agents}, extra=["x"]),
        world=lambda setup, _: World(Network.watts_strogatz(setup, neighbours=10, rewire=0.1), Feed(keep=100_000)),
        size=AGENTS,
        ticks=8,
    )


def big_feed(posts: int) -> World:
    """A world with a feed of so many posts, three likes each."""
    world = World(Feed(keep=posts))
    world.open(Opening(agents=AGENTS, seed=7, tick_seconds=60.0, parameters=None, columns={}, draw=Draws(7)))
    rng = np.random.default_rng(7)
    zeros = np.zeros(posts, np.int64)
    columns: dict[str, Any] = {
        "author": rng.integers(0, AGENTS, posts),
        "tick": zeros,
        "likes": zeros + 3,
        "reposts": zeros,
    }
    columns |= dict.fromkeys(("parent", "original", "original_author", "previous"), zeros - 1)
    likers = np.sort(rng.integers(0, AGENTS // 3, (posts, 3)) + np.arange(3) * (AGENTS // 3), axis=1)
    feed = {
        "keep": posts,
        "written": posts,
        "columns": columns,
        "texts": [f"{TEXT}{n}" for n in range(posts)],
        "likes": np.column_stack([np.repeat(np.arange(posts), 3), likers.ravel()]),
        "last": np.full(AGENTS, -1),
    }
    world.restore({"tick": 1, "parts": {"feed": feed, "columns": {"now": {}, "start": {}}}})
    return world


def actions(rng: np.random.Generator, tick: int, posts: int) -> list[Action]:
    written = posts + (tick - 1) * POSTS
    liked = rng.integers(written - posts, written, LIKES).tolist()
    given: list[tuple[int, str, dict[str, Any]]] = [
        *((int(agent), "feed.post", {"text": f"{TEXT}{tick} {agent}"}) for agent in rng.integers(0, AGENTS, POSTS)),
        *(
            (int(agent), "feed.like", {"post": post})
            for agent, post in zip(rng.integers(0, AGENTS, LIKES), liked, strict=True)
        ),
    ]
    return [Action(agent, nth, kind, args) for nth, (agent, kind, args) in enumerate(given)]


def alone(posts: int, rounds: int) -> Table:
    on, off = big_feed(posts), big_feed(posts)
    begin = time.process_time()
    on.digests()
    first_s = time.process_time() - begin
    rng = np.random.default_rng(1)
    with_s, without_s, digest_s, whole_s = [], [], [], []
    for tick in range(1, rounds + 1):
        todo = actions(rng, tick, posts)
        for world, spent in ((on, with_s), (off, without_s)):
            begin = time.process_time()
            world.resolve(todo)
            spent.append(time.process_time() - begin)
        begin = time.process_time()
        on.digests()
        digest_s.append(time.process_time() - begin)
        with_s[-1] += digest_s[-1]
        if tick <= 3:
            begin = time.process_time()
            Part.digest(on.feed)
            whole_s.append(time.process_time() - begin)
    title = f"{POSTS} posts and {LIKES} likes a tick on a feed of {posts:,}, {rounds} ticks in turns"
    table = Table("what", "ms of CPU, median", "of the tick's end without", title=title)
    base = median(without_s)
    rows = {"tick's end without": without_s, "tick's end with": with_s, "digest of what was touched": digest_s,
            "whole state, each tick": whole_s, "first digest, once in a life": [first_s]}  # fmt: skip
    for name, times in rows.items():
        table.add_row(name, f"{median(times) * 1e3:.2f}", f"{median(times) / base:.1%}")
    return table


class Timed:
    """CPU seconds of each tick of a run."""

    def __init__(self, spent: Spent) -> None:
        self.ticks_s: list[float] = []
        self.first_s = 0.0
        """What went into digests in the first tick, which takes all rows."""
        self._spent = spent
        self._last_s = 0.0

    def begin(self, *_: object) -> None:
        self._last_s = time.process_time()

    def pulse(self, _: object) -> None: ...
    def note(self, _: object) -> None: ...
    def end(self, *_: object) -> None: ...

    def tick(self, _: object) -> None:
        now = time.process_time()
        self.ticks_s.append(now - self._last_s)
        if len(self.ticks_s) == 1:
            self.first_s = self._spent.s
        self._last_s = now


class Spent:
    """CPU seconds spent on digests, of whole states' ends and of single fields, while it is open."""

    def __init__(self) -> None:
        self.s = 0.0
        self._depth = 0
        self._was = (World.digests, RowDigests.put)

    def _timed(self, real: Any) -> Any:
        def call(*args: Any) -> Any:
            self._depth += 1
            begin = time.process_time()
            try:
                return real(*args)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.s += time.process_time() - begin

        return call

    def __enter__(self) -> Self:
        World.digests, RowDigests.put = map(self._timed, self._was)  # type: ignore[method-assign]
        environment.try_world = lambda *_: None  # type: ignore[assignment]  # a trial of what a checkpoint holds
        return self

    def __exit__(self, *_: object) -> None:
        World.digests, RowDigests.put = self._was  # type: ignore[method-assign]
        environment.try_world = try_world


def run(name: str, settings: Settings, hashed: bool) -> tuple[float, float]:
    """CPU seconds of all ticks but the first, and those of them that went into digests."""
    with Spent() as spent, tempfile.TemporaryDirectory() as out:
        timed = Timed(spent)
        if not hashed:
            World.digests = lambda _self: {}  # type: ignore[method-assign]
        origin = Origin(__file__, Path(__file__).read_text().replace("society_of(Writer)", f"society_of({name})"))
        asyncio.run(Coordinator(origin, settings, LocalTransport(), Path(out), [timed]).run())
    return sum(timed.ticks_s[1:]), spent.s - timed.first_s


def runs(rounds: int) -> Table:
    table = Table("10,000 rule agents, one shard", "without, ms a tick", "with, ms a tick", "digests, of a tick",
                  title=f"Whole runs, CPU time, {rounds} pairs in turns, best and median")  # fmt: skip
    settings = load_settings(
        model__kind="scripted", journal="off", record__agents="none", record__messages=False, record__actions=False
    )
    ticks = society.ticks - 1
    for name, what in (("Quiet", "send, a public number"), ("Writer", "the same, and 1,000 posts, 3,000 likes a tick"),
                       ("Teller", "send, a public text, another each turn")):  # fmt: skip
        off, on = [], []
        for _ in range(rounds):
            off.append(run(name, settings, hashed=False)[0])
            on.append(run(name, settings, hashed=True))
        share = median(spent / whole for whole, spent in on)
        sides = (off, [whole for whole, _ in on])
        shown = [f"{min(side) / ticks * 1e3:.1f}, {median(side) / ticks * 1e3:.1f}" for side in sides]
        table.add_row(what, *shown, f"{share:.1%}")
    return table


society = society_of(Writer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5, help="pairs of whole runs; ten times as many ticks alone")
    given = parser.parse_args()
    tune_collector()
    console = Console(width=120)
    console.print(alone(given.posts, 10 * given.rounds))
    console.print(runs(given.rounds))


if __name__ == "__main__":
    main()
