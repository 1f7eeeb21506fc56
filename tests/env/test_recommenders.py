"""Recommenders against plain sorting, one reader at a time; functions of one's own; what they give that is wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.env_support import Setup, acts, look, opened

from populace.core.errors import ScenarioError
from populace.env import Candidates, Network, Platform, Recommender, World
from populace.env.feed import ranking
from populace.env.feed.ranking import best_of

AGENTS, POSTS = 6, 30
INTERESTS = [[math.cos(angle), math.sin(angle)] for angle in (0.1, 0.9, 2.0, 3.0, 4.4, 5.5)]


def course(**settings: Any) -> World:
    """A few ticks of posts, likes and shares by six agents in a ring, each of whom follows the next two."""
    ring = np.arange(AGENTS)
    edges = np.concatenate((ring, ring)), np.concatenate(((ring + 1) % AGENTS, (ring + 2) % AGENTS))
    feed = Platform(200, 8, interests=INTERESTS, **{"pool": 500, **settings})
    world = opened(
        AGENTS, Network.edges(Setup(AGENTS), *edges), feed, columns={"lean": ring - 2.5}, fields={"lean": float}
    )
    draw = np.random.default_rng(3)
    for tick in range(5):
        rows: list[Any] = [
            (int(agent), "feed.post", {"text": f"{tick}"}) for agent in np.sort(draw.integers(0, AGENTS, 5))
        ]
        known = world.feed.posts.written
        for _ in range(8 if known else 0):
            kind = "feed.share" if draw.random() < 0.4 else "feed.like"
            rows.append((int(draw.integers(0, AGENTS)), kind, {"post": int(known * draw.random() ** 2)}))
        world.resolve(acts(*sorted(rows, key=lambda row: row[0])))
    return world


def plainly(world: World, name: str, reader: int) -> list[int]:
    """What a recommender shows, by sorting rows of what everybody can see."""
    followed = {(reader + 1) % AGENTS, (reader + 2) % AGENTS}
    rows = [row for author in range(AGENTS) for row in look(world, "feed.by", reader, author=author, n=200)]
    by_id = {row["id"]: row for row in rows}
    interest = {agent: np.array(vector, np.float32) for agent, vector in enumerate(INTERESTS)}

    def affinity(row: dict[str, Any]) -> float:
        author = row["author"] if row["repost_of"] is None else row["original_author"]
        return float(interest[reader] @ interest[author])

    def of(row: dict[str, Any]) -> dict[str, Any]:
        return row if row["repost_of"] is None else by_id[row["repost_of"]]

    def hot(row: dict[str, Any]) -> float:
        reactions = 1 + of(row)["likes"] + 2 * of(row)["reposts"] + of(row)["comments"]
        return reactions / (1 + world.tick - row["tick"]) ** 1.5 * math.exp(affinity(row))

    scores = {
        "recency": lambda row: row["id"],
        "followed": lambda row: row["id"],
        "popularity": lambda row: row["likes"] + row["reposts"],
        "interest": affinity,
        "engagement": hot,
    }
    wanted = [row for row in rows if row["author"] != reader and row["original_author"] != reader]
    if name == "followed":
        wanted = [row for row in wanted if row["author"] in followed]
    elif name in ("recency", "popularity"):
        wanted = [row for row in wanted if row["repost_of"] is None]
    else:
        wanted = [row for row in wanted if row["repost_of"] is None or row["author"] in followed]
    wanted.sort(key=lambda row: (-round(scores[name](row), 5), -row["id"]))
    shown: dict[int, int] = {}
    for row in wanted:
        shown.setdefault(of(row)["id"], row["id"])
    return list(shown.values())[:8]


@pytest.mark.parametrize("name", ["recency", "followed", "popularity", "interest", "engagement"])
@pytest.mark.parametrize(("pairs", "first"), [(2**20, 4), (1, 4), (2**20, 1)])
def test_against_plain_sorting(name, pairs, first, monkeypatch):
    """In one piece and reader by reader; where few are tried first, and where none are."""
    monkeypatch.setattr(ranking, "_PAIRS", pairs)
    monkeypatch.setattr(ranking, "_FIRST", first)
    world = course()
    for reader in range(AGENTS):
        shown = [row["id"] for row in look(world, "feed.ranked_by", reader, recommender=name)]
        assert shown == plainly(world, name, reader)


@given(st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=4), st.integers(1, 7))
def test_the_best_of_each_row_are_those_of_a_stable_sort(rows, n):
    scores = np.array(rows, np.float64)
    assert best_of(scores, n).tolist() == np.argsort(-scores, axis=1, kind="stable")[:, :n].tolist()


def test_a_chronological_mix_is_in_order_but_for_its_share():
    world = course(recommenders={"orderly": Recommender(random_share(0.0), ("newest",))})
    orderly = look(world, "feed.ranked_by", 0, recommender="orderly")
    assert [row["id"] for row in orderly] == [row["id"] for row in look(world, "feed.latest", 0)]
    mixed = [[row["id"] for row in look(world, "feed.ranked_by", 0, recommender="mix")]]
    world.resolve([])
    mixed += [[row["id"] for row in look(world, "feed.ranked_by", 0, recommender="mix")]]
    assert mixed[0] != mixed[1], "drawn anew in each tick"


def random_share(share: float) -> Any:
    from populace.env.feed.recommenders import random_mix

    return random_mix(share)


def alike(candidates: Candidates) -> Any:
    """The nearest in lean first, followed authors above all."""
    return candidates.follows - np.abs(candidates.of_reader("lean") - candidates.of_author("lean")) / 10


def test_a_recommender_of_ones_own_in_a_line():
    world = course(recommenders={"alike": alike}, sees="alike")
    shown = [row["author"] for row in world.observe([2])[0]["feed.shown"]]
    assert shown == sorted(shown, key=lambda author: (author not in (3, 4), abs(author - 2)))
    assert set(shown[:2]) <= {3, 4}


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (lambda candidates: candidates.likes * math.nan, "'mine' gives NaN"),
        (lambda candidates: np.zeros((3, 2)), r"'mine' gives scores of shape \(3, 2\): readers are 1 rows"),
        (lambda candidates: np.array(["a"]), "'mine' gives <U1"),
    ],
)
def test_what_are_no_scores_is_told(score, said):
    with pytest.raises(ScenarioError, match=said):
        course(recommenders={"mine": score}, sees="mine").observe([0])


def test_what_is_no_recommender_is_told():
    for given_ in ({"score": 3}, {"score": alike, "sources": ()}, {"score": alike, "sources": ("best",)}):
        with pytest.raises(ScenarioError, match="a function of candidates, and one or more of"):
            Recommender(**given_)


def test_columns_of_shared_and_own_candidates_agree():
    """What a function is given of one post and one reader is the same, whichever source the post came by."""
    world = course()
    world.observe([0])
    source = world.feed.ranking().source
    readers, posts = np.arange(AGENTS), world.feed.posts.ids()[5:25]
    shared = Candidates(source, readers, posts)
    own = Candidates(source, readers, np.tile(posts, (AGENTS, 1)))
    shape = (AGENTS, len(posts))
    for name in (
        "author",
        "age",
        "likes",
        "shares",
        "comments",
        "views",
        "flags",
        "labelled",
        "community",
        "follows",
        "originals",
    ):
        one, other = (np.broadcast_to(getattr(given_, name), shape) for given_ in (shared, own))
        assert np.array_equal(one, other), name
    assert np.array_equal(np.broadcast_to(shared.affinity, shape), own.affinity)
    assert np.array_equal(shared.draw("x"), own.draw("x"))
    assert shared.follows.any()
