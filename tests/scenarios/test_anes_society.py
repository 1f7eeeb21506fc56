"""The society `anes`: each agent another respondent, told nothing of what is held out; invariants on rules."""

from __future__ import annotations

import pytest
from support.running import run_local

import populace
from populace.core.errors import ScenarioError
from populace.scenarios._anes_rules import RULES
from populace.scenarios._data import anes96
from populace.testing import check_society


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_its_invariants_hold():
    check_society("anes", model="rules", agents=6, ticks=1)


@pytest.mark.parametrize("model", ["rules", "scripted"])
def test_one_and_three_shards_are_one_run(model, tmp_path):
    runs = [run_local(tmp_path / str(n), "anes", model__kind=model, agents=9, ticks=1, shards=n) for n in (1, 3)]
    assert runs[0]["trace_hash"] == runs[1]["trace_hash"]


def test_each_agent_is_another_respondent_and_is_told_what_that_one_said_of_itself():
    run = populace.run("anes", model="scripted", agents=200, quiet=True)
    who = run.panel("respondent").iloc[-1].astype(int).to_numpy()
    assert len(set(who)) == 200
    asks, table = run.table("asks"), anes96()
    assert len(asks) == 800
    prompts = asks[asks.agent == 0].prompt.tolist()
    assert all(f"You are {table['age'][who[0]]:.0f} years old" in one for one in prompts)
    assert sum("In politics you call yourself" in one for one in prompts) == 4


def test_who_is_not_told_its_party_does_not_vote_by_it():
    told, untold = (
        populace.run("anes", model="rules", agents=300, quiet=True, parameters={"party": party})
        for party in (True, False)
    )
    party, vote = anes96()["PID"], anes96()["vote"]
    right = []
    for run in (told, untold):
        who = run.panel("respondent").iloc[-1].astype(int)
        said = run.panel("vote").iloc[-1]
        right.append(sum(vote[person] == said[at] for at, person in who.items() if party[person] != 3) / len(who))
    assert right[0] > 0.8 > 0.6 > right[1]
    assert "In politics" not in untold.table("asks").prompt.iloc[0]


def test_more_agents_than_respondents_are_refused():
    with pytest.raises(ScenarioError, match="944 respondents"):
        populace.run("anes", model="rules", agents=945, quiet=True)


def test_the_rules_are_party_lines():
    facts = {"person": "", "party": " In politics you call yourself a strong Republican."}
    assert RULES["vote"](facts, None) == "Dole"
    assert [RULES[item](facts, None) for item in ("selfLR", "ClinLR", "DoleLR")] == ["6", "2", "4"]
