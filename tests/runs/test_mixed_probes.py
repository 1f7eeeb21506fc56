"""Probes of runs in which a type goes by rules: a model that is chosen answers all, and what is advised works."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import populace
from populace.core.errors import ScenarioError
from populace.core.records import Abstained
from populace.runs.probing import answer
from populace.store.probes import probes_of

MIXED = str(Path(__file__).parent.parent / "support" / "mixed.py")
OFFICER = 17


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run whose officers go by rules, none of which answers probes."""
    out = tmp_path_factory.mktemp("mixed") / "run"
    return populace.run(MIXED, out=out, model="scripted", ticks=2, quiet=True).folder


@pytest.fixture
def run(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def asked(run, **given):
    return populace.survey(run, "cesd10", 1, quiet=True, **given)


def test_control_rules_without_a_rule_for_probes_are_refused_with_what_helps(run):
    said = r"'survey' of agents of type 'officer'.*--set minds.officer.survey=model .*--type citizen"
    with pytest.raises(ScenarioError, match=said):
        asked(run)
    with pytest.raises(ScenarioError, match=r"'interview'.*--set minds.officer.interview=model"):
        populace.interview(run, OFFICER, 1, quiet=True)
    with pytest.raises(ScenarioError, match="'interview'"):
        answer(run, OFFICER, 1, "Well?", trust=True)
    with pytest.raises(ScenarioError, match="'survey'"):
        asked(run, model="rules")
    with pytest.raises(ScenarioError, match="'survey'"):
        asked(run, model="scripted", settings={"minds.officer": "rules"})


@pytest.mark.parametrize(
    "given",
    [{"model": "scripted"}, {"type": "citizen"}, {"settings": {"minds.officer.survey": "model"}},
     {"settings": {"minds.officer": "model"}}],
)  # fmt: skip
def test_each_thing_that_the_error_advises_works(run, given):
    survey = asked(run, **given)
    assert len(survey.agents()) == (14 if "type" in given else 20)


def test_a_model_that_is_chosen_answers_interviews_too(run):
    assert not isinstance(populace.interview(run, OFFICER, 1, model="scripted", quiet=True).ask("Well?"), Abstained)
    assert not isinstance(answer(run, OFFICER, 1, "How are you?", model="scripted", trust=True), Abstained)
    assert probes_of(run).exists()


def test_a_survey_of_the_run_itself_is_helped_by_the_same_setting(tmp_path):
    waves = {"surveys": [{"instrument": "cesd10", "at": [1]}]}
    given = {"model": "scripted", "ticks": 2, "quiet": True}
    with pytest.raises(ScenarioError, match=r"--set minds.officer.survey=model"):
        populace.run(MIXED, out=tmp_path / "a", settings=waves, **given)
    done = populace.run(MIXED, out=tmp_path / "b", settings=waves | {"minds.officer.survey": "model"}, **given)
    assert len(done.survey("cesd10").agents()) == 20
