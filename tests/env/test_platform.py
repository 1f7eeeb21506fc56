"""A platform: what is never shown, whatever is done; state and digests; cascades, attention, memory, communities."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.env_support import Setup, acts, look, opened
from support.platforms import AGENTS, ROWS, SETTINGS, again, all_shown, check_shown, platform_world, resolve

from populace.core.errors import ScenarioError
from populace.env import Community, Feed, LookFailed, Network, Platform
from populace.env.feed.checking import Moderator
from populace.env.feed.ranking import Ranking
from populace.env.feed.records import Records
from populace.env.feed.tables import Pairs, Table

COURSE = settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))
TICKS = st.lists(st.tuples(ROWS, st.sampled_from(["", "", "restore"])), min_size=2, max_size=5)


def play(ticks: list[Any], dials: dict[str, Any]) -> None:
    """A course; at every tick's end nothing that must not be is shown, and a copy goes on in the same way."""
    world = platform_world(dials)
    copied = again(world, dials)
    for rows, then in ticks:
        ended = resolve(world, rows)
        too = resolve(copied, rows)
        assert (too.refused, too.emissions, too.digests) == (ended.refused, ended.emissions, ended.digests)
        fresh = again(world, dials)
        assert ended.digests == fresh.digests(), "the digest kept is that of the whole state"
        assert fresh.observe(range(AGENTS)) == world.observe(range(AGENTS))
        check_shown(world)
        if then:
            copied = fresh


@COURSE
@given(TICKS, SETTINGS)
def test_nothing_that_must_not_be_is_shown_and_state_is_exact(ticks, dials):
    play(ticks, dials)


POSTS = [(agent, ("feed.post", {"text": "x", "true": agent != 0, "community": "news"})) for agent in range(AGENTS)]
DONE = [
    (1, ("feed.mute", {"agent": 2})),
    (2, ("feed.share", {"post": 1})),
    (4, ("feed.remove", {"post": 3})),
    (3, ("feed.flag", {"post": 0})),
    (0, ("feed.like", {"post": 4})),
    (0, ("feed.read", {"posts": [4]})),
]
FURTHER = [(agent, ("feed.share", {"post": AGENTS})) for agent in (0, 3, 4)]
MORE = [(3, ("feed.post", {"text": "y", "true": False}))]
COURSE_OF_ALL = [(POSTS, ""), (DONE, "restore"), (FURTHER, ""), (MORE, "restore"), ([], ""), ([], "")]
DIALS = {"moderation": "hybrid", "flags_to_label": 1, "strikes_to_suspend": 1, "hop_limit": 1, "learning": 0.5}


@pytest.mark.parametrize(
    ("broken", "what", "how"),
    [
        (Ranking, "hidden", lambda self, posts: np.zeros(posts.shape, bool)),
        (Ranking, "_mutes", lambda self: np.empty((0, 2), np.int64)),
        (Table, "value", lambda self, name, key: 0 if name == "hop" else int(self[name][self.places(np.int64(key))])),
        (Table, "touch", lambda *_: None),
        (Table, "add", lambda self, name, key: self[name].__setitem__(self.places(key), 1 + self.value(name, key))),
        (Pairs, "restore", lambda *_: None),
        (Records, "restore", lambda self, state: self.posts.restore(state["posts"])),
        (Moderator, "_waiting", lambda self: {}),
    ],
)
def test_control_a_platform_that_forgets_one_of_them_is_found(broken, what, how, monkeypatch):
    dials = {**DIALS, "check_share": 0.6, "check_delay": 1}
    play(COURSE_OF_ALL, dials)
    monkeypatch.setattr(broken, what, how)
    with pytest.raises(AssertionError):
        play(COURSE_OF_ALL, dials)


