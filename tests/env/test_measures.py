"""Outcomes that societies share, against values known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from populace import Population
from populace.env import measures


def test_variance_and_bimodality_of_known_shapes():
    camps = np.array([0.0] * 500 + [10.0] * 500)
    assert measures.variance(camps) == 25.0
    assert measures.bimodality(camps) == pytest.approx(1.0)
    uniform = np.linspace(0.0, 10.0, 100_001)
    assert measures.bimodality(uniform) == pytest.approx(5.0 / 9.0, abs=1e-3)
    normal = np.random.default_rng(1).normal(size=200_000)
    assert measures.bimodality(normal) == pytest.approx(1.0 / 3.0, abs=0.01)
    assert measures.bimodality(np.full(10, 3.0)) == 0.0


def test_shares_that_moved():
    start = np.array([5.0, 5.0, 0.5, 9.5, 2.0])
    now = np.array([5.0, 9.2, 0.2, 7.0, 2.3])
    assert measures.moved_to_extremes(now, start, 0.0, 10.0) == pytest.approx(1 / 5)
    assert measures.moderated(now, start, 0.0, 10.0) == pytest.approx(1 / 5)


def test_a_population_takes_more_columns():
    people = Population({"age": [20, 70]}).adding(old=lambda row: row["age"] > 64)
    assert people.columns == {"age": [20, 70], "old": [False, True]}
