"""Keyed draws: every random number is a pure function of (seed, agent, tick, purpose, count).

A stream's block `k` is BLAKE2b over the fixed-width fields (seed, agent, tick, k) followed by the purpose's
bytes, so each field is hashed in turn and no two keys meet but by a 128-bit collision. Eight 64-bit words come
out of a block. Because nothing is shared or advanced between agents, the draws do not depend on the number of
shards, on the order of turns, or on what other agents drew: two arms with one seed share their draws event by
event (common random numbers).

Where a part of the world needs one number for each of many agents, `column` gives them at NumPy speed.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator, MutableSequence, Sequence
from hashlib import blake2b
from itertools import chain, repeat
from statistics import NormalDist
from typing import Final, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

WORLD: Final = -1
"""The id under which the world itself draws, sends and receives."""

_PERSON: Final = b"populace.draws1"
_FIELDS: Final = struct.Struct("<Qqqq").pack
_WORD: Final = struct.Struct("<Q").unpack_from
_TWO_WORDS: Final = struct.Struct("<2Q").unpack
_NORMAL: Final = NormalDist()
_UNIT: Final = 2.0**-53
_GRID: Final = np.uint64(11)
_CHUNK: Final = 16384
"""Ids that are mixed at once: what they take stays in a processor's cache."""
_WORDS: Final = 1 << 64
_MASK: Final = _WORDS - 1
_keyed: Final = blake2b(digest_size=64, person=_PERSON).copy
"""A hash to go on with: a copy of one that was begun takes half of what beginning one does."""
GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
"""SplitMix64's increment."""
MIX_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
MIX_SECOND: Final = np.uint64(0x94D049BB133111EB)


class Stream(msgspec.Struct, eq=False, gc=False):
    """One keyed stream of draws.

    >>> a = Stream(seed=7, agent=3, tick=0, purpose="partner")
    >>> b = Stream(seed=7, agent=3, tick=0, purpose="partner")
    >>> a.random() == b.random()
    True
    """

    seed: int
    agent: int
    tick: int
    purpose: str
    _block: int = 0
    _at: int = 64
    _digest: bytes = b""

    def stand_by(self, other: Stream) -> None:
        """Stand where another stream of the same key stands."""
        self._block, self._at, self._digest = other._block, other._at, other._digest

    def word(self) -> int:
        """The next 64 random bits, as an integer in [0, 2**64)."""
        at = self._at
        if at == 64:
            block = self._block
            hashed = _keyed()
            hashed.update(_FIELDS(self.seed & _MASK, self.agent, self.tick, block) + self.purpose.encode())
            self._digest = hashed.digest()
            self._block = block + 1
            at = 0
        self._at = at + 8
        word: int = _WORD(self._digest, at)[0]
        return word

    def random(self) -> float:
        """A float in [0, 1), on the grid of 2**-53."""
        return (self.word() >> 11) * _UNIT

    def uniform(self, low: float, high: float) -> float:
        """A float between `low` and `high`."""
        return low + (high - low) * self.random()

    def integer(self, n: int) -> int:
        """An integer in [0, n), each equally likely (rejection, so without modulo bias)."""
        if n <= 0:
            raise ValueError(f"integer(n) needs n of at least 1, got {n}")
        last = _WORDS - n
        while True:
            word = self.word()
            rest = word % n
            if word - rest <= last:
                return rest

    def bernoulli(self, p: float) -> bool:
        """True with probability `p`."""
        return self.random() < p

    def normal(self, mean: float = 0.0, sd: float = 1.0) -> float:
        """A normal deviate, by inversion of one uniform."""
        return mean + sd * _NORMAL.inv_cdf(((self.word() >> 12) + 0.5) * 2.0**-52)

    def lognormal(self, mean: float = 0.0, sd: float = 1.0) -> float:
        """The exponential of a normal deviate with this mean and standard deviation (of the logarithm)."""
        return math.exp(self.normal(mean, sd))

    def exponential(self, mean: float = 1.0) -> float:
        """An exponential deviate with this mean."""
        return -mean * math.log1p(-self.random())

    def choice(self, items: Sequence[T]) -> T:
        """One of `items`, each equally likely. Raises IndexError when there are none."""
        if len(items) == 0:
            raise IndexError("choice from an empty sequence: test for it before you draw")
        return items[self.integer(len(items))]

    def weighted(self, items: Sequence[T], weights: Iterable[float]) -> T:
        """One of `items`, with probability proportional to its weight.

        Raises ValueError when the weights are not one for each item, finite, non-negative and somewhere positive.
        """
        table = [float(weight) for weight in weights]
        total = math.fsum(table)
        if len(table) != len(items) or not (0.0 < total < math.inf) or min(table) < 0.0:
            raise ValueError(f"weighted needs one finite weight >= 0 for each of {len(items)} items, got {table}")
        mark = self.random() * total
        for item, weight in zip(items, table, strict=True):
            mark -= weight
            if mark < 0.0:
                return item
        return next(item for item, weight in zip(reversed(items), reversed(table), strict=True) if weight > 0.0)

    def shuffle(self, items: MutableSequence[T]) -> None:
        """Shuffle `items` in place (Fisher and Yates)."""
        for last in range(len(items) - 1, 0, -1):
            other = self.integer(last + 1)
            items[last], items[other] = items[other], items[last]

    def sample(self, items: Sequence[T], k: int) -> list[T]:
        """`k` different ones of `items`, in random order. Raises ValueError when there are fewer."""
        if not 0 <= k <= len(items):
            raise ValueError(f"a sample of {k} from {len(items)} items")
        pool = list(items)
        for at in range(k):
            other = at + self.integer(len(pool) - at)
            pool[at], pool[other] = pool[other], pool[at]
        return pool[:k]