@COURSE
@given(st.lists(ROWS, min_size=2, max_size=4), SETTINGS, st.permutations(range(AGENTS)))
def test_no_id_is_favoured(ticks, dials, order):
    """Where everybody is called otherwise, the same is shown to whoever does the same in the same order."""
    dials = {**dials, "downrank": 0.0, "sees": "engagement"}
    world, other = platform_world(dials), platform_world(dials)
    renamed = np.array(order)
    other.feed.communities = tuple(
        Community(one.name, one.rules, [order[agent] for agent in one.moderators]) for one in world.feed.communities
    )
    for name in world.feed.records.interests.names:
        other.feed.records.interests[name][renamed] = world.feed.records.interests[name]
    follows = world.network.out
    pairs = renamed[follows.sources()], renamed[follows.targets]
    other.network._out = Network.edges(Setup(AGENTS), *pairs).out
    for rows in ticks:
        rows = sorted(rows, key=lambda row: row[0])
        world.resolve(acts(*((who, *what) for who, what in rows)))
        other.resolve(acts(*((order[who], kind, renamed_in(args, order)) for who, (kind, args) in rows)))
        for agent in range(AGENTS):
            here, there = world.observe([agent])[0]["feed.shown"], other.observe([order[agent]])[0]["feed.shown"]
            assert [post["id"] for post in here] == [post["id"] for post in there]
            assert [order[post["author"]] for post in here] == [post["author"] for post in there]


def renamed_in(args: dict[str, Any], order: list[int]) -> dict[str, Any]:
    return {**args, "agent": order[args["agent"]]} if "agent" in args else args


def test_control_a_recommender_that_goes_by_ids_is_found(monkeypatch):
    ranking = Ranking.best

    def lower_ids(self, name, recommender, readers, n):
        found = ranking(self, name, recommender, readers, n)
        authors = np.where(found >= 0, self.source.posts.column("author", np.maximum(found, 0)), 99)
        return np.take_along_axis(found, np.argsort(authors, axis=1, kind="stable"), axis=1)

    monkeypatch.setattr(Ranking, "best", lower_ids)
    course = [[(agent, ("feed.post", {"text": "a"})) for agent in range(AGENTS)]]
    with pytest.raises(AssertionError):
        test_no_id_is_favoured.hypothesis.inner_test(course, {"reactions": 0}, [4, 3, 2, 1, 0])


def refused(world: Any, *rows: Any) -> list[str]:
    """Why actions were refused, '' where they were not; in their order."""
    actions = acts(*rows)
    reasons = {(one.agent, one.nth): reason for one, reason in world.resolve(actions).refused}
    return [reasons.get((one.agent, one.nth), "") for one in actions]


def test_refusals():
    world = platform_world({"reactions": 2, "hop_limit": 1, "text_chars": 5})
    world.resolve(acts(*((agent, "feed.post", {"text": "x"}) for agent in range(AGENTS))))
    assert refused(
        world,
        (0, "feed.post", {"text": "x", "true": 1}),
        (0, "feed.post", {"text": "x", "vector": [1.0]}),
        (0, "feed.post", {"text": "x", "community": "nowhere"}),
        (0, "feed.post", {"text": "x", "community": 3}),
        (0, "feed.flag", {"post": 0}),
        (0, "feed.quote", {"post": 1, "text": "too long"}),
        (0, "feed.quote", {"post": 1, "text": "x", "true": "no"}),
        (0, "feed.share", {"post": 1}),
        (0, "feed.share", {"post": 1}),
        (0, "feed.share", {"post": 5}),
        (0, "feed.flag", {"post": 2}),
        (0, "feed.like", {"post": 2}),
        (0, "feed.post", {"text": "x", "reply_to": 2}),
        (0, "feed.post", {"text": "x"}),
        (0, "feed.mute", {"agent": 0}),
        (0, "feed.mute", {"agent": 9}),
        (0, "feed.mute", {"agent": "1"}),
        (0, "feed.mute", {"agent": 1}),
        (0, "feed.mute", {"agent": 1}),
        (0, "feed.unmute", {"agent": 2}),
        (0, "feed.read", {"posts": [77]}),
        (0, "feed.read", {"posts": 1}),
        (0, "feed.remove", {"post": 1}),
        (0, "feed.remove", {"post": 99}),
        (0, "feed.remove", {}),
    ) == [
        *("bad_arguments", "bad_arguments", "unknown_community", "bad_arguments", "own_post", "long_text"),
        *("bad_arguments", "", "already_shared", "unknown_post", "", "no_attention", "no_attention", ""),
        *("unknown_agent", "unknown_agent", "bad_arguments", "", "already_muted", "not_muted", "unknown_post"),
        *("bad_arguments", "no_moderator", "unknown_post", "bad_arguments"),
    ]  # fmt: skip
    assert look(world, "feed.by", 2, author=0)[1]["repost_of"] == 1
    assert refused(world, (2, "feed.share", {"post": 5}), (2, "feed.share", {"post": 1})) == ["hop_limit", ""]


