"""Memory: what is found is what a plain reference finds, and what is kept stays under its limits, to the bit."""

from __future__ import annotations

import math
from collections import Counter

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from populace.agents.mind import few, ranking
from populace.agents.mind.memory import KINDS
from populace.core.draws import Stream
from populace.mind import Memory

VOCABULARY = [f"word{n}" for n in range(40)]


def stream(seed: int, many: int, **options) -> tuple[Memory, list[tuple[int, str, float]]]:
    """A memory of random events, and what was noted."""
    draw = Stream(seed, 0, 0, "events")
    memory, noted, tick = Memory(**options), [], 0
    for _ in range(many):
        tick += draw.integer(3)
        words = [VOCABULARY[int(40 * draw.random() ** 2)] for _ in range(1 + draw.integer(12))]
        noted.append((tick, " ".join(words), float(draw.integer(11))))
        memory.note(*noted[-1])
    return memory, noted


def textbook_bm25(texts: list[str], query: str) -> list[float]:
    """Robertson and Zaragoza (2009), written as they print it."""
    bags = [Counter(text.split()) for text in texts]
    mean = sum(bag.total() for bag in bags) / len(bags)
    found = []
    for bag in bags:
        score = 0.0
        for word in set(query.split()):
            df = sum(word in one for one in bags)
            idf = math.log(1.0 + (len(bags) - df + 0.5) / (df + 0.5))
            score += idf * bag[word] * 2.5 / (bag[word] + 1.5 * (0.25 + 0.75 * bag.total() / mean))
        found.append(score)
    return found


def unit(values: list[float]) -> list[float]:
    least, most = min(values), max(values)
    return [(value - least) / (most - least) if most > least else 0.0 for value in values]


def textbook_scores(noted, used, now: int, query: str, decay: float, weights) -> list[float]:
    """Park et al. (2023), section 4.1."""
    parts = (
        unit([decay ** (now - at) for at in used]),
        unit([importance for _, _, importance in noted]),
        unit(textbook_bm25([text for _, text, _ in noted], query)),
    )
    return [sum(w * part[at] for w, part in zip(weights, parts, strict=True)) for at in range(len(noted))]


def check_against_textbook(seed: int, many: int) -> None:
    weights = (1.0, 0.5, 2.0)
    options = {"decay": 0.97, "recency_weight": 1.0, "importance_weight": 0.5, "relevance_weight": 2.0}
    memory, noted = stream(seed, many, **options)
    used = [tick for tick, _, _ in noted]
    draw = Stream(seed, 1, 0, "queries")
    for turn in range(4):
        now = used[-1] if not turn else noted[-1][0] + 7 * turn
        query = " ".join(draw.choice(VOCABULARY) for _ in range(1 + draw.integer(5)))
        wanted = textbook_scores(noted, used, now, query, 0.97, weights)
        found = memory.retrieve(now, query, 5)
        assert len(found) == min(5, many)
        for one, best in zip(found, sorted(wanted, reverse=True), strict=False):
            assert one.text == noted[one.at][1]
            assert one.score == pytest.approx(wanted[one.at], abs=1e-4)  # the idf is rounded to 2**-20
            assert wanted[one.at] == pytest.approx(best, abs=1e-4)
        assert len({one.at for one in found}) == len(found)
        for one in found:
            used[one.at] = now


@given(seed=st.integers(0, 2**32), many=st.integers(1, 2 * few.MOST))
@settings(max_examples=30, deadline=None)
def test_what_is_found_is_what_the_formula_says(seed, many):
    check_against_textbook(seed, many)


@pytest.mark.parametrize("way", [few, ranking])
@pytest.mark.parametrize("broken", ["length", "recency", "ends"])
def test_control_a_broken_ranking_is_seen(monkeypatch, way, broken):
    many = few.MOST // 2 if way is few else 2 * few.MOST
    check_against_textbook(3, many)
    if broken == "length":
        right = way.bm25
        monkeypatch.setattr(way, "bm25", lambda *args: right(*args, b=0.0))
    elif broken == "recency":
        monkeypatch.setattr(way, "powers", lambda base, ages: np.ones(len(ages)))
    elif way is few:
        monkeypatch.setattr(few, "bisect_right", lambda ends, place: 0)
    else:
        repeat = np.repeat
        monkeypatch.setattr(np, "repeat", lambda of, times: repeat(of, times) * (np.asarray(of).dtype.kind != "i"))
    with pytest.raises(AssertionError):
        check_against_textbook(3, many)


