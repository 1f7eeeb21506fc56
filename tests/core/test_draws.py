"""Keyed draws: streams of different keys share nothing, each is uniform, and the distributions are what they say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from populace.core.draws import WORLD, Draws, Stream, below, column, integers, words

SEEDS, AGENTS = 1000, 100
WORST = 1e-6
"""A p-value below this is a failure. The draws are fixed, so a test cannot fail now and then."""


def first_words(word_of: object) -> NDArray[np.uint64]:
    return np.array([word_of(seed, agent) for seed in range(SEEDS) for agent in range(AGENTS)], np.uint64)  # type: ignore[operator]


def keyed(seed: int, agent: int) -> int:
    return Stream(seed, agent, 0, "test").word()


def mixed(seed: int, agent: int) -> int:
    """What a careless simulator does: one key out of two by exclusive or, then a good mixer (SplitMix64's)."""
    word = ((seed ^ agent) * 0x9E3779B97F4A7C15) % 2**64
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) % 2**64
    return word ^ (word >> 31)


def biased(seed: int, agent: int) -> int:
    """Distinct for every pair, but its top bits are hardly ever set."""
    return (keyed(seed, agent) % 2**32) * (keyed(agent, seed) % 2**32)


def disjoint(words: Iterable[int]) -> bool:
    seen = list(words)
    return len(set(seen)) == len(seen)


def uniformity(values: NDArray[np.float64]) -> float:
    """The smaller p-value of Kolmogorov-Smirnov and of chi-square over 256 equal bins; `values` in [0, 1)."""
    bins = np.bincount((values * 256).astype(int), minlength=256)
    return min(stats.kstest(values, "uniform").pvalue, stats.chisquare(bins).pvalue)


def test_streams_of_a_thousand_seeds_and_a_hundred_agents_are_disjoint_and_uniform() -> None:
    words = first_words(keyed)
    assert disjoint(words.tolist())
    assert uniformity(words / 2.0**64) > WORST
    for shift in (0, 8, 16, 32, 48):
        low = ((words >> np.uint64(shift)) & np.uint64(255)).astype(int)
        assert stats.chisquare(np.bincount(low, minlength=256)).pvalue > WORST


def test_a_careless_generator_fails_the_same_tests() -> None:
    assert not disjoint(first_words(mixed).tolist())
    assert uniformity(first_words(biased) / 2.0**64) < WORST


def test_words_deep_in_the_streams_are_disjoint_over_every_part_of_the_key() -> None:
    streams = [
        Stream(seed, agent, tick, purpose)
        for seed in (0, 1, 2, 2**62)
        for agent in (WORLD, 0, 1, 255, 256, 2**31 - 1)
        for tick in (0, 1, 256)
        for purpose in ("", "a", "ab", "b", "\x00", "a\x00")
    ]
    assert disjoint(stream.word() for stream in streams for _ in range(20))


def test_neighbouring_streams_are_not_correlated() -> None:
    table = first_words(keyed).reshape(SEEDS, AGENTS) / 2.0**64
    across_agents = np.corrcoef(table[:, 0], table[:, 1])[0, 1]
    across_seeds = np.corrcoef(table[:-1].ravel(), table[1:].ravel())[0, 1]
    assert abs(across_agents) < 5 / math.sqrt(SEEDS)
    assert abs(across_seeds) < 5 / math.sqrt(SEEDS * AGENTS)
    assert np.corrcoef(table.ravel(), table.ravel())[0, 1] > 0.99


def test_a_purpose_goes_on_and_is_independent_of_the_others() -> None:
    draws, alone = Draws(7, 3, 5), Stream(7, 3, 5, "a")
    mixed_up = [draws("a").word(), draws("b").word(), draws("a").word()]
    assert mixed_up == [alone.word(), Stream(7, 3, 5, "b").word(), alone.word()]


@pytest.mark.parametrize("before", [0, 1, 7, 8, 9])
def test_a_long_stream_is_the_stream_wherever_it_stands(before: int) -> None:
    plain, long = Draws(3, 5, 2), Draws(3, 5, 2)
    assert [long("p").word() for _ in range(before)] == [plain("p").word() for _ in range(before)]
    stream = long.long("p")
    assert [stream.random() for _ in range(20)] == [plain("p").random() for _ in range(20)]
    assert [long("p").integer(10) for _ in range(20)] == [plain("p").integer(10) for _ in range(20)]
    assert long.long("p") is stream