class LongStream(Stream, eq=False, gc=True):
    """A stream of which very many numbers are drawn: the same ones, from many blocks that are hashed at once."""

    before: Callable[[], object] | None = None
    """What is yet to draw from it, before anything that is asked for later does."""
    _next: Callable[[], int] = int

    def __post_init__(self) -> None:
        self._next = chain.from_iterable(self._chunks()).__next__

    def _chunks(self) -> Iterator[Sequence[int]]:
        """The words from where the stream stands, in chunks that grow."""
        yield [_WORD(self._digest, at)[0] for at in range(self._at, 64, 8)]  # it goes on from another
        key, block = _FIELDS(self.seed & _MASK, self.agent, self.tick, 0)[:-8], self._block
        purpose = self.purpose.encode()
        for blocks in chain((1, 8, 64), repeat(512)):
            numbers = np.arange(block, block + blocks, dtype="<i8").tobytes()
            messages = [key + numbers[at : at + 8] + purpose for at in range(0, 8 * blocks, 8)]
            digests = b"".join([blake2b(one, digest_size=64, person=_PERSON).digest() for one in messages])
            block += blocks
            yield struct.unpack(f"<{8 * blocks}Q", digests)

    def word(self) -> int:
        """See `Stream.word`."""
        word: int = self._next()
        return word

    def random(self) -> float:
        """See `Stream.random`."""
        return (self._next() >> 11) * _UNIT


class Draws(msgspec.Struct, eq=False, gc=False):
    """The draws of one agent (or of the world) in one tick: `ctx.draw("partner").choice(friends)`.

    Purposes named apart are independent; the same purpose named again goes on where it left off.
    """

    seed: int
    agent: int = WORLD
    tick: int = 0
    _streams: dict[str, Stream] = {}

    def __call__(self, purpose: str) -> Stream:
        """The stream for this purpose."""
        stream = self._streams.get(purpose)
        if stream is None:
            stream = self._streams[purpose] = Stream(self.seed, self.agent, self.tick, purpose)
        return stream

    def long(self, purpose: str) -> LongStream:
        """The stream for this purpose, for very many draws; where it was named before it goes on."""
        known = self._streams.get(purpose)
        if isinstance(known, LongStream):
            return known
        made = LongStream(self.seed, self.agent, self.tick, purpose)
        if known is not None:
            made.stand_by(known)
        self._streams[purpose] = made
        return made

    def column(self, purpose: str, ids: NDArray[np.integer]) -> NDArray[np.float64]:
        """One uniform in [0, 1) for each id; see `column`."""
        return column(self.seed, self.tick, purpose, ids)

    def words(self, purpose: str, ids: NDArray[np.integer]) -> NDArray[np.uint64]:
        """64 random bits for each id; see `words`."""
        return words(self.seed, self.tick, purpose, ids)


class NamedDraws(Draws, eq=False, gc=False, kw_only=True):
    """The world's draws in one tick under a name of their own: every purpose begins with `name` and a slash."""

    name: str

    def __call__(self, purpose: str) -> Stream:
        """The stream for this purpose."""
        return Draws.__call__(self, f"{self.name}/{purpose}")

    def column(self, purpose: str, ids: NDArray[np.integer]) -> NDArray[np.float64]:
        """One uniform in [0, 1) for each id; see `column`."""
        return Draws.column(self, f"{self.name}/{purpose}", ids)

    def words(self, purpose: str, ids: NDArray[np.integer]) -> NDArray[np.uint64]:
        """64 random bits for each id; see `words`."""
        return Draws.words(self, f"{self.name}/{purpose}", ids)


def column(seed: int, tick: int, purpose: str, ids: NDArray[np.integer]) -> NDArray[np.float64]:
    """One uniform draw in [0, 1) for each id, as float64 of the shape of `ids`.

    The value of an id depends on (seed, tick, purpose, id) only, never on which other ids are asked for. A
    128-bit key is hashed from (seed, tick, purpose); each id is then mixed with both words of it by the finaliser
    of SplitMix64 (Steele, Lea, Flood 2014, doi:10.1145/2660193.2660195).
    """
    given = np.asarray(ids)
    found = np.empty(given.size, np.float64)
    for part, word in _mixed(seed, tick, purpose, given):
        np.multiply(np.right_shift(word, _GRID, out=word), _UNIT, out=found[part])
    return found.reshape(given.shape)