def found_either_way(seed: int, many: int, turns: int) -> tuple[list, list]:
    """What is found by NumPy and by Python's floats in the same memory, over several turns."""
    either = []
    for most in (0, many):
        memory, noted = stream(seed, many, decay=0.97, relevance_weight=2.0)
        draw, now, found = Stream(seed, 1, 0, "queries"), noted[-1][0], []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(few, "MOST", most)
            for turn in range(turns):
                now += 150 * draw.integer(4)
                query = " ".join(draw.choice(VOCABULARY) for _ in range(draw.integer(6)))
                kinds = KINDS if turn % 3 else ("event", "plan")
                found.append(memory.retrieve(now, query, draw.integer(12), kinds=kinds, use=turn % 2 == 0))
        either.append((found, memory))
    return either[0], either[1]


@given(seed=st.integers(0, 2**32), many=st.integers(1, few.MOST))
@settings(max_examples=30, deadline=None)
def test_few_memories_are_ranked_as_many_are_to_the_bit(seed, many):
    (by_numpy, one), (by_floats, other) = found_either_way(seed, many, 6)
    assert msgspec.msgpack.encode(by_numpy) == msgspec.msgpack.encode(by_floats)
    assert msgspec.msgpack.encode(one) == msgspec.msgpack.encode(other)


def test_control_sums_in_another_order_are_other_sums(monkeypatch):
    right = few.bm25
    monkeypatch.setattr(few, "bm25", lambda query, *rest: right(np.sort(query), *rest))
    assert any(found_either_way(seed, 40, 6)[0][0] != found_either_way(seed, 40, 6)[1][0] for seed in range(10))


@given(st.lists(st.integers(0, 300_000), min_size=1, max_size=30), st.floats(0.001, 1.0))
@settings(max_examples=40, deadline=None)
def test_powers_are_powers(ages, base):
    assert ranking.powers(base, np.array(ages)) == pytest.approx([base**age for age in ages], rel=1e-9, abs=1e-300)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(0, 45))
def test_the_best_come_first_and_of_equals_the_later_one(scores, k):
    found = ranking.best(np.array(scores, float), k).tolist()
    assert found == sorted(range(len(scores)), key=lambda at: (-scores[at], -at))[:k]


def test_cosines_are_exact_in_any_order_of_the_sum():
    draw = np.random.default_rng(5)
    for dimension in (8, 1040, 1041, 3000):
        scaled, squares = ranking.quantise(np.vstack([draw.normal(size=(30, dimension)), np.ones((2, dimension))]))
        shuffled = draw.permutation(dimension)
        one = ranking.cosines(scaled, squares, scaled[0], int(squares[0]))
        other = ranking.cosines(scaled[:, shuffled], squares, scaled[0][shuffled], int(squares[0]))
        assert one.tobytes() == other.tobytes()
        assert one[0] == 1.0
        wide = scaled.astype(object)
        assert [int(x) for x in wide @ wide[0]] == np.rint(one * np.sqrt(squares * float(squares[0]))).tolist()


def test_control_sums_of_float32_do_depend_on_the_order():
    vectors = np.random.default_rng(5).normal(size=(30, 384)).astype(np.float32)
    shuffled = np.random.default_rng(6).permutation(384)
    one, other = vectors @ vectors[0], np.ascontiguousarray(vectors[:, shuffled]) @ vectors[0][shuffled]
    assert one.tobytes() != other.tobytes()


def test_by_vectors_the_nearest_comes_first_and_few_digits_are_lost():
    draw = np.random.default_rng(7)
    memory = Memory(recency_weight=0.0, importance_weight=0.0)
    vectors = draw.normal(size=(50, 64)).astype(np.float32)
    for at in range(50):
        memory.note(0, f"event {at}")
    memory.put_vectors(range(50), vectors)
    exact = vectors @ vectors.T / np.outer(*(np.linalg.norm(vectors, axis=1),) * 2)
    for at in range(50):
        found = memory.retrieve(1, vector=vectors[at], k=2, use=False)
        assert found[0].at == at
        assert exact[at, found[1].at] >= np.sort(exact[at])[-2] - 0.01
    with pytest.raises(ValueError, match="a vector of 3 numbers, where the memory's have 64"):
        memory.retrieve(1, vector=[1.0, 2.0, 3.0])


