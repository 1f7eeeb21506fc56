"""What is read on a platform: taken at once where nothing else matters, and remembered as one after another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.env_support import Setup, acts, opened
from support.platforms import AGENT, AGENTS, EDGES, ROWS

from populace.env import Network, Platform, World

READS = st.tuples(
    AGENT, st.tuples(st.just("feed.read"), st.fixed_dictionaries({"posts": st.lists(st.integers(0, 30))}))
)
TICKS = st.lists(st.tuples(ROWS, st.lists(READS, max_size=8), st.randoms(use_true_random=False)), max_size=5)


class InOrder(Platform):
    """A platform that takes all in the order in which it comes, and looks at what each remembers one by one."""

    def apart(self, tick: int, acts: Any) -> Any:
        return {}

    def _remember(self, agents: Any, posts: Any) -> Any:
        seen, found = self.records.seen, []
        for agent, post in zip(agents.tolist(), posts.tolist(), strict=True):
            known = any(seen.value(f"s{at}", agent) == post for at in range(self.memory))
            if not known:
                place = seen.value("next", agent)
                seen.put(f"s{place}", agent, post)
                seen.put("next", agent, (place + 1) % self.memory)
            found.append(not known)
        return np.array(found, np.bool_)


def world_of(kind: type[Platform], keep: int = 6, memory: int = 3) -> World:
    return opened(AGENTS, Network.edges(Setup(AGENTS), *EDGES), kind(keep, 3, memory=memory, name="feed"))


def outcome(world: World, tick: list[Any]) -> tuple[Any, ...]:
    """What a tick's actions come to: refusals, digests, and how often each post was viewed."""
    done = world.resolve(acts(*((agent, *one) for agent, one in tick)), digests=True)
    return done.refused, done.digests, world.feed.cascades()["views"].tolist(), world.feed.count("views")


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(TICKS, st.integers(1, 8), st.integers(0, 3))
def test_reads_come_to_what_they_came_to_in_order(ticks: list[Any], keep: int, memory: int):
    one, other = world_of(Platform, max(3, keep), memory), world_of(InOrder, max(3, keep), memory)
    for rows, reads, mixed in ticks:
        tick = [*rows, *reads]
        mixed.shuffle(tick)
        assert outcome(one, tick) == outcome(other, tick)


POSTED = [(agent, ("feed.post", {"text": "old"})) for agent in range(AGENTS)]
NEW = [(1, ("feed.post", {"text": "new"}))] * 2
READ = [(0, ("feed.read", {"posts": [0]}))]
AGAIN = [(0, ("feed.read", {"posts": [post]})) for post in (3, 0, 4)]


@pytest.mark.parametrize("tick", [[*NEW, *READ], [*AGAIN[:1], *NEW, *AGAIN[1:]]])
def test_control_reads_of_what_the_tick_drops_would_come_to_something_else(tick: list[Any], monkeypatch):
    in_order, careful, careless = world_of(InOrder, 5, 2), world_of(Platform, 5, 2), world_of(Platform, 5, 2)
    wanted = [outcome(in_order, one) for one in (POSTED, tick)]
    assert [outcome(careful, one) for one in (POSTED, tick)] == wanted
    monkeypatch.setattr(Platform, "_oldest_read", lambda self, posts: self.posts.written)
    assert [outcome(careless, one) for one in (POSTED, tick)] != wanted


def test_reads_between_other_actions_are_taken_at_once():
    world, sizes = world_of(Platform, 20), []
    world.resolve(acts(*((agent, *one) for agent, one in POSTED)))
    viewed = world.feed.records.viewed
    world.feed.records.viewed = lambda posts: sizes.append(len(posts)) or viewed(posts)
    pairs = [((a, "feed.read", {"posts": [0, 1]}), (a, "feed.post", {"text": "new"})) for a in range(AGENTS)]
    world.resolve(acts(*(one for pair in pairs for one in pair)))
    assert sizes == [2 * AGENTS]
