"""The agents' public columns: types kept, changes reported, against a plain version."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.env_support import look, opened

from populace.core.errors import ScenarioError
from populace.env import LookFailed

FIELDS = {"x": float, "n": int, "b": bool, "s": str}
START = {"x": [0.5, 1.5, 2.5], "n": [1, 2, 3], "b": [True, False, True], "s": ["a", "b", "c"]}


def world():
    return opened(3, columns=START, fields=FIELDS)


def ids(*agents: int):
    return np.array(agents, dtype=np.int32)


def test_types_and_read_only_views():
    one = world()
    assert [one.columns[name].dtype for name in FIELDS] == [np.float64, np.int64, np.bool_, object]
    with pytest.raises(ValueError, match="read-only"):
        one.columns["x"][0] = 1
    with pytest.raises(ValueError, match="read-only"):
        one.start["x"][0] = 1
    with pytest.raises(TypeError):
        one.columns["x"] = np.zeros(3)


ROWS = st.lists(
    st.dictionaries(
        st.integers(0, 4),
        st.fixed_dictionaries(
            {
                "x": st.sampled_from([0.0, 1.0, math.nan, math.inf, -0.0]),
                "n": st.integers(-(2**63), 2**63 - 1),
                "b": st.booleans(),
                "s": st.text(max_size=2),
            }
        ),
    ),
    max_size=5,
)


@given(ROWS)
def test_put_against_a_plain_version(ticks):
    now = [{"x": 0.0, "n": 0, "b": False, "s": ""} for _ in range(5)]
    one = opened(5, columns={name: [row[name] for row in now] for name in FIELDS}, fields=FIELDS)

    def same(a, b):
        return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))

    for reports in ticks:
        agents = list(reports)
        changed = one.put_fields(ids(*agents), {name: [reports[a][name] for a in agents] for name in FIELDS})
        expected = [a for a in sorted(agents) if not all(same(now[a][name], reports[a][name]) for name in FIELDS)]
        assert changed.tolist() == expected
        assert changed.dtype == np.int32
        for agent in agents:
            now[agent] = reports[agent]
    for name in FIELDS:
        assert all(same(a, b[name]) for a, b in zip(one.columns[name].tolist(), now, strict=True))
        assert one.start[name].tolist() == [{"x": 0.0, "n": 0, "b": False, "s": ""}[name]] * 5
    again = opened(5, columns={name: [row[name] for row in now] for name in FIELDS}, fields=FIELDS)
    again.restore(one.state())
    for name in FIELDS:
        assert all(same(a, b) for a, b in zip(again.columns[name].tolist(), one.columns[name].tolist(), strict=True))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"y": [1.0]}, r"'y' is not a public field; there are: x, n, b, s"),
        ({"x": ["a"]}, "'x': its values are float"),
        ({"x": [None]}, "'x': its values are float"),
        ({"n": [1.5]}, "'n': its values are int"),
        ({"n": [True]}, "'n': its values are int"),
        ({"n": [2**70]}, "'n': its values are int"),
        ({"n": [2**63]}, "'n': 9223372036854775808 does not fit"),
        ({"b": [1]}, "'b': its values are bool"),
        ({"s": [3]}, "'s': its values are str, got 3"),
        ({"s": [None]}, "'s': its values are str, got None"),
        ({"x": [1.0, 2.0]}, "'x': 2 values for 1 agents"),
    ],
)
def test_values_that_do_not_fit_change_nothing(fields, message):
    one = world()
    with pytest.raises(ScenarioError, match=message):
        one.put_fields(ids(0), {"x": [7.0], **fields})
    assert one.columns["x"].tolist() == START["x"]


def test_unknown_agents_and_missing_columns():
    with pytest.raises(ScenarioError, match="ids go from 0 to 2"):
        world().put_fields(ids(3), {"x": [1.0]})
    with pytest.raises(ScenarioError, match="'x': the opening has no initial values"):
        opened(3, fields={"x": float})
    with pytest.raises(ScenarioError, match=r"'x': its type is float, int, bool or str"):
        opened(3, columns={"x": [[1]] * 3}, fields={"x": list})


def test_query_of():
    one = world()
    assert look(one, "columns.of", agents=[2, 0], fields=["x", "s"]) == {"x": [2.5, 0.5], "s": ["c", "a"]}
    assert look(one, "columns.of", agents=[]) == {"x": [], "n": [], "b": [], "s": []}
    assert [type(value[0]) for value in look(one, "columns.of", agents=[1]).values()] == [float, int, bool, str]
    for args in ({}, {"agents": 1}, {"agents": [3]}, {"agents": [True]}, {"agents": [0], "fields": ["y"]}, {"of": [0]}):
        assert isinstance(look(one, "columns.of", **args), LookFailed)
