"""Means of parts over what they keep, and a game's table: what they refuse, and what they say of nothing."""

from __future__ import annotations

import math

import pytest
from support.env_support import opened

from populace.core.errors import ScenarioError
from populace.env.cases import Cases, CaseSet, Fact
from populace.env.games import chicken, prisoners_dilemma, stag_hunt, ultimatum
from populace.env.tools import Domain, Tools


def test_a_mean_of_nothing_is_nan_and_an_unknown_column_is_named():
    cases = Cases(CaseSet([Fact(key="pain")], {"pain": ["present"]}, ["flu", "gout"], ["gout"]))
    tools = Tools(Domain("desk", {"books": {"book": ["emma"]}}, [], []))
    opened(2, cases, tools)
    assert math.isnan(cases.mean("correct"))
    assert math.isnan(tools.mean("calls"))
    with pytest.raises(ScenarioError, match="correct, questions, spent"):
        cases.mean("answer")
    with pytest.raises(ScenarioError, match="passed, wrong, calls"):
        tools.mean("tick")


def test_a_table_is_of_games_of_two_who_choose_once():
    assert prisoners_dilemma().table()["defect"] == {"cooperate": [5.0, 0.0], "defect": [1.0, 1.0]}
    assert stag_hunt().table()["stag"] == {"stag": [4.0, 4.0], "hare": [0.0, 3.0]}
    assert chicken().table()["straight"] == {"swerve": [4.0, 2.0], "straight": [0.0, 0.0]}
    with pytest.raises(ScenarioError, match="two players who both choose"):
        ultimatum().table()
