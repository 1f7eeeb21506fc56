"""The feed against a plain list of posts; refusals, bounds, notices, state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.env_support import Setup, acts, look, opened

from populace.core.errors import ScenarioError
from populace.env import Feed, LookFailed, Network, World
from populace.env import acts as acts_module
from populace.env.acts import Acting, Acts
from populace.env.feed.posts import NONE, Posts
from populace.env.picked import Picked
from populace.kernel.packing import pack_seen, pack_values, read_seen, read_values

AGENTS, KEEP, SHOW = 5, 7, 3
PAIRS = st.sets(st.tuples(st.integers(0, AGENTS - 1), st.integers(0, AGENTS - 1)).filter(lambda p: p[0] != p[1]))
ACTIONS = st.one_of(
    st.tuples(st.just("feed.post"), st.fixed_dictionaries({"text": st.sampled_from(["a", "b", " ", "long text"])})),
    st.tuples(st.just("feed.post"), st.fixed_dictionaries({"text": st.just("re"), "reply_to": st.integers(-1, 30)})),
    st.tuples(st.sampled_from(["feed.repost", "feed.like"]), st.fixed_dictionaries({"post": st.integers(-1, 30)})),
)
TICKS = st.lists(st.lists(st.tuples(st.integers(0, AGENTS - 1), ACTIONS), max_size=15), max_size=4)


class Plain:
    """The slow plain version: a list of dicts, of which only the last ones count."""

    def __init__(self) -> None:
        self.every: list[dict[str, Any]] = []
        self.likers: dict[int, set[int]] = {}

    @property
    def kept(self) -> list[dict[str, Any]]:
        return self.every[-KEEP:]

    def find(self, post: int) -> dict[str, Any] | None:
        return next((one for one in self.kept if one["id"] == post), None)

    def act(self, agent: int, tick: int, kind: str, args: dict[str, Any]) -> str:
        if kind == "feed.post":
            if not args["text"].strip():
                return "empty_text"
            if len(args["text"]) > 4:
                return "long_text"
            if "reply_to" in args and self.find(args["reply_to"]) is None:
                return "unknown_post"
            self.add(agent, tick, args["text"], reply_to=args.get("reply_to"))
            return ""
        post = self.find(args["post"])
        if post is not None and post["repost_of"] is not None:
            post = self.find(post["repost_of"])
        if post is None:
            return "unknown_post"
        if kind == "feed.repost":
            post["reposts"] += 1
            self.add(agent, tick, post["text"], repost_of=post["id"], original_author=post["author"])
        elif agent in self.likers[post["id"]]:
            return "already_liked"
        else:
            self.likers[post["id"]].add(agent)
            post["likes"] += 1
        return ""

    def add(self, agent: int, tick: int, text: str, **rest: Any) -> None:
        empty = {"likes": 0, "reposts": 0, "reply_to": None, "repost_of": None, "original_author": None}
        self.likers[len(self.every)] = set()
        self.every.append({"id": len(self.every), "author": agent, "tick": tick, "text": text, **empty, **rest})


def world_of(pairs: set[tuple[int, int]]) -> World:
    rows = sorted(pairs)
    network = Network.edges(Setup(AGENTS), [a for a, _ in rows], [b for _, b in rows])
    return opened(AGENTS, network, Feed(KEEP, SHOW, text_chars=4))


def check(world: World, plain: Plain, pairs: set[tuple[int, int]]) -> None:
    everyone = list(range(AGENTS))
    newest = plain.kept[::-1]
    best = sorted(newest, key=lambda one: -(one["likes"] + one["reposts"]))
    counts = [{}, {"n": 1}, {"n": KEEP}, {"n": 2}, {}]
    sizes = [one.get("n", SHOW) for one in counts]
    assert world.look("feed.latest", everyone, counts) == [newest[:n] for n in sizes]
    assert world.look("feed.popular", everyone, counts) == [best[:n] for n in sizes]
    followed = [[one for one in newest if (agent, one["author"]) in pairs] for agent in everyone]
    assert world.look("feed.from_followed", everyone, counts) == [
        line[:n] for line, n in zip(followed, sizes, strict=True)
    ]
    backwards = world.look("feed.from_followed", [*everyone[::-1], 0], [{"n": KEEP}] * (AGENTS + 1))
    assert backwards == [*followed[::-1], followed[0]]
    for agent in everyone:
        mine = [one for one in newest if one["author"] == agent]
        assert look(world, "feed.by", author=agent, n=2) == mine[:2]
    for post in newest:
        replies = [one for one in plain.kept if one["reply_to"] == post["id"]]
        assert look(world, "feed.thread", post=post["id"], n=2) == [post, *replies[:2]]


@given(PAIRS, TICKS)
def test_against_a_plain_list_of_posts(pairs: set[tuple[int, int]], ticks: list[list[Any]]):
    world, plain = world_of(pairs), Plain()
    for tick, rows in enumerate(ticks):
        actions = acts(*((agent, kind, args) for agent, (kind, args) in sorted(rows, key=lambda row: row[0])))
        refused = [(one, plain.act(one.agent, tick, one.kind, one.args)) for one in actions]
        assert world.resolve(actions).refused == [(one, reason) for one, reason in refused if reason]
        check(world, plain, pairs)
    again = world_of(pairs)
    again.restore(world.state())
    check(again, plain, pairs)
    more = acts((0, "feed.post", {"text": "new"}), (1, "feed.like", {"post": len(plain.every)}))
    for one in more:
        plain.act(one.agent, len(ticks), one.kind, one.args)
    again.resolve(more)
    check(again, plain, pairs)


@pytest.mark.parametrize("sees", ["latest", "from_followed", "popular"])
def test_agents_see_what_the_feed_says(sees: Any):
    world = opened(3, Network.edges(Setup(3), [0], [1]), Feed(sees=sees, show=2))
    world.resolve(acts(*((agent, "feed.post", {"text": f"from {agent}"}) for agent in range(3))))
    world.resolve(acts((2, "feed.like", {"post": 0})))
    seen = [[post["author"] for post in one[f"feed.{sees}"]] for one in world.observe([0, 1])]
    assert seen == {"latest": [[2, 1]] * 2, "from_followed": [[1], []], "popular": [[0, 2]] * 2}[sees]


def test_a_feed_that_shows_nothing_by_itself():
    world = opened(2, Feed())
    world.resolve(acts((0, "feed.post", {"text": "hello"})))
    assert world.observe([0]) == [{}]
    with pytest.raises(ScenarioError, match="from_followed needs a Network named 'network'"):
        look(world, "feed.from_followed")
    with pytest.raises(ScenarioError, match="needs a Network named 'friends'"):
        opened(2, Feed(sees="from_followed", network="friends"))


def test_notices_of_replies():
    world = opened(3, Feed(keep=2, show=1, notify=True))
    assert world.resolve(acts((0, "feed.post", {"text": "one"}), (1, "feed.post", {"text": "two"}))).emissions == []
    replies = acts(
        (0, "feed.post", {"text": "to myself", "reply_to": 0}),
        (2, "feed.post", {"text": "late", "reply_to": 0}),
        (2, "feed.post", {"text": "to you", "reply_to": 1}),
    )
    resolved = world.resolve(replies)
    assert resolved.emissions == [(1, {"reply": 3, "to": 1, "text": "to you"})]
    assert resolved.refused == [(replies[1], "unknown_post")]


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("post", {}),
        ("post", {"text": 3}),
        ("post", {"text": "a", "to": 1}),
        ("post", {"text": "a", "reply_to": "0"}),
        ("post", {"text": "a", "reply_to": True}),
        ("like", {}),
        ("like", {"post": 0.0}),
        ("like", {"post": 0, "n": 1}),
        ("repost", {"post": None}),
    ],
)
def test_arguments_of_another_kind(kind: str, args: dict[str, Any]):
    world = opened(2, Feed())
    world.resolve(acts((0, "feed.post", {"text": "hello"})))
    actions = acts((1, f"feed.{kind}", args))
    assert world.resolve(actions).refused == [(actions[0], "bad_arguments")]
    assert [one["likes"] + one["reposts"] for one in look(world, "feed.latest")] == [0]


def test_queries_of_another_kind():
    world = opened(2, Feed(keep=20))
    for query, args in (
        ("latest", {"n": 0}),
        ("latest", {"n": 21}),
        ("popular", {"n": True}),
        ("popular", {"count": 3}),
        ("by", {}),
        ("by", {"author": 2}),
        ("thread", {"post": 0}),
        ("thread", {"post": "0"}),
    ):
        assert isinstance(look(world, f"feed.{query}", **args), LookFailed), (query, args)


def test_bad_settings_and_states():
    for settings in ({"keep": 3, "show": 4}, {"show": 0}, {"text_chars": 0}, {"sees": "best"}):
        with pytest.raises(ScenarioError, match=r"Feed\("):
            Feed(**settings)
    state = opened(2, Feed(keep=20)).state()
    with pytest.raises(ScenarioError, match="keeps 30 posts of 2 agents; the checkpoint's keeps 20 of 2"):
        opened(2, Feed(keep=30)).restore(state)


def test_likes_go_with_the_post_that_is_dropped():
    world = opened(2, Feed(keep=1, show=1))
    for tick in range(3):
        world.resolve(acts((0, "feed.post", {"text": "again"})))
        likes = acts((1, "feed.like", {"post": tick}), (1, "feed.like", {"post": tick}))
        # The first like is of this post, and the second one is refused: by this post's likes, not by earlier ones.
        assert world.resolve(likes).refused == [(likes[1], "already_liked")]
        assert look(world, "feed.latest")[0]["likes"] == 1


def test_memory_is_bounded():
    world = opened(10, Feed(keep=50))
    for tick in range(40):
        world.resolve(acts(*((agent, "feed.post", {"text": f"post of {agent}"}) for agent in range(10))))
        world.resolve(acts(*((agent, "feed.like", {"post": 10 * tick + 9}) for agent in range(10))))
    posts = world.feed.posts
    assert posts.written == 400
    assert len(posts._texts) == 50
    assert len(posts._likes) == 50  # of the newest post of each of five ticks
    assert {len(column) for column in posts._columns.values()} == {50}
    assert [one["id"] for one in look(world, "feed.latest", n=50)] == list(range(399, 349, -1))


@given(PAIRS, TICKS)
def test_what_is_taken_apart_comes_to_what_it_came_to_in_order(pairs, ticks):
    one, other = world_of(pairs), world_of(pairs)
    other.feed.__class__ = InOrder
    for tick in ticks:
        assert outcome(one, tick) == outcome(other, tick)


DROPPED = [(1, ("feed.like", {"post": 0})), *((0, ("feed.post", {"text": "new"})) for _ in range(KEEP))]
SHOWN_AGAIN = [(0, ("feed.repost", {"post": 0})), *((1, ("feed.like", {"post": post})) for post in (0, 1))]


@pytest.mark.parametrize(("tick", "refused", "apart"), [(DROPPED, [], [0]), (SHOWN_AGAIN, [1], [0])])
def test_likes_of_what_the_tick_may_drop_or_write_would_come_to_something_else_apart(monkeypatch, tick, refused, apart):
    given = [[(0, ("feed.post", {"text": "old"}))], tick]
    in_order, careless = world_of(set()), world_of(set())
    in_order.feed.__class__ = InOrder
    wanted = [outcome(in_order, one) for one in given]
    assert [one.args["post"] for one, _ in wanted[1][0]] == refused
    careful = world_of(set())
    assert [outcome(careful, one) for one in given] == wanted
    monkeypatch.setattr(Feed, "apart", lambda _, tick, acts: {"like": np.isin(acts["like"].column("post"), apart)})
    assert [outcome(careless, one) for one in given] != wanted


@pytest.mark.parametrize(
    "unwritten",
    [
        ("feed.post", {"text": "re", "reply_to": -1}),
        ("feed.post", {"text": " "}),
        ("feed.repost", {"post": -1}),
    ],
)
def test_control_where_what_is_refused_counts_as_written_a_like_is_refused(monkeypatch, unwritten):
    tick = [(1, unwritten), (0, ("feed.like", {"post": 0})), (2, ("feed.post", {"text": "new"}))]
    given = [[(0, ("feed.post", {"text": "old"}))] * KEEP, tick]
    world, careless = world_of(set()), world_of(set())
    found = [outcome(world, one) for one in given]
    assert [one.kind for one, _ in found[1][0]] == [unwritten[0]]
    monkeypatch.setattr(Feed, "_sure", lambda _self, _posts: np.zeros(1, np.intp))
    assert [outcome(careless, one) for one in given] != found


def likes_in_columns() -> list[tuple[int, str]]:
    """Who is refused why, where one block names posts by numbers and another one by a truth."""
    world = opened(AGENTS, Feed(KEEP, SHOW))
    world.resolve(acts(*((0, "feed.post", {"text": "old"}) for _ in range(2))))
    first, other = np.array([1, 2], np.int32), np.array([3], np.int32)
    numbers = Acts("feed.like", first, 0 * first, {"post": np.array([0, 1])}, {})
    truth = Acts("feed.like", other, 0 * other, {}, {"post": True})
    return [(one.agent, why) for one, why in world.resolve(Acting([], [numbers, truth])).refused]


def test_a_truth_is_no_post_s_number_beside_numbers_in_columns():
    assert likes_in_columns() == [(3, "bad_arguments")]


def test_control_where_types_are_not_compared_it_is_one(monkeypatch):
    monkeypatch.setattr(acts_module, "_types_of", lambda one: dict.fromkeys((*one.columns, *one.same)))
    assert likes_in_columns() == []


class InOrder(Feed):
    """A feed that takes all in the order in which it comes."""

    def apart(self, tick, acts):
        return {}


def outcome(world: World, tick: list[tuple[int, tuple[str, dict[str, Any]]]]) -> tuple[Any, ...]:
    """What a tick's actions come to: refusals, messages and digests."""
    resolved = world.resolve(acts(*((agent, *one) for agent, one in tick)), digests=True)
    return resolved.refused, resolved.emissions, resolved.digests, world.look("feed.latest", [0], [{"n": KEEP}])