def test_cascades_are_counted_by_their_original():
    world = platform_world({"hop_limit": 0})
    world.resolve(
        acts((0, "feed.post", {"text": "false", "true": False}), (1, "feed.post", {"text": "x", "true": True}))
    )
    world.resolve(acts((1, "feed.share", {"post": 0})))
    world.resolve(acts((2, "feed.share", {"post": 2}), (3, "feed.repost", {"post": 0})))
    world.resolve(acts((4, "feed.like", {"post": 3}), (4, "feed.quote", {"post": 3, "text": "no", "true": True})))
    world.resolve(acts((3, "feed.read", {"posts": [3, 0]}), (4, "feed.read", {"posts": [3]})))
    platform = world.feed
    found = {name: column.tolist() for name, column in platform.cascades().items()}
    assert found["post"] == [0, 1, 5]
    assert (found["size"], found["depth"], found["truth"]) == ([4, 1, 1], [2, 0, 0], [0, 1, 1])
    assert (found["likes"], found["comments"], found["views"]) == ([1, 0, 0], [1, 0, 0], [2, 0, 0])
    # The tree 0 <- 1 <- 2, 0 <- 3: distances 1, 2, 1, 1, 2, 3 between six pairs.
    assert look(world, "feed.cascade", post=4) == {
        "post": 0,
        "size": 4,
        "depth": 2,
        "virality": pytest.approx(10 / 6),
        "label": None,
    }
    assert [platform.count(kind, true=False) for kind in ("posts", "shares", "engagement", "views")] == [1, 3, 5, 2]
    assert platform.count("posts") == 3
    assert platform.engaged().tolist() == [5, 0, 0, 0, 0]
    assert isinstance(look(world, "feed.cascade", post=99), LookFailed)
    with pytest.raises(ValueError, match="kind is 'engagement' or one of"):
        platform.count("hearts")


def test_attention_limits_what_is_shown_and_reacted_to():
    network, feed = Network.edges(Setup(3), [0], [1]), Platform(show=4, attention="budget")
    world = opened(3, network, feed, columns={"budget": [2, 0, 9]}, fields={"budget": int})
    world.resolve(acts(*((2, "feed.post", {"text": "x"}) for _ in range(6)), *((0, "feed.post", {"text": "y"}),)))
    assert [len(one["feed.shown"]) for one in world.observe([0, 1, 2])] == [2, 0, 1]
    likes = [(0, "feed.like", {"post": post}) for post in range(3)]
    assert refused(world, *likes, (1, "feed.like", {"post": 0})) == ["", "", "no_attention", "no_attention"]
    assert refused(world, (0, "feed.like", {"post": 3})) == [""], "attention is there again in the next tick"
    with pytest.raises(ScenarioError, match="attention='mood' names no public field"):
        opened(3, Platform(attention="mood"))


def test_communities_rules_and_moderators():
    world = platform_world({})
    world.resolve(acts(*((agent, "feed.post", {"text": "x", "community": "news"}) for agent in (0, 1))))
    world.resolve(acts((2, "feed.share", {"post": 0})))
    assert [one["id"] for one in look(world, "feed.community", 3, name="news")] == [1, 0]
    assert look(world, "feed.community", 3, name="sport") == []
    assert isinstance(look(world, "feed.community", 3, name="nowhere"), LookFailed)
    world.feed.set_parameter("rules", {"news": "None."})
    assert look(world, "feed.community_rules")[0] == {"name": "news", "rules": "None.", "moderators": [4]}
    remove = ((1, "feed.remove", {"post": 0}), (4, "feed.remove", {"post": 2}), (4, "feed.remove", {"post": 0}))
    assert refused(world, *remove) == ["no_moderator", "", "already_removed"]
    assert [one["id"] for one in look(world, "feed.community", 3, name="news")] == [1]
    assert not any(post["id"] in (0, 2) for agent in range(AGENTS) for post in all_shown(world, agent))
    assert world.feed.count("removals") == 1
    assert refused(world, (3, "feed.like", {"post": 2})) == ["unknown_post"]


