"""Moderation as a tick ends: labels by readers' flags and by a fact-checker, removal, strikes, suspension."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.draws import words
from populace.env.feed.posts import NONE, Posts
from populace.env.feed.records import BY_LABEL, DISPUTED, FALSE, FOR_GOOD, LABELS, UNKNOWN, Records

BY_FLAGS: Final = ("community", "hybrid")
BY_CHECKER: Final = ("third_party", "hybrid")


class Moderator:
    """Takes a tick's new posts and flags, and gives labels by the platform's settings, which it reads as they are.

    *Community*: a post is disputed once `flags_to_label` have flagged it. *Third party*: a fact-checker takes up a
    share `check_share` of the posts, drawn by post, and `check_delay` ticks later gives a verdict, which is the post's
    truth with probability `check_accuracy`; posts whose truth is unknown it leaves alone. *Hybrid*: both, and the
    checker takes up what is disputed as well; where it finds it true, the label goes and does not come again.

    The draws are by (seed, post), so that two arms that differ in settings check the same posts alike.
    """

    def __init__(self, settings: Any, posts: Posts, records: Records, seed: int) -> None:
        self._set = settings
        self._posts = posts
        self._records = records
        self._seed = seed
        self._new: list[int] = []
        self._flagged: set[int] = set()
        self._due: dict[int, list[int]] | None = None

    def posted(self, posts: list[int]) -> None:
        """There are new posts, which are no shares."""
        self._new += posts

    def flagged(self, post: int) -> None:
        """A post was flagged."""
        self._flagged.add(post)

    def end_tick(self, tick: int) -> list[tuple[int, dict[str, Any]]]:
        """Check and label; gives what authors are told: (author, {'post', 'label', 'removed', 'suspended'})."""
        disputed = self._disputed() if self._set.moderation in BY_FLAGS else []
        self._take_up(tick, disputed)
        false, true = self._verdicts(tick)
        self._new, self._flagged = [], set()
        self._clear([post for post in true if self._value("label", post) or self._value("removed", post) == BY_LABEL])
        return [
            *self._label([post for post in disputed if post not in true and post not in false], DISPUTED, tick),
            *self._label(false, FALSE, tick),
        ]

    def _value(self, name: str, post: int) -> int:
        return self._records.posts.value(name, post)

    def _put(self, name: str, posts: NDArray[np.int64] | list[int], value: int) -> None:
        keys = np.asarray(posts, np.int64)
        self._records.posts[name][self._records.posts.places(keys)] = value
        self._records.posts.touch(keys)

    def _disputed(self) -> list[int]:
        enough = self._set.flags_to_label
        return [
            post
            for post in sorted(self._flagged)
            if self._posts.kept(post)
            and self._value("flags", post) >= enough
            and not self._value("label", post)
            and self._value("verdict", post) == UNKNOWN
        ]

    def _take_up(self, tick: int, disputed: list[int]) -> None:
        if self._set.moderation not in BY_CHECKER:
            return
        new = np.array([post for post in self._new if self._posts.kept(post)], np.int64)
        taken = new[self._draw("check", new) < self._set.check_share].tolist()
        if self._set.moderation == "hybrid":
            taken += [post for post in disputed if self._value("due", post) == NONE]
        taken = sorted(set(taken))
        due, queue = tick + self._set.check_delay, self._queue()
        self._put("due", taken, due)
        queue.setdefault(due, []).extend(taken)

    def _verdicts(self, tick: int) -> tuple[list[int], list[int]]:
        """What the checker finds false, and true, in this tick."""
        due = [post for post in self._queue().pop(tick, []) if self._posts.kept(post)]
        if self._set.moderation not in BY_CHECKER or not due:
            return [], []
        posts = np.unique(np.array(due, np.int64))
        posts = posts[self._records.of_posts("truth", posts) != UNKNOWN]
        right = self._draw("verdict", posts) < self._set.check_accuracy
        verdict = np.where(right, self._records.of_posts("truth", posts), 1 - self._records.of_posts("truth", posts))
        for value in (0, 1):
            self._put("verdict", posts[verdict == value], value)
        return posts[verdict == 0].tolist(), posts[verdict == 1].tolist()

    def _draw(self, purpose: str, posts: NDArray[np.int64]) -> NDArray[np.float64]:
        drawn = words(self._seed, 0, f"{self._set.name}.{purpose}", posts)
        return (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def _queue(self) -> dict[int, list[int]]:
        """Which posts are due when."""
        if self._due is None:
            self._due = self._waiting()
        return self._due

    def _waiting(self) -> dict[int, list[int]]:
        """As the column `due` has it."""
        posts = self._posts.ids()
        due = self._records.of_posts("due", posts)
        waiting: dict[int, list[int]] = {}
        for post, at in zip(posts.tolist(), due.tolist(), strict=True):
            if at >= self._set.world.tick:
                waiting.setdefault(at, []).append(post)
        return waiting

    def _label(self, posts: list[int], label: int, tick: int) -> list[tuple[int, dict[str, Any]]]:
        if not posts:
            return []
        fresh = [post for post in posts if not self._value("label", post)]
        rows = self._records.with_shares(self._posts, posts)
        self._put("label", rows, label)
        removes = self._set.removal == "labelled" or (self._set.removal == "checked" and label == FALSE)
        if removes:
            standing = [post for post in posts if not self._value("removed", post)]
            at = rows[self._records.of_posts("removed", rows) == 0]
            self._put("removed", at, BY_LABEL)
            for post in standing:
                self._records.count("removals", post)
        for post in fresh:
            self._records.count("labels", post)
        struck = self._strike([self._posts.author_of(post) for post in fresh], tick)
        told = []
        for post in posts:
            author = self._posts.author_of(post)
            about = {"post": post, "label": LABELS[label], "removed": removes, "suspended": author in struck}
            told.append((author, about))
        return told

    def _strike(self, authors: list[int], tick: int) -> set[int]:
        """A strike for each of these; gives who is suspended by it, from the next tick on."""
        accounts, suspended = self._records.accounts, set()
        for author in authors:
            accounts["strikes"][author] += 1
            if 0 < self._set.strikes_to_suspend <= accounts["strikes"][author]:
                ticks = self._set.suspension_ticks
                accounts["until"][author] = min(FOR_GOOD, tick + 1 + ticks) if ticks else FOR_GOOD
                accounts["strikes"][author] = 0
                suspended.add(author)
        accounts.touch(authors)
        return suspended

    def _clear(self, posts: list[int]) -> None:
        """What was labelled, and is found true: the label goes, and with it the strike and the removal."""
        if not posts:
            return
        rows = self._records.with_shares(self._posts, posts)
        self._put("label", rows, 0)
        self._put("removed", rows[self._records.of_posts("removed", rows) == BY_LABEL], 0)
        accounts = self._records.accounts
        authors = [self._posts.author_of(post) for post in posts]
        for author in authors:
            accounts["strikes"][author] = max(0, accounts["strikes"][author] - 1)
        accounts.touch(authors)
