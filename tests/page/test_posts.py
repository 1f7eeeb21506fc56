"""Posts are found again by the numbers by which a feed knew them, though no table says those."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import populace
from populace.env.feed.posts import Posts
from populace.page import posts as page_posts
from populace.page.posts import Feed, read_feeds


@pytest.fixture
def run_and_feed(tmp_path, monkeypatch) -> tuple[populace.Run, list[dict[str, Any]]]:
    """A run of a platform, and what its feed took in, in the order of its own numbers."""
    taken: list[dict[str, Any]] = []
    add = Posts.add

    def told(self: Posts, author: int, tick: int, text: str, **where: int) -> int:
        number = add(self, author, tick, text, **where)
        if number == len(taken):  # the world is also tried aside
            taken.append({"author": author, "tick": tick, "text": text, "original": where.get("original", -1)})
        return number

    run = populace.run(
        "newsfeed", model="scripted", agents=15, ticks=1, out=tmp_path / "try", quiet=True, seed=5
    )  # what is tried before a run begins is tried here
    monkeypatch.setattr(Posts, "add", told)
    run = populace.run("newsfeed", model="scripted", agents=15, ticks=6, out=tmp_path / "run", quiet=True, seed=5)
    return run, taken


def read(run: populace.Run) -> Feed:
    return read_feeds(run.folder, 5, 2)["feed"]


def agrees(feed: Feed, taken: list[dict[str, Any]]) -> bool:
    return (
        feed.author.tolist() == [one["author"] for one in taken]
        and feed.tick.tolist() == [one["tick"] for one in taken]
        and feed.original.tolist() == [one["original"] for one in taken]
    )


def test_the_numbers_are_the_feeds_own(run_and_feed):
    run, taken = run_and_feed
    feed = read(run)
    assert len(taken) > 30
    assert agrees(feed, taken)
    assert (feed.original >= 0).sum() > 10


def test_control_in_the_order_of_the_table_they_are_not(run_and_feed, monkeypatch):
    run, taken = run_and_feed
    monkeypatch.setattr(page_posts, "fair_actions", lambda draw, parts, sender, nth: np.lexsort((nth, sender)))
    assert not agrees(read(run), taken)
