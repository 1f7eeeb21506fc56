"""The union of columns of integers, beside NumPy's own."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from populace.core.union import union

INTEGERS = st.lists(st.integers(-5, 20), max_size=12)


@given(st.lists(INTEGERS, min_size=1, max_size=4), st.sampled_from([np.int32, np.int64]))
def test_it_gives_what_numpy_gives(columns: list[list[int]], dtype: type[np.integer]) -> None:
    given = [np.array(one, dtype) for one in columns]
    before = [one.copy() for one in given]
    found = union(*given)
    assert found.dtype == dtype
    assert found.tolist() == np.unique(np.concatenate(given)).tolist()
    assert all(np.array_equal(one, was) for one, was in zip(given, before, strict=True))


def test_what_is_given_back_is_no_view_of_what_was_given() -> None:
    ids = np.arange(5, dtype=np.int32)
    union(ids)[0] = 9
    assert ids.tolist() == [0, 1, 2, 3, 4]
