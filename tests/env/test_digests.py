"""Parts' digests: kept as rows change, they are at every tick those of the whole state, and tell states apart."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.env_support import Setup, acts, opened

from populace.core.errors import ScenarioError
from populace.env import Batch, Clock, Feed, Network, Part, RowDigests, World, action
from populace.env.digest import column_words, state_digest, text_words
from populace.env.feed.posts import Posts
from populace.env.network.csr import _THERE
from populace.env.part import Opening

AGENTS, KEEP = 5, 4
AGENT = st.integers(0, AGENTS - 1)
TEXTS = st.sampled_from(["a", "b", "ä\ud800", ""])
FIELDS = {"mood": float, "coins": int, "awake": bool, "name": str}
START = {"mood": [0.0] * AGENTS, "coins": [1] * AGENTS, "awake": [True] * AGENTS, "name": ["x"] * AGENTS}

ACTIONS = st.one_of(
    st.tuples(st.just("feed.post"), st.fixed_dictionaries({"text": TEXTS}, optional={"reply_to": st.integers(0, 9)})),
    st.tuples(st.sampled_from(["feed.repost", "feed.like"]), st.fixed_dictionaries({"post": st.integers(0, 12)})),
    st.tuples(st.just("network.unfollow"), st.fixed_dictionaries({"target": AGENT})),
    st.tuples(
        st.sampled_from(["network.follow", "network.set_weight"]),
        st.fixed_dictionaries({"target": AGENT, "weight": st.sampled_from([1.0, -0.0, 2.5])}),
    ),
    st.tuples(st.just("fund.pay"), st.fixed_dictionaries({"amount": st.integers(0, 3)})),
)
ROWS = st.lists(st.tuples(AGENT, ACTIONS), max_size=12)
REPORTS = st.dictionaries(
    AGENT,
    st.tuples(
        st.sampled_from([0.0, -0.0, float("nan"), float("inf"), 1.5]),
        st.sampled_from([1, -(2**63), 2**63 - 1]),
        st.booleans(),
        TEXTS,
    ),
)
TICKS = st.lists(st.tuples(ROWS, REPORTS, st.sampled_from(["", "restore", "save", "lever"])), min_size=1, max_size=6)


class Fund(Part):
    """A part of one's own, which does nothing about digests."""

    def open(self, opening: Opening) -> None:
        self.paid = np.zeros(opening.agents)
        self.book: dict[int, list[int]] = {}

    @action
    def pay(self, tick: int, batch: Batch) -> None:
        for agent, args in zip(batch.agents.tolist(), batch.args, strict=True):
            self.paid[agent] += args["amount"]
            self.book.setdefault(agent, []).append(args["amount"])

    def state(self) -> dict[str, Any]:
        return {"paid": self.paid, "book": self.book}

    def restore(self, state: dict[str, Any]) -> None:
        self.paid, self.book = state["paid"].copy(), copy.deepcopy(state["book"])


def new_world() -> World:
    network = Network.edges(Setup(AGENTS), [0, 0, 3], [1, 2, 4])
    return opened(AGENTS, Clock(), network, Feed(KEEP, 2), Fund(), columns=START, fields=FIELDS)


def report(world: World, rows: dict[int, Any], put: Callable[..., Any]) -> None:
    ids = np.array(sorted(rows), np.int32)
    columns = zip(*(rows[agent] for agent in ids.tolist()), strict=True)
    put(ids, dict(zip(FIELDS, map(list, columns), strict=True)))


def whole(state: dict[str, Any]) -> dict[str, bytes]:
    """The digests of a state, taken anew by parts that have just been given it."""
    again = new_world()
    again.restore(copy.deepcopy(state))
    return again.digests()


