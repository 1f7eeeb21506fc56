"""Subgroups that a caller names after the fact: what are none is refused before it is tested."""

from __future__ import annotations

import math

import pytest

from populace.core.errors import SettingsError
from populace.experiments import Subgroup
from populace.experiments.subgroups import named


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("age", "a list of columns"),
        ([3], "a list of columns"),
        (["age", Subgroup("age", parts=2)], "'age' is named twice"),
        ([Subgroup("age", cuts=("a",))], r"subgroups\[0\], cuts\[0\]: Expected float"),
        ([Subgroup("age", cuts=(math.nan,))], "nan is no finite number"),
    ],
)
def test_what_are_no_subgroups_is_refused(given, said):
    """A text was taken letter by letter, and a column that stood twice was tested twice."""
    with pytest.raises(SettingsError, match=said):
        named(given)


def test_columns_and_subgroups_are_taken():
    assert named(("age", Subgroup("income", parts=2))) == [Subgroup("age"), Subgroup("income", parts=2)]
    assert named([]) == []
