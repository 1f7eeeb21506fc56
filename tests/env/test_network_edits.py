"""Edits of edges in sparse rows give what a dictionary of edges gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from populace.env.network import csr
from populace.env.network.csr import Csr, build

SIZE = 5
PAIR = st.tuples(st.integers(0, SIZE - 1), st.integers(0, SIZE - 1)).filter(lambda pair: pair[0] != pair[1])
EDGES = st.dictionaries(PAIR, st.sampled_from([0.5, 1.0, 2.0]), max_size=12)
EDITS = st.dictionaries(PAIR, st.sampled_from([0.5, 3.0, math.nan]), max_size=12)


def rows_of(edges: dict[tuple[int, int], float]) -> Csr:
    pairs = np.array(list(edges), np.int64).reshape(-1, 2)
    return build(SIZE, pairs[:, 0], pairs[:, 1], list(edges.values()), "a test")


def check(edges: dict[tuple[int, int], float], edits: dict[tuple[int, int], float]) -> None:
    pairs = np.array(list(edits), np.int64).reshape(-1, 2)
    before = rows_of(edges)
    kept = [column.copy() for column in (before.offsets, before.targets, before.weights)]
    after = before.edit(pairs[:, 0], pairs[:, 1], np.array(list(edits.values()), np.float64))
    expected = rows_of({pair: weight for pair, weight in (edges | edits).items() if not math.isnan(weight)})
    for name, was in zip(("offsets", "targets", "weights"), kept, strict=True):
        found, right = getattr(after, name), getattr(expected, name)
        assert found.dtype == right.dtype
        assert found.tolist() == right.tolist(), name
        assert getattr(before, name).tolist() == was.tolist(), "rows are read-only"


@settings(max_examples=80)
@given(edges=EDGES, edits=EDITS)
def test_edits_are_those_of_a_dictionary(edges, edits):
    check(edges, edits)


def test_control_new_edges_at_the_wrong_places_are_found(monkeypatch):
    real = csr._filled
    monkeypatch.setattr(csr, "_filled", lambda old, kept, new: real(old, kept, new[::-1]))
    with pytest.raises(AssertionError):
        check({(0, 1): 1.0}, {(0, 2): 0.5, (3, 1): 3.0})