def check_kept_digests(ticks: list[Any]) -> None:
    """Play the ticks; at each one's end the digests are those of the whole state."""
    world = new_world()
    for rows, reports, then in ticks:
        if reports:
            report(world, reports, world.put_fields)
        kept = world.resolve(acts(*((who, *what) for who, what in sorted(rows, key=lambda row: row[0]))), digests=True)
        state = world.state()
        assert kept.digests == whole(state)
        if then == "restore":
            world.restore(copy.deepcopy(state))
        elif then == "lever" and reports:
            report(world, reports, world.change)
            assert whole(world.state()) == kept.digests, "what levers do at the edge is not of the tick before"
        elif then == "save":
            world.state()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TICKS)
def test_kept_digests_are_those_of_the_whole_state_at_every_tick(ticks):
    check_kept_digests(ticks)


def forget_likes(posts: Posts, liked: Any, agents: Any) -> Any:
    new = posts._likes.add_each(liked, agents)
    np.add.at(posts._columns["likes"], liked[new] % posts.keep, 1)
    return new


@pytest.mark.parametrize("place", ["a like", "a drop", "an edge", "a field"])
def test_control_a_digest_that_forgets_a_touched_row_is_found(place, monkeypatch):
    if place == "a like":
        monkeypatch.setattr(Posts, "like_each", forget_likes)
    elif place == "a drop":
        monkeypatch.setattr("populace.env.feed.posts._Digests.drop_likes", lambda *_: None)
    elif place == "an edge":
        monkeypatch.setattr(Network, "_take_edits", lambda *_: None)
    else:
        put = RowDigests.put
        monkeypatch.setattr(RowDigests, "put", lambda self, *rows: put(self, *(one[1:] for one in rows)))
    posts = [(agent, ("feed.post", {"text": "a"})) for agent in range(AGENTS)]
    likes = [(0, ("feed.like", {"post": 1})), (0, ("network.follow", {"target": 3, "weight": 1.0}))]
    ticks = [(posts, {}, ""), (likes, {0: (1.5, 2, False, "y")}, ""), (posts, {1: (1.5, 2, False, "y")}, "")]
    with pytest.raises(AssertionError):
        check_kept_digests(ticks)


def test_a_part_that_extends_the_state_of_a_shipped_one_is_digested_whole():
    class Counted(Feed):
        seen = 0

        def state(self) -> dict[str, Any]:
            return {**super().state(), "seen": self.seen}

    class Renamed(Feed):
        pass

    world = opened(2, Counted(name="feed"), Renamed(name="other"))
    before = world.digests()
    world.feed.seen = 1
    after = world.digests()
    assert before["feed"] != after["feed"]
    assert before["other"] == after["other"]


def test_a_part_without_state_has_one_digest_and_one_without_plain_data_is_named():
    class Odd(Part):
        def state(self) -> dict[str, Any]:
            return {"held": object()}

    world = opened(1, Clock(), Odd())
    with pytest.raises(ScenarioError, match="part 'odd', digest of its state: TypeError: object is not plain data"):
        world.digests()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({1: "x", "a": [2]}, {"a": [2], 1: "x"}),
        ({"a": np.arange(4)}, {"a": np.arange(8)[::2] // 2}),
        ({"a": np.array(["x", "y"], object)}, {"a": np.array(["x", "y"], object)}),
    ],
)
def test_a_states_digest_does_not_hang_on_how_it_lies_in_memory(one, other):
    assert state_digest(one) == state_digest(other)


