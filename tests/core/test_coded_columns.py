"""Columns that say many rows at once are the lists of their values, however they are cut and put together."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from populace.core.table_columns import Coded, Joined, joined, repeated, stacked

_values = st.lists(st.binary(max_size=4), max_size=6)


def coded(values: list[Any]) -> Coded:
    known = list(dict.fromkeys(values))
    return Coded(known, np.array([known.index(value) for value in values], np.uint8))


_MADE = (list, coded, joined)


@given(_values, st.sampled_from(_MADE[1:]), st.slices(6))
def test_a_column_is_the_list_of_its_values(values: list[bytes], make: Any, cut: slice) -> None:
    column = make(values)
    assert (len(column), list(column)) == (len(values), values)
    assert [column[at] for at in range(len(values))] == values
    assert [column[-1 - at] for at in range(len(values))] == values[::-1]
    assert column == values
    assert column[cut] == values[cut]
    assert (column == [*values, b""], column == None) == (False, False)  # noqa: E711


@given(st.lists(st.tuples(_values, st.sampled_from(_MADE)), min_size=1, max_size=4))
def test_columns_stand_one_after_another(parts: list[tuple[list[bytes], Any]]) -> None:
    whole = stacked([make(values) for values, make in parts])
    assert list(whole) == [value for values, _ in parts for value in values]
    if {make for _, make in parts} == {coded}:
        assert isinstance(whole, Coded)
        assert len(whole.values) == len(set(whole.values)), "each value has one code"
    if {make for _, make in parts} == {joined}:
        assert isinstance(whole, Joined)


def test_values_that_cannot_be_hashed_are_stacked_by_code_too() -> None:
    whole = stacked([repeated([["user", "Why?"]], 2), repeated([["user", "How?"]], 1), repeated([["user", "Why?"]], 1)])
    assert isinstance(whole, Coded)
    assert list(whole) == [[["user", "Why?"]]] * 2 + [[["user", "How?"]]] + [[["user", "Why?"]]]


def test_arrays_stay_arrays_and_mixed_columns_become_lists() -> None:
    array = np.array([1, 2], np.int32)
    assert stacked([array, array]).dtype == np.int32
    assert stacked([array]) is array
    assert stacked([array, repeated(7, 2), [3]]) == [1, 2, 7, 7, 3]
