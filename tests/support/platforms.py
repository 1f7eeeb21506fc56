"""Random courses on a platform, and what must never be shown: what the tests of platforms share."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

from populace.env import Community, Network, Platform, World
from support.env_support import Setup, acts, look, opened

AGENTS, KEEP = 5, 12
AGENT = st.integers(0, AGENTS - 1)
POST = st.fixed_dictionaries({"post": st.integers(-1, 25)})
WRITTEN = st.fixed_dictionaries(
    {"text": st.sampled_from(["a", "b", " "])},
    optional={
        "true": st.booleans(),
        "reply_to": st.integers(0, 20),
        "community": st.sampled_from(["news", "sport", "nowhere"]),
        "vector": st.just([1.0, -1.0]),
    },
)
ACTIONS = st.one_of(
    st.tuples(st.just("feed.post"), WRITTEN),
    st.tuples(st.just("feed.quote"), st.fixed_dictionaries({"post": st.integers(0, 20), "text": st.just("look")})),
    st.tuples(st.sampled_from(["feed.share", "feed.share", "feed.like", "feed.flag", "feed.remove"]), POST),
    st.tuples(st.sampled_from(["feed.mute", "feed.unmute"]), st.fixed_dictionaries({"agent": AGENT})),
    st.tuples(st.just("feed.read"), st.fixed_dictionaries({"posts": st.lists(st.integers(0, 20), max_size=2)})),
)
ROWS = st.lists(st.tuples(AGENT, ACTIONS), max_size=14)
SETTINGS = st.fixed_dictionaries(
    {
        "moderation": st.sampled_from(["none", "community", "third_party", "hybrid"]),
        "removal": st.sampled_from(["nothing", "checked", "labelled"]),
        "flags_to_label": st.integers(1, 2),
        "check_share": st.sampled_from([0.0, 0.5, 1.0]),
        "check_delay": st.integers(0, 2),
        "check_accuracy": st.sampled_from([0.5, 1.0]),
        "downrank": st.sampled_from([0.0, 0.5, 1.0]),
        "hop_limit": st.integers(0, 2),
        "reactions": st.sampled_from([0, 2]),
        "strikes_to_suspend": st.integers(0, 1),
        "suspension_ticks": st.integers(0, 2),
        "learning": st.sampled_from([0.0, 0.5]),
        "false_share": st.sampled_from([None, 0.5]),
        "sees": st.sampled_from(["recency", "followed", "popularity", "interest", "engagement", "mix"]),
    }
)
EDGES = ([0, 0, 1, 2, 3, 4, 4], [1, 2, 2, 3, 0, 0, 3])


def platform_world(settings: dict[str, Any], *, memory: int = 2) -> World:
    """Five agents who follow some others, on a platform with two communities."""
    platform = Platform(
        KEEP,
        5,
        communities=[Community("news", "No rumours.", moderators=[4]), Community("sport")],
        interests=[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.0], [0.5, 0.5]],
        memory=memory,
        pool=6,
        **settings,
    )
    return opened(AGENTS, Network.edges(Setup(AGENTS), *EDGES), platform)


def resolve(world: World, rows: list[Any]) -> Any:
    """Play a tick of actions (agent, (kind, args))."""
    return world.resolve(acts(*((who, *what) for who, what in sorted(rows, key=lambda row: row[0]))), digests=True)


def all_shown(world: World, agent: int) -> list[dict[str, Any]]:
    """Whatever an agent can come by, by what it sees and by every query."""
    found = list(world.observe([agent])[0].get("feed.shown", []))
    for query in ("latest", "popular", "from_followed"):
        found += look(world, f"feed.{query}", agent, n=KEEP)
    for name in world.feed.recommenders:
        found += look(world, "feed.ranked_by", agent, recommender=name, n=KEEP)
    for author in range(AGENTS):
        found += look(world, "feed.by", agent, author=author, n=KEEP)
    for name in ("news", "sport"):
        found += look(world, "feed.community", agent, name=name, n=KEEP)
    for post in world.feed.posts.ids().tolist():
        thread = look(world, "feed.thread", agent, post=post, n=KEEP)
        found += thread if isinstance(thread, list) else []
    return found


def check_shown(world: World) -> None:
    """Nothing removed, of anybody suspended or muted is shown; nor is anything further away than the limit of hops."""
    platform, records = world.feed, world.feed.records
    removed = {post for post in platform.posts.ids().tolist() if records.posts.value("removed", post)}
    barred = {agent for agent in range(AGENTS) if platform.barred(agent, world.tick)}
    for agent in range(AGENTS):
        away = barred | {other for muter, other in records.mutes.array().tolist() if muter == agent}
        for post in all_shown(world, agent):
            assert not {post["id"], post["repost_of"]} & removed, "removed posts are shown to nobody"
            assert not {post["author"], post["original_author"]} & away, "suspended and muted authors are not shown"
            assert not 0 < platform.hop_limit < hops(world, post["id"]), "shares go no further than the limit"


def hops(world: World, post: int) -> int:
    """How many shares lead from the original to this one, as far back as they are kept."""
    via = world.feed.records.posts.value("via", post)
    if via == -1:
        return 0
    return 1 + (hops(world, via) if world.feed.posts.kept(via) else 0)


def again(world: World, settings: dict[str, Any]) -> World:
    """A new world, given the state of this one."""
    other = platform_world(settings)
    other.restore(copy.deepcopy(world.state()))
    return other