def test_likes_between_posts_are_taken_at_once():
    world, sizes = opened(AGENTS, Feed(50)), []
    world.resolve(acts((0, "feed.post", {"text": "old"})))
    like_each = world.feed.posts.like_each
    world.feed.posts.like_each = lambda posts, agents: sizes.append(len(posts)) or like_each(posts, agents)
    between = [((a, "feed.like", {"post": 0}), (a, "feed.post", {"text": "new"})) for a in range(AGENTS)]
    world.resolve(acts(*(one for pair in between for one in pair)))
    assert sizes == [AGENTS]


@pytest.mark.parametrize(
    ("more", "refused", "batches"),
    [
        ({}, [0, 2], [[3, 1, 4], []]),
        # Whether replies are written is not known before: a like is certain where all of them may be, or none.
        ({"reply_to": 0}, [0], [[3, 1, 4], [], [2]]),
    ],
)
def test_likes_between_posts_that_drop_what_they_like_are_taken_at_once(more, refused, batches):
    """A full feed: each agent likes the post of its number, and then writes one, which drops the oldest."""
    world, taken = opened(5, Feed(5, SHOW)), []
    world.resolve(acts(*((agent, "feed.post", {"text": "old"}) for agent in range(5))))
    like_each = world.feed.posts.like_each
    world.feed.posts.like_each = lambda posts, agents: taken.append(agents.tolist()) or like_each(posts, agents)
    pairs = [((a, "feed.like", {"post": a}), (a, "feed.post", {"text": "new", **more})) for a in (3, 1, 0, 2, 4)]
    found = world.resolve(acts(*(one for pair in pairs for one in pair))).refused
    assert sorted(one.agent for one, why in found if one.kind == "feed.like" and why == "unknown_post") == refused
    assert taken == batches


