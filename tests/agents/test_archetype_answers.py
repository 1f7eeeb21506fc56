"""Archetypes: which rows are alike, and how an answer is spread over them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from populace.agents.answers import Chosen
from populace.agents.archetypes import Answers, grouped, identity
from populace.core.draws import words
from populace.core.records import Abstained

COLUMN = {
    "int": st.integers(-3, 3), "far": st.sampled_from([-(2**62), 0, 2**62]), "bool": st.booleans(),
    "float": st.sampled_from([0.0, 0.5, -1.0]), "text": st.sampled_from(["a", "bb", ""]),
}  # fmt: skip


@settings(max_examples=40)
@given(data=st.data(), size=st.integers(1, 30), kinds=st.lists(st.sampled_from(sorted(COLUMN)), max_size=4))
def test_rows_are_of_one_archetype_exactly_where_all_their_facts_are_equal(data, size, kinds) -> None:
    lists = [data.draw(st.lists(COLUMN[kind], min_size=size, max_size=size)) for kind in kinds]
    columns = [data.draw(st.sampled_from([np.array(one), one])) for one in lists]
    inverse, first = grouped(columns, size)
    rows = [tuple(one[at] for one in lists) for at in range(size)]
    assert len(first) == len(set(rows)) == inverse.max() + 1
    for at, row in enumerate(rows):
        assert rows[first[inverse[at]]] == row
        assert first[inverse[at]] <= at


def test_an_identity_follows_from_all_that_is_asked_and_is_nobodys_id() -> None:
    base = ("voter", "vote", 0, b"key", "{}")
    others = [("x", *base[1:]), ("voter", "x", *base[2:]), (*base[:2], 1, *base[3:]), (*base[:3], b"x", "{}")]
    found = [identity(*one) for one in (base, *others, (*base[:4], "{1}"))]
    assert len(set(found)) == 6
    assert all(-(2**42) < agent < -1 and 0 <= nth < 2**20 for agent, nth in found)
    assert identity(*base) == found[0]


def test_each_draws_from_the_probabilities_of_its_archetype() -> None:
    n = 40_000
    given_ = [Chosen("b", {"a": 0.2, "b": 0.5, "c": 0.3}), Chosen("c"), Abstained("refusal"),
              Chosen("a", {"a": 0.0, "c": 4.0})]  # fmt: skip
    archetype = np.repeat(np.arange(-1, 4), n // 5)
    draws = lambda rows: words(1, 2, "p", rows)  # noqa: E731
    answers = Answers(given_, archetype, ("a", "b", "c"), draws)
    shares = [np.bincount(answers.codes[archetype == at] + 1, minlength=4) / (n // 5) for at in range(-1, 4)]
    assert shares[0][0] == shares[3][0] == 1.0
    np.testing.assert_allclose(shares[1], [0, 0.2, 0.5, 0.3], atol=4 * np.sqrt(0.25 / 8000))
    assert shares[2][3] == shares[4][3] == 1.0
    assert (answers.asked == (archetype >= 0)).all()
    assert (answers.abstained == (archetype == 2)).all()
    assert set(answers.reasons) == {"", "refusal"}
    assert answers.values[0] is None
    part = archetype[::7]
    some = Answers(given_, part, ("a", "b", "c"), lambda rows: words(1, 2, "p", rows * 7))
    assert (some.codes == answers.codes[::7]).all(), "whoever else is there"


def test_a_column_of_answers_has_numbers_and_what_stands_for_none() -> None:
    answers = Answers([3, Abstained("error"), 5], np.array([0, 1, 2, -1]), (), lambda rows: rows)
    np.testing.assert_array_equal(answers.column(lambda one: one / 2), [1.5, np.nan, 2.5, np.nan])
    assert answers.column(lambda one: one, 0).tolist() == [3, 0, 5, 0]
    assert answers.column("real", 0).dtype == np.int64
    with pytest.raises(TypeError, match="has to give numbers"):
        answers.column(str, "")
    with pytest.raises(ValueError, match="no Choice"):
        answers.chose("yes")
