"""Likes of posts are what a set of pairs would hold, however they come."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from populace.env.feed.likes import Likes

PAIR = st.tuples(st.integers(0, 30), st.sampled_from([0, 1, 2, 2**31 - 1]))
STEPS = st.lists(st.tuples(st.sampled_from(["each", "one", "drop", "pairs"]), st.lists(PAIR, max_size=40)), max_size=12)


def columns(pairs):
    return tuple(np.array(pairs, np.int64).reshape(-1, 2).T)


def check(likes: Likes, steps) -> None:
    """Do the same with a set beside it, step by step."""
    held: set[tuple[int, int]] = set()
    oldest = 0
    for what, given_pairs in steps:
        pairs = [pair for pair in given_pairs if pair[0] >= oldest]
        if what == "each":
            new = []
            for pair in pairs:
                new.append(pair not in held)
                held.add(pair)
            assert likes.add_each(*columns(pairs)).tolist() == new
        elif what == "one":
            there = likes.there(*columns(pairs)).tolist()
            assert there == [pair in held for pair in pairs]
            for pair, known in zip(pairs, there, strict=True):
                assert (not known and likes.add(*pair)) == (pair not in held)
                held.add(pair)
        elif what == "drop" and pairs:
            oldest = pairs[0][0]
            dropped = {pair for pair in held if pair[0] < oldest}
            posts, agents = likes.drop(oldest)
            assert sorted(zip(posts.tolist(), agents.tolist(), strict=True)) == sorted(dropped)
            held -= dropped
        assert len(likes) == len(held)
        if what == "pairs":
            posts, agents = likes.pairs()
            assert list(zip(posts.tolist(), agents.tolist(), strict=True)) == sorted(held)
            again = Likes(posts[::-1], agents[::-1])
            assert [one.tolist() for one in again.pairs()] == [posts.tolist(), agents.tolist()]


@given(STEPS)
def test_likes_are_a_set_of_pairs(steps):
    check(Likes(), steps)


def test_what_stands_is_a_few_runs_each_several_times_the_next():
    likes, draw = Likes(), np.random.default_rng(3)
    for tick in range(200):
        likes.add_each(np.full(50, tick), draw.integers(0, 10**6, 50))
    sizes = [len(run) for run in likes._runs]
    assert len(likes) == sum(sizes)
    assert all(one >= 4 * other for one, other in pairwise(sizes))
    assert len(sizes) <= 8