@given(PAIRS, TICKS, st.lists(st.integers(1, KEEP), min_size=AGENTS, max_size=AGENTS))
def test_what_is_picked_from_rows_crosses_as_what_each_sees(pairs, ticks, counts):
    world = world_of(pairs)
    everyone, args = list(range(AGENTS)), [{"n": one} for one in counts]
    for tick in ticks:
        world.resolve(acts(*((agent, *one) for agent, one in tick)))
    for query in ("latest", "popular", "from_followed"):
        seen = world.look(f"feed.{query}", everyone, args)
        given = world.look(f"feed.{query}", everyone, args, copied=False)
        assert type(given) is Picked
        assert read_values(pack_values("", [(True, None)] * AGENTS, [(everyone, given)])) == seen
        mixed = read_values(pack_values("", [(True, "first"), *[(True, None)] * AGENTS], [([5, 1, 2, 3, 4], given)]))
        assert mixed == ["first", *seen[1:], seen[0]]
        backwards = read_values(pack_values("", [(True, None)] * AGENTS, [(everyone[::-1], given)]))
        assert backwards == seen[::-1]
        assert read_seen(pack_seen(AGENTS, {"own": everyone, "feed": given})) == [
            {"own": agent, "feed": one} for agent, one in enumerate(seen)
        ]


