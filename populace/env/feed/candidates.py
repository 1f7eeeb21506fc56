"""What a recommender is given: readers and candidate posts, and their columns, shaped so that they broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace.core.draws import words
from populace.core.errors import ScenarioError
from populace.env.feed.posts import Posts
from populace.env.feed.records import Records
from populace.env.network.csr import Csr
from populace.env.world import World

Matrix = NDArray[Any]


class Source:
    """What is read to rank: the tables of a platform, who follows whom (None without a network), the tick."""

    def __init__(
        self,
        world: World,
        posts: Posts,
        records: Records,
        follows: Csr | None,
        seed: int,
        barred: Sequence[int] = (),
    ) -> None:
        """`barred` are suspended, beside those whom the records say are."""
        self.world = world
        self.posts = posts
        self.records = records
        self.follows = follows
        self.seed = seed
        self._barred = np.asarray(barred, np.int64)

    def draws(self, purpose: str, posts: Matrix, readers: Matrix, tick: int = 0) -> NDArray[np.float64]:
        """A uniform draw in [0, 1) for each post and reader that stand together, the same at any time by default."""
        drawn = words(self.seed, tick, f"feed.{purpose}", posts, readers)
        return (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def suspended(self, agents: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which of these, of any shape, are suspended now."""
        found = self.records.suspended(agents, self.world.tick)
        return found | np.isin(agents, self._barred) if len(self._barred) else found


class Candidates:
    """Readers in rows and candidate posts in columns. Values of readers are (r, 1), of posts (1, c) or (r, c).

    Posts are (1, c) where all readers have the same candidates, and (r, c) where each has its own. A score may have any
    shape that broadcasts to (r, c); the highest are shown. Ages are in ticks. Counts are those of the original.
    """

    def __init__(self, source: Source, readers: NDArray[np.int64], posts: NDArray[np.int64]) -> None:
        self._source = source
        self.readers: Matrix = readers[:, None]
        """The readers' ids, (r, 1)."""
        self.posts: Matrix = np.atleast_2d(posts)
        """The candidates' ids; later posts have higher ones."""
        self.tick: int = source.world.tick
        """The tick."""

    @cached_property
    def originals(self) -> Matrix:
        """The post that a share shows, else the post itself. Where it is kept no longer, the share."""
        original = self._source.posts.column("original", self.posts)
        return np.where(original >= self._source.posts.oldest, original, self.posts)

    @cached_property
    def author(self) -> Matrix:
        """Who posted, or shared."""
        return self._source.posts.column("author", self.posts)

    @cached_property
    def age(self) -> Matrix:
        """Ticks since the post, at least 1."""
        return self.tick - self._source.posts.column("tick", self.posts)

    @cached_property
    def likes(self) -> Matrix:
        """How many like it."""
        return self._source.posts.column("likes", self.originals)

    @cached_property
    def shares(self) -> Matrix:
        """How many have shared it."""
        return self._source.posts.column("reposts", self.originals)

    @cached_property
    def comments(self) -> Matrix:
        """How many replies and quotes it has."""
        return self._source.records.of_posts("comments", self.originals)

    @cached_property
    def views(self) -> Matrix:
        """How often it was read, where agents say what they read."""
        return self._source.records.of_posts("views", self.originals)

    @cached_property
    def flags(self) -> Matrix:
        """How many have flagged it."""
        return self._source.records.of_posts("flags", self.originals)

    @cached_property
    def labelled(self) -> Matrix:
        """Whether it bears a label."""
        bears: Matrix = np.greater(self._source.records.of_posts("label", self.posts), 0)
        return bears

    @cached_property
    def community(self) -> Matrix:
        """The number of its community, or -1."""
        return self._source.records.of_posts("community", self.originals)

    @cached_property
    def follows(self) -> Matrix:
        """Whether the reader follows the author, (r, c); nobody does where there is no network."""
        follows = self._source.follows
        shape = (len(self.readers), self.posts.shape[1])
        if follows is None:
            return np.zeros(shape, np.bool_)
        if len(self.posts) > 1 or len(self.readers) == 1:
            author = np.broadcast_to(self.author, shape)
            return ~np.isnan(follows.find(np.broadcast_to(self.readers, shape).ravel(), author.ravel()).reshape(shape))
        rows, at = edges_of(follows, self.readers[:, 0])
        return mark(shape, rows, follows.targets[at], self.author[0])

    @cached_property
    def affinity(self) -> Matrix:
        """The inner product of the reader's interests and the post's vector; 0 where the platform has none."""
        records = self._source.records
        names = records.interests.names
        if not names:
            return np.zeros((1, 1), np.float32)
        readers, at = self.readers, records.vectors.places(self.originals)
        found: Matrix = np.zeros((1, 1), np.float32)
        for name in names:  # in one order for all shapes, since sums of floats go by it
            found = found + records.interests[name][readers] * records.vectors[name][at]
        return found

    def of_reader(self, field: str) -> Matrix:
        """A public field of the readers, (r, 1)."""
        return self._values(field, self.readers)

    def of_author(self, field: str) -> Matrix:
        """A public field of the authors."""
        return self._values(field, self.author)

    def _values(self, field: str, agents: Matrix) -> Matrix:
        values: Matrix = self._source.world.values_of(field, agents.ravel())
        return values.reshape(agents.shape)

    def draw(self, purpose: str) -> Matrix:
        """A uniform draw in [0, 1) for each reader and post, (r, c), anew in each tick."""
        shape = (len(self.readers), self.posts.shape[1])
        readers, posts = np.broadcast_to(self.readers, shape), np.broadcast_to(self.originals, shape)
        return self._source.draws(purpose, posts, readers, self.tick)


