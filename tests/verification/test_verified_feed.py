"""Controls of the feed's verifications: where the mechanism is broken, what theory predicts is not found."""

import numpy as np

from populace.env.feed import ranking
from populace.env.feed.checking import Moderator
from populace.env.feed.tables import Table
from verification import feed


def test_control_readers_who_are_shown_half_of_what_they_follow_share_less(monkeypatch):
    newest = ranking.newest_of_followed

    def of_half(posts, follows, agents, n, skip):
        return newest(posts, follows, agents, n, lambda readers, authors: skip(readers, authors) | (authors % 2 == 0))

    monkeypatch.setattr(ranking, "newest_of_followed", of_half)
    assert not all(one.holds for one in feed.subcritical(full=False))


def test_control_hops_that_are_not_counted_are_not_limited(monkeypatch):
    value = Table.value
    monkeypatch.setattr(Table, "value", lambda self, name, key: 0 if name == "hop" else value(self, name, key))
    assert [one.holds for one in feed.subcritical(full=False)] == [True, True, False]


def test_control_a_checker_that_is_always_right_labels_nothing_true(monkeypatch):
    draw = Moderator._draw

    def right(self, purpose, posts):
        return np.zeros(len(posts)) if purpose == "verdict" else draw(self, purpose, posts)

    monkeypatch.setattr(Moderator, "_draw", right)
    assert [one.holds for one in feed.labels_by_bayes(full=False)] == [False, False]
