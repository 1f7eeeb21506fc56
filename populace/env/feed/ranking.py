"""Ranking for many readers at once: candidates from a few sources, what may be shown to whom, the best n of each."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from populace.env.feed.candidates import Candidates, Matrix, Source, mark, scores_of
from populace.env.feed.posts import NONE
from populace.env.feed.recommenders import Recommender
from populace.env.feed.timeline import newest_of_followed

_FIRST: Final = 4
"""How many times the posts that are wanted are tried first, where all readers have one score of each."""
_ROW: Final = 2**42
"""More than there are posts or agents: a row and one of these are told by one number."""
_PAIRS: Final = 2**20
"""Readers times candidates that are scored at once: what they take is some tens of megabytes."""

Best = tuple[NDArray[np.int64], NDArray[np.int64], Matrix]
"""Posts (r, n), what each shows (its original), and their scores, -inf where there is none."""


class Ranking:
    """Ranks what a platform holds in one tick. `pool` is how many candidates each shared source gives.

    Nobody is shown what is removed or of a suspended author, of an author whom they muted, their own, or what they
    read already; replies are shown in threads only. Labelled posts are kept from the share `downrank` of readers, drawn
    for each reader and post.
    """

    def __init__(self, source: Source, pool: int, downrank: float) -> None:
        self.source = source
        self._pool = pool
        self._downrank = downrank
        self._visible: NDArray[np.int64] | None = None
        self._found: dict[str, NDArray[np.int64]] = {}

    def hidden(self, posts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these kept posts, of any shape, are shown to nobody."""
        source = self.source
        author, origin = (source.posts.column(name, posts) for name in ("author", "original_author"))
        removed: NDArray[np.bool_] = np.greater(source.records.of_posts("removed", posts), 0)
        removed |= source.suspended(author)
        removed |= (origin != NONE) & source.suspended(origin)
        return removed

    def _reply(self, posts: NDArray[np.int64]) -> NDArray[np.bool_]:
        replies: NDArray[np.bool_] = np.not_equal(self.source.posts.column("parent", posts), NONE)
        return replies

    def originals(self) -> NDArray[np.int64]:
        """The kept posts that are neither shares nor replies, and not hidden, newest first."""
        if self._visible is None:
            posts = self.source.posts.ids()[::-1]
            posts = posts[(self.source.posts.column("original", posts) == NONE) & ~self._reply(posts)]
            self._visible = posts[~self.hidden(posts)]
        return self._visible

    def shared(self, name: str) -> NDArray[np.int64]:
        """The candidates of a source that is the same for all readers: 'newest', or 'popular' (newer among equals)."""
        if name not in self._found:
            posts = self.originals()
            if name == "popular" and len(posts) > self._pool:
                likes, shares = (self.source.posts.column(one, posts) for one in ("likes", "reposts"))
                posts = np.sort(posts[best_of((likes + shares)[None, :], self._pool)[0]])[::-1]
            self._found[name] = posts[: self._pool]
        return self._found[name]

    def best(self, name: str, recommender: Recommender, readers: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        """The n best posts for each reader, (r, n), best first, then NONE."""
        pools = [self.shared(one) for one in recommender.sources if one != "followed"]
        pool = pools[0] if len(pools) == 1 else _newest_first(*pools)
        own = 3 * n if "followed" in recommender.sources and self.source.follows is not None else 0
        step = max(1, _PAIRS // max(1, len(pool), own))
        found = np.full((len(readers), n), NONE, np.int64)
        for start in range(0, len(readers), step):
            some = readers[start : start + step]
            parts: list[Best] = []
            if len(pool):
                parts.append(self._best(name, recommender, some, pool, n))
            if own:
                parts.append(self._best(name, recommender, some, self._followed(some, own), own))
            if parts:
                found[start : start + step] = _merged(parts, n)
        return found

    def _followed(self, readers: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        assert self.source.follows is not None
        return newest_of_followed(self.source.posts, self.source.follows, readers, n, self._unwanted)

    def _unwanted(self, readers: NDArray[np.int64], authors: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Authors that are suspended, or muted by the reader they come with."""
        found = self.source.suspended(authors)
        muted = self._mutes()
        if len(muted):
            keys = muted[:, 0] * 2**32 + muted[:, 1]
            found |= np.isin(readers * 2**32 + authors, keys)
        return found

    def _mutes(self) -> NDArray[np.int64]:
        return self.source.records.mutes.array()

    def _best(
        self, name: str, recommender: Recommender, readers: NDArray[np.int64], posts: NDArray[np.int64], n: int
    ) -> Best:
        """The n best of candidates that all readers share, or of those of each; not so many where there are less.

        Where all readers have one score of a post, what is best for all is tried first, and most need no more.
        """
        if (posts == NONE).all():
            return (*_nothing(len(readers), n), np.full((len(readers), n), -np.inf))
        scores = scores_of(name, recommender.score, self._candidates(readers, posts))
        if posts.ndim > 1 or len(scores) > 1 or len(posts) <= _FIRST * n:
            return self._chosen(readers, posts, scores, n)
        order = np.argsort(-scores[0], kind="stable")
        best = self._chosen(readers, posts[order[: _FIRST * n]], scores[:, order[: _FIRST * n]], n)
        short = best[2][:, -1] == -np.inf
        if short.any():
            for found, more in zip(best, self._chosen(readers[short], posts[order], scores[:, order], n), strict=True):
                found[short] = more
        return best

    def _candidates(self, readers: NDArray[np.int64], posts: NDArray[np.int64]) -> Candidates:
        return Candidates(self.source, readers, np.where(posts == NONE, self.source.posts.oldest, posts))

    def _chosen(self, readers: NDArray[np.int64], posts: NDArray[np.int64], scores: Matrix, n: int) -> Best:
        candidates = self._candidates(readers, posts)
        scores = np.where(self._allowed(candidates) & (posts != NONE), scores, -np.inf)
        chosen = best_of(scores, n)
        top, ids, shown = (
            np.take_along_axis(np.broadcast_to(one, scores.shape), chosen, axis=1)
            for one in (scores, candidates.posts, candidates.originals)
        )
        if (short := n - chosen.shape[1]) > 0:
            fill = _nothing(len(readers), short)
            ids, shown = np.hstack((ids, fill[0])), np.hstack((shown, fill[1]))
            top = np.hstack((top, np.full((len(readers), short), -np.inf)))
        return ids, shown, top

    def _allowed(self, candidates: Candidates) -> NDArray[np.bool_]:
        """Which reader may be shown which candidate, (r, c)."""
        shape = (len(candidates.readers), candidates.posts.shape[1])
        own_lines = len(candidates.posts) > 1 or shape[0] == 1
        hidden = self.hidden(candidates.posts) | self._reply(candidates.posts)
        allowed = np.broadcast_to(~hidden, shape).copy()
        readers = candidates.readers[:, 0]
        origin = self.source.posts.column("original_author", candidates.posts)
        muted, seen, own = self._of_readers(self._mutes(), readers), self._seen(readers), (np.arange(shape[0]), readers)
        for (rows, values), of in (
            (own, candidates.author), (own, origin), (muted, candidates.author), (muted, origin),
            (seen, candidates.originals),
        ):  # fmt: skip
            if values is readers and own_lines:
                allowed &= of != candidates.readers
            elif len(values):
                allowed &= ~(_mark_lines(shape, rows, values, of) if own_lines else mark(shape, rows, values, of[0]))
        if self._downrank:
            at = np.nonzero(np.broadcast_to(candidates.labelled, shape) & allowed)
            posts = np.broadcast_to(candidates.originals, shape)[at]
            allowed[at] = self.source.draws("downrank", posts, readers[at[0]]) >= self._downrank
        return allowed

    def _of_readers(
        self, pairs: NDArray[np.int64], readers: NDArray[np.int64]
    ) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Of pairs (agent, value), those of these readers, once for each row of a reader: rows and values."""
        low, high = (np.searchsorted(pairs[:, 0], readers, side) for side in ("left", "right"))
        lengths = high - low
        at = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths - low, lengths)
        return np.repeat(np.arange(len(readers)), lengths), pairs[at, 1]

    def _seen(self, readers: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        seen = self.source.records.seen
        names = [name for name in seen.names if name != "next"]
        if not names:
            return np.empty(0, np.intp), np.empty(0, np.int64)
        values = np.stack([seen[name][readers] for name in names], axis=1)
        rows, at = np.nonzero(values != NONE)
        return rows, values[rows, at]


def best_of(scores: Matrix, n: int) -> NDArray[np.intp]:
    """The columns of the n highest scores of each row, highest first, of equal ones the first: (r, min(n, c))."""
    n = min(n, scores.shape[1])
    if n == scores.shape[1]:
        return np.argsort(-scores, axis=1, kind="stable")
    least = np.partition(scores, -n, axis=1)[:, -n, None]
    above = scores > least
    room = n - above.sum(axis=1, keepdims=True)
    equal = scores == least
    chosen = above | (equal & (np.cumsum(equal, axis=1) <= room))
    columns = np.nonzero(chosen)[1].reshape(len(scores), n)
    order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


def _newest_first(*pools: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(np.concatenate(pools))[::-1] if pools else np.empty(0, np.int64)


def _nothing(rows: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    none = np.full((rows, n), NONE, np.int64)
    return none, none


def _mark_lines(
    shape: tuple[int, int], rows: NDArray[np.integer], values: NDArray[np.integer], of: Matrix
) -> NDArray[np.bool_]:
    """As `mark`, where each row has columns of its own: whether a value that comes with the row stands there."""
    keys = np.arange(shape[0])[:, None] * _ROW + np.broadcast_to(of, shape).astype(np.int64)
    return np.isin(keys, rows.astype(np.int64) * _ROW + values)


def _merged(parts: list[Best], n: int) -> NDArray[np.int64]:
    """The n best of several sources, each thing shown once, by the better score, and newer ones first among equals."""
    ids, shown, scores = (np.hstack([part[at] for part in parts]) for at in range(3))
    order = np.lexsort((-ids, -scores), axis=1)
    ids, shown, scores = (np.take_along_axis(one, order, axis=1) for one in (ids, shown, scores))
    by_shown = np.argsort(shown, axis=1, kind="stable")
    ordered = np.take_along_axis(shown, by_shown, axis=1)
    again = np.zeros(ids.shape, np.bool_)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    repeated = np.zeros(ids.shape, np.bool_)
    np.put_along_axis(repeated, by_shown, again, axis=1)
    good = ~repeated & (scores > -np.inf)
    first = np.argsort(~good, axis=1, kind="stable")[:, :n]
    best = np.where(np.take_along_axis(good, first, axis=1), np.take_along_axis(ids, first, axis=1), NONE)
    return best if best.shape[1] == n else np.pad(best, ((0, 0), (0, n - best.shape[1])), constant_values=NONE)