def test_nobody_can_change_what_another_is_shown(monkeypatch):
    world = opened(3, Feed(sees="latest"))
    world.resolve(acts((0, "feed.post", {"text": "of all"})))
    agents = np.arange(3, dtype=np.int32)
    packed = pack_seen(3, world.observe_plain(agents, copied=False))

    def changed() -> Any:
        seen = read_seen(packed)
        seen[0]["feed.latest"][0]["text"] = "mine"
        seen[1]["feed.latest"].clear()
        return seen[2]["feed.latest"][0]["text"]

    assert changed() == "of all"
    monkeypatch.setattr(Picked, "copied", lambda picked: list(picked))
    assert changed() == "mine"  # the control shares rows


def test_rows_that_hold_more_than_values_are_copied_whole():
    world = opened(2, Feed())
    world.resolve(acts((0, "feed.post", {"text": "a"})))
    shown = world.feed.posts.shown
    world.feed.posts.shown = lambda posts: {**shown(posts), "tags": [[[]] for _ in posts]}
    given = world.look("feed.latest", [0, 1], [{}, {}], copied=False)
    assert type(given) is list
    assert given[0][0]["tags"] is not given[1][0]["tags"]


def test_replies_to_posts_of_the_same_batch_are_told_to_their_authors():
    world = opened(3, Feed(keep=2, show=1, notify=True))
    world.resolve(acts((2, "feed.post", {"text": "old"})))
    replies = [(1, 0), (0, 1), (2, 1), (0, 0), (1, 4)]  # by whom, to which: the last two name posts that are not there
    done = world.resolve(acts(*((agent, "feed.post", {"text": "re", "reply_to": to}) for agent, to in replies)))
    assert done.emissions == [
        (2, {"reply": 1, "to": 0, "text": "re"}), (1, {"reply": 2, "to": 1, "text": "re"}),
        (1, {"reply": 3, "to": 1, "text": "re"}),
    ]  # fmt: skip
    assert [(one.agent, reason) for one, reason in done.refused] == [(0, "unknown_post"), (1, "unknown_post")]
    assert [one["id"] for one in look(world, "feed.latest", n=2)] == [3, 2]
    assert [one["id"] for one in look(world, "feed.by", author=2, n=2)] == [3]


@pytest.mark.parametrize("keep", [200, 1000, 10_000])
def test_many_posts_of_one_tick_are_kept_as_if_written_one_by_one(keep):
    one, other = Posts(keep, 7), Posts(keep, 7)
    for tick, size in enumerate((3, 700, 0, 1500)):
        authors = [at * at % 7 for at in range(size)]
        for author in authors:
            one.add(author, tick, f"by {author}")
        other.extend(authors, tick, [f"by {author}" for author in authors], [NONE] * size)
        assert one.digest() == other.digest()
        assert repr(one.state()) == repr(other.state())
        assert one.of_author(3, 50) == other.of_author(3, 50)