def test_10000_events_stay_under_the_limits_and_it_comes_back_to_the_bit():
    memory, _ = stream(1, 10_000, max_entries=200, max_tokens=2000)
    assert memory.forgotten + len(memory) == 10_000
    assert 185 <= len(memory) <= 200 or memory.tokens > 1800
    assert memory.tokens <= 2000
    assert memory.nbytes() < 200 * (32 + 5 * 12 + 12 * 7 + 10) + 500
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(memory), type=Memory)
    assert again == memory
    one, other = memory.retrieve(30_000, "word3 word7"), again.retrieve(30_000, "word3 word7")
    assert one == other
    assert again.rows == memory.rows


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(30, 300))
@settings(max_examples=25, deadline=None)
def test_limits_hold_after_every_event_and_the_newest_stays(seed, entries, tokens):
    draw = Stream(seed, 0, 0, "limits")
    memory = Memory(max_entries=entries, max_tokens=tokens)
    for tick in range(60):
        text = f"n{tick} " + "ab " * draw.integer(30)
        memory.note(tick, text, float(draw.integer(11)))
        assert len(memory) <= entries
        assert memory.tokens <= tokens
        assert memory.texts[-1] == text
        assert memory.tokens == sum((len(one) + 3) // 4 for one in memory.texts)
        assert len(memory.terms) == 4 * len(memory.counts)
        assert sum(len(set(one.split())) for one in memory.texts) == len(memory.counts)


def test_what_matters_is_kept_longest():
    memory = Memory(max_entries=10, decay=0.9)
    memory.note(0, "the wedding", 10.0)
    for tick in range(1, 12):
        memory.note(tick, f"tea on day {tick}", 1.0)
    assert "the wedding" in memory.texts
    assert "tea on day 1" not in memory.texts
    control = Memory(max_entries=10, decay=0.9, importance_weight=0.0)
    control.note(0, "the wedding", 10.0)
    for tick in range(1, 12):
        control.note(tick, f"tea on day {tick}", 1.0)
    assert "the wedding" not in control.texts


def test_use_keeps_a_memory_recent_and_facts_come_back():
    memory = Memory(relevance_weight=0.0, decay=0.5)
    memory.note(0, facts={"who": "Ada", "shares": 3})
    memory.note(1, "rain")
    assert [one.text for one in memory.retrieve(2, k=1)] == ["rain"]
    memory.relevance_weight = 5.0
    found = memory.retrieve(9, "What of Ada?", 1)
    assert found[0].facts == {"who": "Ada", "shares": 3}
    memory.relevance_weight = 0.0
    assert memory.retrieve(10, k=1)[0].text == "who: Ada, shares: 3"
    assert memory.retrieve(10, k=5, kinds=["reflection"]) == []


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m: m.note(0, "a", 11.0), r"importance=11\.0 has to be from 0"),
        (lambda m: m.note(0, "a", float("nan")), "importance=nan"),
        (lambda m: m.note(0, " \n"), "nothing to remember"),
        (lambda m: m.note(0, "x" * 500), r"a text of 125 tokens never fits max_tokens=100"),
        (lambda m: Memory(max_entries=0), "max_entries=0"),
        (lambda m: Memory(decay=1.5), r"decay=1\.5"),
    ],
)
def test_what_cannot_be_remembered_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call(Memory(max_tokens=100))


def test_words_are_case_folded_and_signs_of_chinese_are_words():
    assert ranking.words_of("Straße, 3 Äpfel_x!") == ["strasse", "3", "äpfel", "x"]
    assert ranking.words_of("東京 tower") == ["東", "京", "tower"]


@pytest.mark.parametrize("limit", ["_AT_ONCE", "_FEW"])
@given(seed=st.integers(0, 2**32), many=st.integers(1, 40), k=st.integers(0, 45))
def test_many_memories_are_ranked_as_few_are(limit: str, seed: int, many: int, k: int) -> None:
    memory, noted = stream(seed, many)
    query = f"{noted[0][1]} {noted[-1][1]} word99"
    few = memory.retrieve(99, query, k, use=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, limit, 0)
        assert memory.retrieve(99, query, k, use=False) == few
    assert memory.retrieve(99, "...", k, use=False) == memory.retrieve(99, "", k, use=False)