@given(st.lists(st.integers(-1, 2**31 - 1), max_size=40), st.integers(0, 2**63 - 1), st.randoms())
def test_a_column_does_not_depend_on_who_else_is_asked_for(ids: list[int], seed: int, random: object) -> None:
    everyone = column(seed, 3, "p", np.array(ids, np.int32))
    alone = [column(seed, 3, "p", np.array([one], np.int64))[0] for one in ids]
    assert everyone.tolist() == alone
    shuffled = list(ids)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = dict(zip(shuffled, Draws(seed, 9, 3).column("p", np.array(shuffled, np.int64)), strict=True))
    assert [again[one] for one in ids] == alone


def test_a_column_of_several_chunks_is_that_of_each_id() -> None:
    ids = np.arange(-1, 69_998).reshape(-1, 3)
    for values in (column(7, 2, "p", ids), words(7, 2, "p", ids), words(7, 2, "p", ids, ids[::-1])):
        assert values.shape == ids.shape
    others = ids[::-1]
    for at in ((0, 0), (5461, 1), (5462, 0), (20_000, 2)):
        assert column(7, 2, "p", ids)[at] == column(7, 2, "p", ids[at[0]])[at[1]]
        assert words(7, 2, "p", ids, others)[at] == words(7, 2, "p", ids[at[0]], others[at[0]])[at[1]]
    assert words(7, 2, "p", np.int64(5)) == words(7, 2, "p", np.array([5]))[0]


def cut_off(seed: int, tick: int, purpose: str, ids: NDArray[np.integer], p: float) -> NDArray[np.bool_]:
    """What a careless `below` does: it cuts off what of `p` is finer than the grid of draws."""
    return np.asarray(words(seed, tick, purpose, ids) < np.uint64(int(p * 2.0**53) << 11))


def is_below(found: object) -> bool:
    """Whether it says what comparing the numbers says, at chances on the grid of draws, beside it and far from it."""
    ids = np.arange(40_000, dtype=np.int32)
    drawn = column(3, 1, "p", ids)
    least, some = float(drawn.min()), float(drawn[17])
    chances = [0.01, 0.5, least, some, math.nextafter(some, 0.0), math.nextafter(some, 1.0), least + 2.0**-60]
    return all(np.array_equal(found(3, 1, "p", ids, p), drawn < p) for p in chances)  # type: ignore[operator]


def test_below_is_the_column_compared() -> None:
    assert is_below(below)
    assert not is_below(cut_off)
    ids = np.arange(6).reshape(2, 3)
    for p in (-1.0, 0.0, 1.0, 2.0, 0.5):
        assert np.array_equal(below(3, 1, "p", ids, p), column(3, 1, "p", ids) < p)


def test_integers_are_the_column_times_their_number() -> None:
    ids = np.arange(40_000, dtype=np.int32).reshape(2, -1)
    for n in (1, 7, 10**6, 2**53 + 1, 2**63 - 1):
        drawn = np.minimum((column(3, 1, "p", ids) * n).astype(np.int64), n - 1)
        found = integers(3, 1, "p", ids, n)
        assert np.array_equal(found, drawn)
        assert found.dtype == np.int64
        assert 0 <= found.min() <= found.max() < n


def test_columns_are_uniform_and_differ_by_seed_tick_and_purpose() -> None:
    ids = np.arange(100_000)
    first = column(0, 0, "a", ids)
    assert first.dtype == np.float64
    assert first.min() >= 0.0
    assert first.max() < 1.0
    assert len(np.unique(first)) == len(ids)
    assert uniformity(first) > WORST
    assert uniformity(np.arange(100_000) % 97 / 97.0) < WORST
    for other in (column(1, 0, "a", ids), column(0, 1, "a", ids), column(0, 0, "b", ids)):
        assert uniformity(other) > WORST
        assert abs(np.corrcoef(first, other)[0, 1]) < 5 / math.sqrt(len(ids))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10, 1000])
def test_integers_are_equally_likely(n: int) -> None:
    stream = Stream(1, 2, 3, f"integer{n}")
    drawn = [stream.integer(n) for _ in range(20_000)]
    assert set(drawn) <= set(range(n))
    if n > 1:
        assert stats.chisquare(np.bincount(drawn, minlength=n)).pvalue > WORST