def test_what_differs_has_another_digest():
    states = [
        {}, {"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"a": b"1"}, {"a": [1]}, {"a": None}, {"b": 1},
        {1: 1}, {"a": {1: 2}}, {"a": {2: 1}}, {"a": np.array([1])}, {"a": np.array([1.0])}, {"a": np.array([[1]])},
        {"a": np.array([1], np.int32)}, {"a": np.array(["1"])}, {"a": np.array(["1"], object)},
    ]  # fmt: skip
    assert len({state_digest(state) for state in states}) == len(states)


@given(st.data())
def test_rows_that_differ_in_one_value_or_place_have_other_digests(data):
    """Digests of single rows and of sums: all different, for different contents of up to six rows of two columns."""
    value = st.integers(-3, 3) | st.sampled_from([2**32, 2**62, -(2**63)])
    tables = st.dictionaries(st.integers(0, 5), st.tuples(value, value))
    one, other = data.draw(tables), data.draw(tables)

    def digest(table: dict[int, tuple[int, int]]) -> bytes:
        made = RowDigests("rows", "a", "b")
        ids = np.array(list(table), np.int64)
        made.put(ids, ids, *(np.array([row[at] for row in table.values()], np.int64) for at in (0, 1)))
        return made.digest()

    assert (digest(one) == digest(other)) == (one == other)


def test_digests_of_a_million_rows_do_not_meet_and_every_bit_is_even():
    """10**6 rows of small numbers, of floats and of exchanged columns: no two digests alike, each bit half ones."""
    n = 250_000
    index, zeros = np.arange(n), np.zeros(n, np.int64)
    made = RowDigests("rows", "a", "b")
    found = np.concatenate(
        [
            made.rows(zeros, index, zeros), made.rows(zeros, zeros, index + 1), made.rows(index + 1, zeros, zeros),
            made.rows(zeros, (index + 1) / 8.0, zeros),
        ],
        axis=1,
    )  # fmt: skip
    for lane in found:
        assert len(np.unique(lane)) == 4 * n
        bits = np.unpackbits(lane.view(np.uint8).reshape(-1, 8), axis=1).mean(axis=0)
        assert np.abs(bits - 0.5).max() < 5 * 0.5 / np.sqrt(4 * n)


def test_columns_and_tables_are_told_apart_and_nan_is_one_value():
    ids = np.array([0])
    rows = {
        (table, column, at): RowDigests(table, column).rows(ids, np.array([at])).tobytes()
        for table in "xy" for column in "ab" for at in (0, 1)
    }  # fmt: skip
    assert len(set(rows.values())) == 8
    nans = np.array([0x7FF8000000000000, 0xFFF8000000000001], np.uint64).view(np.float64)
    assert len(set(column_words(nans).tolist())) == 1
    assert column_words(np.array([0.0]))[0] != column_words(np.array([-0.0]))[0]
    assert len({tuple(pair) for pair in text_words(["", "a", "b", "\ud800"]).T.tolist()}) == 4


@pytest.mark.parametrize("weigh", [True, False])
def test_ties_that_stand_in_two_worlds_are_one_and_digested_once_until_they_change(weigh: bool) -> None:
    made = Network.watts_strogatz(Setup(40), neighbours=4, rewire=0.3)
    one, other = opened(40, made), opened(40, Network([], []))
    before = one.digests()
    state = one.network.state()
    other.network.restore(state | ({"weights": np.full(len(state["targets"]), 2.0)} if weigh else {}))
    assert (other.network.out is one.network.out) is not weigh
    assert (other.digests() == before) is not weigh
    target = next(to for to in range(1, 40) if not one.network.out.has(0, to))
    one.resolve(acts((0, "network.follow", {"target": target})), digests=True)
    assert one.network.out is not other.network.out
    assert one.network.out.has(0, target)
    assert not other.network.out.has(0, target)
    kept, whole = one.digests(), opened(40, Network([], []))
    whole.network.restore({name: column.copy() for name, column in one.network.state().items()})
    assert kept["network"] == whole.digests()["network"] != before["network"]


def test_control_rows_that_are_shared_by_their_targets_alone_lose_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("populace.env.network.part.rows_of", lambda offsets, targets, weights: _THERE[id(targets)])
    one, other = opened(40, Network.watts_strogatz(Setup(40), neighbours=4, rewire=0.3)), opened(40, Network([], []))
    state = one.network.state()
    other.network.restore(state | {"weights": np.full(len(state["targets"]), 2.0)})
    assert other.network.out.weights.tolist() != [2.0] * len(state["targets"])