def below(seed: int, tick: int, purpose: str, ids: NDArray[np.integer], p: float) -> NDArray[np.bool_]:
    """Whether each id's draw of `column` is less than `p`, as bool of the shape of `ids`; no number is made for it."""
    given, limit = np.asarray(ids), math.ceil(p * 2.0**53)
    if not 0 < limit < 2**53:
        return np.full(given.shape, limit > 0)
    found, mark = np.empty(given.size, np.bool_), np.uint64(limit << 11)
    for part, word in _mixed(seed, tick, purpose, given):
        np.less(word, mark, out=found[part])
    return found.reshape(given.shape)


def integers(seed: int, tick: int, purpose: str, ids: NDArray[np.integer], n: int) -> NDArray[np.int64]:
    """One integer in [0, n) for each id, as int64 of the shape of `ids`: the draw of `column`, times `n`.

    They are alike to within n * 2**-53.
    """
    given = np.asarray(ids)
    found = np.empty(given.size, np.int64)
    for part, word in _mixed(seed, tick, purpose, given):
        drawn = np.multiply(np.right_shift(word, _GRID, out=word), _UNIT)
        drawn *= n
        np.minimum(drawn.astype(np.int64), n - 1, out=found[part])
    return found.reshape(given.shape)


def words(
    seed: int, tick: int, purpose: str, ids: NDArray[np.integer], others: NDArray[np.integer] | None = None
) -> NDArray[np.uint64]:
    """64 random bits for each id, or for each pair of an id and another (of the same shape); see `column`."""
    given = np.asarray(ids)
    found = np.empty(given.size, np.uint64)
    for part, word in _mixed(seed, tick, purpose, given, None if others is None else np.asarray(others)):
        found[part] = word
    return found.reshape(given.shape)


def word_of(seed: int, tick: int, purpose: str) -> Callable[[int, int], int]:
    """Gives for an id and another what `words` gives for the two: faster than that for a few of them."""
    first, second = _two_words(seed, tick, purpose)
    gamma, mask, times, again = int(GAMMA), _MASK, int(MIX_FIRST), int(MIX_SECOND)

    def word(one: int, other: int) -> int:  # `mix`, three times, with no call of it
        mixed = one * gamma + first & mask
        mixed = (mixed ^ mixed >> 30) * times & mask
        mixed = (mixed ^ mixed >> 27) * again & mask
        mixed = (mixed ^ mixed >> 31) + other * gamma & mask
        mixed = (mixed ^ mixed >> 30) * times & mask
        mixed = (mixed ^ mixed >> 27) * again & mask
        mixed = mixed ^ mixed >> 31 ^ second
        mixed = (mixed ^ mixed >> 30) * times & mask
        mixed = (mixed ^ mixed >> 27) * again & mask
        return mixed ^ mixed >> 31

    return word


def _two_words(seed: int, tick: int, purpose: str) -> tuple[int, int]:
    message = _FIELDS(seed & _MASK, WORLD, tick, 0) + purpose.encode()
    first, second = _TWO_WORDS(blake2b(message, digest_size=16, person=b"populace.column").digest())
    return first, second


def _mixed(
    seed: int, tick: int, purpose: str, ids: NDArray[np.integer], others: NDArray[np.integer] | None = None
) -> Iterator[tuple[slice, NDArray[np.uint64]]]:
    """The words of these ids in their order, some at a time: where they stand, and the words, until the next ones."""
    first, second = map(np.uint64, _two_words(seed, tick, purpose))
    own, paired = ids.reshape(-1), None if others is None else others.reshape(-1)
    room = np.empty((2, min(len(own), _CHUNK)), np.uint64)
    for start in range(0, len(own), _CHUNK):
        part = slice(start, min(start + _CHUNK, len(own)))
        word, shifted = room[:, : part.stop - start]
        np.copyto(word.view(np.int64), own[part], casting="unsafe")
        word *= GAMMA
        word += first
        mix(word, shifted)
        if paired is not None:
            word += paired[part].astype(np.int64).view(np.uint64) * GAMMA
            mix(word, shifted)
        word ^= second
        yield part, mix(word, shifted)


def mix(word: NDArray[np.uint64], room: NDArray[np.uint64] | None = None) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (see `column`), in place; gives the mixed words. `room` of their shape is used up."""
    word ^= np.right_shift(word, np.uint64(30), out=room)
    word *= MIX_FIRST
    word ^= np.right_shift(word, np.uint64(27), out=room)
    word *= MIX_SECOND
    word ^= np.right_shift(word, np.uint64(31), out=room)
    return word
