"""The posts of a feed, in columns: a ring of the newest ones, with a chain from each post to its author's last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.env.digest import RowDigests, join_digests
from populace.env.feed.likes import Likes
from populace.env.picked import Column

NONE: Final = -1
"""Stands for no post, and for no author."""

_COLUMNS: Final = {
    "author": np.int32,
    "tick": np.int32,
    "parent": np.int64,
    "original": np.int64,
    "original_author": np.int32,
    "likes": np.int32,
    "reposts": np.int32,
    "previous": np.int64,
}

_NOBODY: Final = np.empty(0, np.int64)
_COUNTED: Final = ("likes", "reposts")
_POSTED: Final = tuple(name for name in _COLUMNS if name not in _COUNTED)


class _Digests:
    """The digests of a feed's tables, and what was touched since they were last brought up to date.

    A row is touched by its post's id, so that one that is dropped in the tick in which it was written is known.
    """

    def __init__(self) -> None:
        self.posts = RowDigests("posts", *_POSTED, "text")
        self.counts = RowDigests("posts", *_COUNTED)
        self.likes = RowDigests("likes", "agent")
        self.last = RowDigests("last", "post")
        self._mark = np.zeros(0, np.int32)
        self.forget_touched()

    def forget_touched(self) -> None:
        self.written: list[int] = []
        self.reposted: list[int] = []
        self.authors: list[int] = []
        self.liked: list[NDArray[np.int64]] = [_NOBODY]
        self.likers: list[NDArray[np.integer]] = [_NOBODY]
        self.unliked: list[NDArray[np.int64]] = [_NOBODY]
        self.unlikers: list[NDArray[np.int64]] = [_NOBODY]

    def add_likes(self, posts: NDArray[np.int64], likers: NDArray[np.integer]) -> None:
        """These posts are liked, by one agent each."""
        self.liked.append(posts)
        self.likers.append(likers)

    def drop_likes(self, posts: NDArray[np.int64], likers: NDArray[np.int64]) -> None:
        """These likes are dropped with their posts."""
        self.unliked.append(posts)
        self.unlikers.append(likers)

    def distinct(self, slots: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
        """Which of these slots, out of so many, are there for the last time."""
        if size > len(self._mark):
            self._mark = np.zeros(size, np.int32)
        order = np.arange(len(slots), dtype=np.int32)
        self._mark[slots] = order
        last: NDArray[np.bool_] = self._mark.take(slots) == order
        return last

    def all(self) -> list[bytes]:
        return [table.digest() for table in (self.posts, self.counts, self.likes, self.last)]


def unless_none(column: NDArray[np.integer]) -> NDArray[Any]:
    """The column with NONE masked."""
    return np.ma.MaskedArray(column, column == NONE)


class Posts:
    """Posts by id, which counts from 0 in the order of posting; the last `keep` are kept.

    Columns are rings of up to `keep` rows that grow as posts come: post `id` stands at `id % keep`.
    """

    def __init__(self, keep: int, agents: int) -> None:
        self.keep = keep
        self.written = 0
        """How many posts there have been, the kept and the dropped ones."""
        self.last = np.full(agents, NONE, dtype=np.int64)
        """Each agent's newest post."""
        self._columns = {name: np.zeros(0, dtype=dtype) for name, dtype in _COLUMNS.items()}
        self._texts: list[str] = []
        self._likes = Likes()
        self._liked: list[tuple[int, int]] = []
        """Likes that came one by one since the digest was taken."""
        self._digests: _Digests | None = None

    @property
    def oldest(self) -> int:
        """The oldest kept post's id."""
        return max(0, self.written - self.keep)

    def kept(self, post: int, ahead: int = 0) -> bool:
        """Whether the post is there and kept, once so many more are written."""
        written = self.written + ahead
        return max(0, written - self.keep) <= post < written

    def ids(self) -> NDArray[np.int64]:
        """The kept posts, oldest first."""
        return np.arange(self.oldest, self.written, dtype=np.int64)

    def column(self, name: str, posts: NDArray[np.int64]) -> NDArray[Any]:
        """A column's values for kept posts: author, tick, parent, original, original_author, likes, reposts."""
        return self._columns[name][posts % self.keep]

    def add(
        self,
        author: int,
        tick: int,
        text: str,
        *,
        parent: int = NONE,
        original: int = NONE,
        original_author: int = NONE,
    ) -> int:
        """Append a post, dropping the oldest one when the ring is full; gives its id."""
        post = self.written
        self._grow(min(post + 1, self.keep))
        at = post % self.keep
        self._texts[at : at + 1] = [text]
        if self._digests is not None:
            self._digests.written.append(post)
            self._digests.authors.append(author)
        values = (author, tick, parent, original, original_author, 0, 0, int(self.last[author]))
        for column, value in zip(self._columns.values(), values, strict=True):
            column[at] = value
        self.last[author] = post
        self.written += 1
        if at == 0:
            self._drop_likes()
        return post

    def extend(self, authors: Sequence[int], tick: int, texts: Sequence[str], parents: Sequence[int]) -> None:
        """`add` posts of a tick, none of them a repost, one after another."""
        posts = np.arange(self.written, self.written + len(texts))
        slots, who = posts % self.keep, np.asarray(authors, np.int64)
        before = self.last[who]
        order = np.argsort(who, kind="stable")
        again = np.flatnonzero(who[order][1:] == who[order][:-1])
        before[order[again + 1]] = posts[order[again]]
        self.last[who] = posts  # of an author's several the last one stays
        self._grow(min(self.written + len(texts), self.keep))
        start = 0
        while start < len(texts):
            at = int(slots[start])
            some = texts[start : start + self.keep - at]
            self._texts[at : at + len(some)] = some
            start += len(some)
        values = (who, tick, parents, NONE, NONE, 0, 0, before)
        for column, value in zip(self._columns.values(), values, strict=True):
            column[slots] = value  # of two that share a slot the last one stands there
        if self._digests is not None:
            self._digests.written += posts.tolist()
            self._digests.authors += authors
        self.written += len(texts)
        self._drop_likes()

    def _drop_likes(self) -> None:
        """Forget who likes posts that are kept no longer."""
        dropped = self._likes.drop(self.oldest)
        if self._digests is not None:
            self._digests.drop_likes(*dropped)

    def grow(self, agents: int) -> None:
        """So many agents more, who have posted nothing."""
        if self._digests is not None:
            self._digests.authors += range(len(self.last), len(self.last) + agents)
        self.last = np.concatenate((self.last, np.full(agents, NONE, np.int64)))

    def _grow(self, rows: int) -> None:
        capacity = len(self._columns["author"])
        if rows > capacity:
            more = min(self.keep, max(256, 2 * capacity, rows)) - capacity
            for name, column in self._columns.items():
                self._columns[name] = np.concatenate([column, np.zeros(more, dtype=column.dtype)])

    def text_of(self, post: int) -> str:
        """A kept post's text; a repost bears the original's."""
        return self._texts[post % self.keep]

    def author_of(self, post: int) -> int:
        """A kept post's author; that of a repost is who reposted."""
        return int(self._columns["author"][post % self.keep])

    def original_of(self, post: int) -> int:
        """The post itself, or what a repost shows (which may be kept no longer)."""
        original = int(self._columns["original"][post % self.keep])
        return post if original == NONE else original

    def originals(self, posts: NDArray[np.int64]) -> NDArray[np.int64]:
        """`original_of` each of these kept posts; NONE for NONE."""
        if not len(self._columns["original"]):
            return np.full(len(posts), NONE, np.int64)
        found = self.column("original", np.maximum(posts, 0))
        return np.where((found == NONE) | (posts == NONE), posts, found)

    def count_repost(self, post: int) -> None:
        """Count one more repost of a kept post."""
        self._columns["reposts"][post % self.keep] += 1
        if self._digests is not None:
            self._digests.reposted.append(post)

    def liked(self, posts: NDArray[np.int64], agents: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which of these posts each agent likes already; NONE is liked by nobody."""
        return self._likes.there(posts, agents)

    def like(self, post: int, agent: int) -> bool:
        """Count a like of a kept post that was none when `liked` was asked; False, and no like, where it came since."""
        if not self._likes.add(post, agent):
            return False
        self._columns["likes"][post % self.keep] += 1
        if self._digests is not None:
            self._liked.append((post, agent))
        return True

    def like_each(self, posts: NDArray[np.int64], agents: NDArray[np.integer]) -> NDArray[np.bool_]:
        """`like`, for each of these kept posts and agents, one after another: which likes are new."""
        new = self._likes.add_each(posts, agents)
        np.add.at(self._columns["likes"], posts[new] % self.keep, 1)
        if self._digests is not None:
            self._digests.add_likes(posts[new], agents[new])
        return new

    def newest(self, n: int) -> NDArray[np.int64]:
        """The n newest kept posts, newest first."""
        return np.arange(self.written - 1, max(self.oldest, self.written - n) - 1, -1, dtype=np.int64)

    def by_score(self) -> NDArray[np.int64]:
        """The kept posts by likes and reposts, most first, and newer ones first among equals."""
        posts = self.ids()
        score = self.column("likes", posts) + self.column("reposts", posts)
        return posts[np.lexsort((-posts, -score))]

    def of_author(self, author: int, n: int) -> list[int]:
        """An agent's n newest kept posts, newest first."""
        found: list[int] = []
        post = int(self.last[author])
        while len(found) < n and self.kept(post):
            found.append(post)
            post = int(self._columns["previous"][post % self.keep])
        return found

    def replies_to(self, post: int, n: int) -> list[int]:
        """The first n kept replies to a post, oldest first."""
        posts = self.ids()
        found: list[int] = posts[self.column("parent", posts) == post][:n].tolist()
        return found

    def shown(self, posts: NDArray[np.int64]) -> dict[str, Column]:
        """What is shown of kept posts, in columns, masked where there is NONE."""
        slots = posts % self.keep
        of = {name: column[slots] for name, column in self._columns.items()}
        return {
            "id": posts,
            "author": of["author"],
            "tick": of["tick"],
            "text": [self._texts[at] for at in slots.tolist()],
            "likes": of["likes"],
            "reposts": of["reposts"],
            "reply_to": unless_none(of["parent"]),
            "repost_of": unless_none(of["original"]),
            "original_author": unless_none(of["original_author"]),
        }

    def digest(self) -> bytes:
        """16 bytes over all that `state` gives. The first takes all rows; from then on only what was touched."""
        digests = self._digests
        if digests is None:
            digests = self._digests = _Digests()
            digests.written = self.ids().tolist()
            everyone = np.arange(len(self.last))
            digests.last.put(everyone, everyone, self.last)
            self._likes.drop(self.oldest)
            digests.add_likes(*self._likes.pairs())
            self._liked = []
        self._take_touched(digests)
        return join_digests(self.keep, self.written, *digests.all())

    def _take_touched(self, digests: _Digests) -> None:
        """Old rows out of the digests, new ones in."""
        self._drop_likes()
        if self._liked:
            digests.add_likes(*np.array(self._liked, np.int64).T)
            self._liked = []
        written, reposted = (np.array(ids, dtype=np.int64) for ids in (digests.written, digests.reposted))
        liked = np.concatenate(digests.liked)
        kept = written[written >= self.oldest]
        slots = kept % self.keep
        texts = np.array([self._texts[at] for at in slots.tolist()], dtype=object)
        digests.posts.put(slots, kept, *(self._columns[name][slots] for name in _POSTED), texts)
        counted = np.concatenate([written, liked, reposted])
        counted = counted[counted >= self.oldest]
        slots = counted % self.keep
        once = digests.distinct(slots, len(self._texts))
        slots, counted = slots[once], counted[once]
        digests.counts.put(slots, counted, *(self._columns[name].take(slots) for name in _COUNTED))
        posting = set(digests.authors)
        authors = np.fromiter(posting, dtype=np.int64, count=len(posting))
        digests.last.put(authors, authors, self.last[authors])
        digests.likes.add(liked, np.concatenate(digests.likers))
        digests.likes.remove(np.concatenate(digests.unliked), np.concatenate(digests.unlikers))
        digests.forget_touched()

    def state(self) -> dict[str, Any]:
        """The kept posts, oldest first, and who likes them, as (post, agent) pairs in order."""
        posts = self.ids()
        self._drop_likes()
        return {
            "keep": self.keep,
            "written": self.written,
            "columns": {name: self.column(name, posts) for name in _COLUMNS},
            "texts": [self._texts[at] for at in (posts % self.keep).tolist()],
            "likes": np.stack(self._likes.pairs(), axis=1),
            "last": self.last.copy(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state of a feed with the same `keep` and number of agents."""
        self._digests = None
        self.written = int(state["written"])
        self.last = np.array(state["last"], dtype=np.int64)
        slots = self.ids() % self.keep
        size = len(slots)
        self._columns = {name: np.zeros(size, dtype=dtype) for name, dtype in _COLUMNS.items()}
        for name, column in self._columns.items():
            column[slots] = state["columns"][name]
        self._texts = [""] * size
        for at, text in zip(slots.tolist(), state["texts"], strict=True):
            self._texts[at] = text
        self._likes, self._liked = Likes(*np.asarray(state["likes"], np.int64).reshape(-1, 2).T), []