def edges_of(follows: Csr, agents: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """The edges of these agents: the row of its agent, and its place in the network's columns, of each."""
    starts = follows.offsets[agents]
    lengths = follows.offsets[agents + 1] - starts
    rows = np.repeat(np.arange(len(agents)), lengths)
    before = np.cumsum(lengths) - lengths
    return rows, np.arange(len(rows)) - np.repeat(before - starts, lengths)


def mark(
    shape: tuple[int, int], rows: NDArray[np.integer], values: NDArray[np.integer], columns: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """A mask of this shape, True at (row, c) wherever columns[c] is the value that comes with the row."""
    marked = np.zeros(shape, np.bool_)
    order = np.argsort(columns, kind="stable")
    ordered = columns[order]
    low, high = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    lengths = high - low
    if lengths.any():
        flat = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths - low, lengths)
        marked[np.repeat(rows, lengths), order[flat]] = True
    return marked


def scores_of(name: str, score: Any, candidates: Candidates) -> Matrix:
    """What a recommender makes of candidates: (r, c), or (1, c) where it is one for all readers.

    Raises ScenarioError for what are no scores.
    """
    shape = (len(candidates.readers), candidates.posts.shape[1])
    given = np.asarray(score(candidates))
    if given.dtype.kind not in "biuf":
        raise ScenarioError(f"recommender '{name}' gives {given.dtype}: it has to give a number for each candidate")
    try:
        scores = np.broadcast_to(given, shape if given.ndim > 1 and len(given) > 1 else (1, shape[1]))
        np.broadcast_shapes(scores.shape, shape)
    except ValueError:
        raise ScenarioError(
            f"recommender '{name}' gives scores of shape {given.shape}: readers are {shape[0]} rows and candidates "
            f"{shape[1]} columns, so give (1, {shape[1]}), ({shape[0]}, {shape[1]}) or what broadcasts to it"
        ) from None
    if np.isnan(given).any():
        raise ScenarioError(
            f"recommender '{name}' gives NaN for some candidates: give a number, or -inf not to show it"
        )
    return scores