def test_what_was_read_is_not_shown_again():
    world = platform_world({"sees": "recency"}, memory=2)
    world.resolve(acts(*((1, "feed.post", {"text": "x"}) for _ in range(4))))
    world.resolve(acts((0, "feed.read", {"posts": [3, 2, 3]})))
    assert [one["id"] for one in world.observe([0])[0]["feed.shown"]] == [1, 0]
    world.resolve(acts((0, "feed.read", {"posts": [1]})))
    assert [one["id"] for one in world.observe([0])[0]["feed.shown"]] == [3, 0], "the oldest is forgotten"
    assert world.feed.cascades()["views"].tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"moderation": "strict"}, "moderation='strict'.*"),
        ({"modration": "none"}, "has no setting 'modration'; did you mean moderation?"),
        ({"downrank": 1.5}, "downrank is a share from 0 to 1, got 1.5"),
        ({"flags_to_label": 0}, "flags_to_label is at least 1, got 0"),
        ({"check_delay": 0.5}, "check_delay=0.5"),
        ({"sees": "best"}, "sees='best' is no recommender; there are: recency, followed"),
        ({"rules": {"news": "x"}}, "rules for"),
        ({"memory": -1}, "memory is at least 0"),
        ({"attention": 1.5}, "attention is a number of posts, a public field's name, or None"),
        ({"communities": [Community("a"), Community("a")]}, "each with a name of its own"),
        ({"interests": [1.0]}, "interests are finite numbers"),
    ],
)
def test_settings_that_cannot_be(settings, said):
    with pytest.raises(ScenarioError, match=said):
        Platform(**settings)


def test_what_fits_no_agents_and_checkpoints_of_other_kinds():
    with pytest.raises(ScenarioError, match="is moderated by 7"):
        opened(3, Platform(communities=[Community("a", moderators=[7])]))
    with pytest.raises(ScenarioError, match="interests of 2 agents, and there are 3"):
        opened(3, Platform(interests=[[1.0], [2.0]]))
    with pytest.raises(ScenarioError, match="followed needs a Network"):
        opened(3, Platform(sees="followed"))
    world = opened(3, Platform(memory=2))
    with pytest.raises(ScenarioError, match="show is at most keep"):
        world.feed.set_parameter("show", 20_000)
    with pytest.raises(ScenarioError, match="another memory"):
        opened(3, Platform(memory=1)).restore(copy.deepcopy(world.state()))


def test_newborns_have_accounts():
    world = platform_world({"strikes_to_suspend": 1})
    world.feed.grow(np.arange(AGENTS, AGENTS + 2, dtype=np.int32))
    assert world.feed.records.accounts.written == AGENTS + 2
    assert not world.feed.barred(AGENTS + 1, 0)
    assert len(world.feed.engaged()) == AGENTS + 2


def test_a_plain_feed_is_digested_as_it_was():
    """The digest of a feed with posts, likes, replies and reposts, as it has been from the first version on."""
    world = opened(3, Network.edges(Setup(3), [0], [1]), Feed(keep=5, show=2))
    world.resolve(acts((0, "feed.post", {"text": "a"}), (1, "feed.post", {"text": "b"})))
    world.resolve(acts((2, "feed.like", {"post": 0}), (2, "feed.post", {"text": "c", "reply_to": 1})))
    world.resolve(acts((1, "feed.repost", {"post": 0})))
    assert world.digests()["feed"].hex() == "5e10c991e40d6920c79ffafd58ad605c"
    assert set(world.feed.state()) == {"keep", "written", "columns", "texts", "likes", "last"}
