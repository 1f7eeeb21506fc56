"""What a platform's ranking and a whole tick of it cost, at the scale of a million posts and a million agents.

Run it as `python benchmarks/feed_ranking.py [--agents N] [--posts N] [--readers N] [--rounds N]`.

`ranking` is the time to find ten posts for each reader among all posts, for each recommender that ships; agents follow
twenty others and have interests of eight numbers. `tick` is the part's own time in a tick in which one agent in a
hundred is active: it is shown ten posts, says that it read them, and reacts once (half like, a third share, the rest
flag); one in ten posts. Shown dictionaries are part of it; what the world does around the part is not. `bytes an agent`
is what the part's columns take, without posts. Times are medians of this process's seconds on one core.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

import numpy as np
from figures import figure
from rich.console import Console
from rich.table import Table

from populace.core.draws import Draws
from populace.env import Batch, Network, Opening, Platform, World
from populace.env.feed.posts import NONE
from populace.env.feed.recommenders import READY

FOLLOWED, DIMENSIONS = 20, 8
TEXT = "what somebody has to say about something, in about a hundred characters, as one does in a post: "


def platform_world(agents: int, posts: int, *, moderated: bool = True) -> World:
    """A platform on which so many posts stand, by a draw, with likes and shares as power laws have them."""
    draw = np.random.default_rng(7)
    sources = np.repeat(np.arange(agents, dtype=np.int64), FOLLOWED)
    targets = (sources + draw.integers(1, agents, len(sources))) % agents
    keys = np.unique(sources * agents + targets)
    policy: dict[str, Any] = {"moderation": "hybrid", "check_share": 0.1, "downrank": 0.5} if moderated else {}
    feed = Platform(posts, 10, interests=draw.normal(size=(agents, DIMENSIONS)), sees="engagement", **policy)
    world = World(Network(keys // agents, keys % agents, size=agents), feed)
    world.open(Opening(agents=agents, seed=7, tick_seconds=60.0, parameters=None, columns={}, draw=Draws(7)))
    fill(feed, agents, posts, draw)
    return world


def fill(feed: Platform, agents: int, posts: int, draw: np.random.Generator) -> None:
    """Put posts on the platform by its state, which is faster than having them written."""
    state = feed.state()
    author = draw.integers(0, agents, posts).astype(np.int32)
    columns: dict[str, Any] = {name: np.full(posts, NONE) for name in state["columns"]}
    columns |= {"author": author, "tick": np.zeros(posts), "likes": draw.zipf(2.0, posts).clip(0, 10_000), "reposts": 0}
    previous, last = np.full(posts, NONE, np.int64), np.full(agents, NONE, np.int64)
    order = np.argsort(author, kind="stable")
    same = author[order][1:] == author[order][:-1]
    previous[order[1:][same]] = order[:-1][same]
    last[author] = np.arange(posts)
    records = feed.records
    records.posts.extend(posts)
    records.vectors.extend(posts)
    for name in records.vectors.names:
        records.vectors[name][:] = records.interests[name][author]
    state |= {"written": posts, "columns": columns | {"previous": previous}, "texts": [TEXT] * posts, "last": last}
    state["likes"] = np.empty((0, 2), np.int64)
    state["platform"] = records.state()
    feed.restore(state)


def ranking_seconds(world: World, readers: int, rounds: int) -> dict[str, float]:
    """Seconds to rank for so many readers, by recommender; everything that a tick keeps is made anew."""
    feed: Platform = world.feed
    taken: dict[str, float] = {}
    for name in READY:
        spans = []
        for turn in range(rounds):
            feed._ranking = None
            agents = np.random.default_rng(turn).choice(world.agents, readers, replace=False).astype(np.int64)
            began = time.process_time()
            feed.ranked(name, np.sort(agents), 10)
            spans.append(time.process_time() - began)
        taken[name] = median(spans)
    return taken


def tick_seconds(world: World, active: int, rounds: int) -> dict[str, float]:
    """Seconds of the part in a tick with so many active agents, by what it does; digests are taken as they would be."""
    feed: Platform = world.feed
    spans: dict[str, list[float]] = {}
    feed.digest()
    for turn in range(rounds):
        draw = np.random.default_rng(turn)
        agents = np.sort(draw.choice(world.agents, active, replace=False)).astype(np.int32)
        steps: dict[str, float] = {}
        began = time.process_time()
        shown = feed.observe(world.tick, agents)["shown"]  # type: ignore[index]
        steps["observe"] = time.process_time() - began
        acts = _acts(agents, shown, draw)
        for kind, batch in acts.items():
            began = time.process_time()
            list(getattr(feed, kind)(world.tick, batch) or ())
            steps[kind] = time.process_time() - began
        for kind, span in (("advance", lambda: feed.advance(world.tick)), ("digest", feed.digest)):
            began = time.process_time()
            span()
            steps[kind] = time.process_time() - began
        world._step(world.tick + 1)
        for kind, span_s in (*steps.items(), ("tick", sum(steps.values()))):
            spans.setdefault(kind, []).append(span_s)
    return {kind: median(found) for kind, found in spans.items()}


def _acts(agents: Any, shown: list[list[dict[str, Any]]], draw: np.random.Generator) -> dict[str, Batch]:
    rows: dict[str, list[tuple[int, dict[str, Any]]]] = {kind: [] for kind in ("read", "like", "share", "flag", "post")}
    for agent, lot, posts in zip(agents.tolist(), draw.random(len(agents)).tolist(), shown, strict=True):
        if posts:
            kind = "like" if lot < 1 / 2 else "share" if lot < 5 / 6 else "flag"
            rows["read"].append((agent, {"posts": [post["id"] for post in posts]}))
            rows[kind].append((agent, {"post": posts[int(10 * lot) % len(posts)]["id"]}))
        if lot < 0.1:
            rows["post"].append((agent, {"text": TEXT, "true": lot < 0.05}))
    return {
        kind: Batch(np.array([agent for agent, _ in of], np.int32), [args for _, args in of])
        for kind, of in rows.items()
    }


def bytes_an_agent(world: World) -> float:
    """What the part's columns take for each agent, and the digests' rows of them, once all have been digested."""
    records = world.feed.records
    tables = (records.accounts, records.interests, records.seen)
    columns = sum(table[name].nbytes for table in tables for name in table.names)
    digests = sum(table._digests._places.nbytes for table in tables if table._digests is not None)
    return float((columns + digests + world.feed.posts.last.nbytes + 16 * world.agents) / world.agents)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=1_000_000)
    parser.add_argument("--posts", type=int, default=1_000_000)
    parser.add_argument("--readers", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    world = platform_world(options.agents, options.posts)
    table = Table("what", "seconds", title=f"{options.agents:,} agents, {options.posts:,} posts")
    for name, span_s in ranking_seconds(world, options.readers, options.rounds).items():
        table.add_row(f"ranking, {name}, {options.readers:,} readers", f"{span_s:.3f}")
        figure(f"ranking, {name}, {options.readers:,} readers", span_s, "s")
    for sees in ("popularity", "engagement"):
        world.feed.set_parameter("sees", sees)
        for kind, span_s in tick_seconds(world, options.agents // 100, options.rounds).items():
            table.add_row(f"1 % active, seeing by {sees}: {kind}", f"{span_s:.3f}")
            figure(f"a tick of {options.agents:,}, 1 % active, by {sees}: {kind}", span_s, "s")
    table.add_row("bytes an agent", f"{bytes_an_agent(world):.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