def test_integers_of_a_huge_range_are_without_modulo_bias() -> None:
    n = 3 * 2**62  # by plain modulo, the lowest third would come up twice as often
    stream = Stream(1, 2, 3, "huge")
    thirds = np.bincount([stream.integer(n) // 2**62 for _ in range(3000)], minlength=3)
    assert stats.chisquare(thirds).pvalue > WORST
    plain = Stream(1, 2, 3, "huge")
    biased_thirds = np.bincount([plain.word() % n // 2**62 for _ in range(3000)], minlength=3)
    assert stats.chisquare(biased_thirds).pvalue < WORST


def test_distributions_are_what_they_say() -> None:
    stream, n = Stream(4, 5, 6, "shape"), 20_000
    for values, law in (
        ([stream.random() for _ in range(n)], stats.uniform()),
        ([stream.uniform(-2.0, 3.0) for _ in range(n)], stats.uniform(-2.0, 5.0)),
        ([stream.normal(3.0, 2.0) for _ in range(n)], stats.norm(3.0, 2.0)),
        ([stream.lognormal(0.5, 0.25) for _ in range(n)], stats.lognorm(0.25, scale=math.exp(0.5))),
        ([stream.exponential(4.0) for _ in range(n)], stats.expon(scale=4.0)),
    ):
        assert stats.kstest(values, law.cdf).pvalue > WORST
    assert stats.kstest([stream.normal(0.0, 1.1) for _ in range(n)], stats.norm().cdf).pvalue < WORST
    assert stats.binomtest(sum(stream.bernoulli(0.3) for _ in range(n)), n, 0.3).pvalue > WORST


def test_weighted_follows_its_weights_and_never_gives_an_item_of_weight_zero() -> None:
    stream, weights = Stream(1, 1, 1, "weighted"), [0.0, 1.0, 3.0, 0.0, 6.0, 0.0]
    counts = Counter(stream.weighted("abcdef", weights) for _ in range(20_000))
    assert set(counts) == {"b", "c", "e"}
    assert stats.chisquare([counts["b"], counts["c"], counts["e"]], [2000, 6000, 12_000]).pvalue > WORST


@pytest.mark.parametrize(
    "weights", [[], [1.0], [1.0, 2.0, 3.0], [0.0, 0.0], [1.0, -1.0], [2.0, -1.0], [1.0, math.nan], [1.0, math.inf]]
)
def test_weights_that_make_no_sense_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="one finite weight"):
        Stream(1, 1, 1, "w").weighted("ab", weights)


def test_shuffles_and_samples_are_equally_likely() -> None:
    stream = Stream(2, 2, 2, "order")
    shuffles: Counter[tuple[int, ...]] = Counter()
    samples: Counter[tuple[int, ...]] = Counter()
    for _ in range(12_000):
        items = [0, 1, 2, 3]
        stream.shuffle(items)
        shuffles[tuple(items)] += 1
        samples[tuple(stream.sample(range(4), 2))] += 1
    assert set(shuffles) == set(permutations(range(4)))
    assert set(samples) == set(permutations(range(4), 2))
    assert stats.chisquare(list(shuffles.values())).pvalue > WORST
    assert stats.chisquare(list(samples.values())).pvalue > WORST


@given(st.lists(st.integers(), max_size=30), st.data())
def test_a_sample_takes_places_once_and_leaves_its_source_alone(items: list[int], data: st.DataObject) -> None:
    k = data.draw(st.integers(0, len(items)))
    source = tuple(items)
    taken = Stream(1, 1, 1, "s").sample(source, k)
    assert len(taken) == k
    assert not Counter(taken) - Counter(items)
    with pytest.raises(ValueError, match="a sample of"):
        Stream(1, 1, 1, "s").sample(source, len(items) + 1)


def test_choice_takes_arrays_and_refuses_nothing_to_choose_from() -> None:
    stream = Stream(1, 1, 1, "c")
    assert {stream.choice(np.array([3, 5])) for _ in range(50)} == {3, 5}
    for empty in ([], (), np.array([])):
        with pytest.raises(IndexError, match="empty"):
            stream.choice(empty)
    with pytest.raises(ValueError, match="at least 1"):
        stream.integer(0)
