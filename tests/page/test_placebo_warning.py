"""What a survey's summary and the page's survey say where nobody but the placebo answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.experiments import SMALL, run_here

import populace
from populace.monitoring.summary import PLACEBO_CAVEAT, SURVEY_PLACEBO_CAVEAT
from populace.page.experiment import Experiment
from populace.page.shelf import Shelf
from populace.page.surveys import survey

FILE = str(Path(__file__).parent.parent / "support" / "respondents.py")


@pytest.mark.parametrize(("model", "warned"), [("scripted", True), ("rules", False)])
def test_findings_of_the_placebo_are_marked(tmp_path, model, warned):
    """Rules are the control: theirs carry no such warning."""
    run = populace.run(FILE, out=tmp_path / "run", model=model, seed=3, ticks=1, quiet=True)
    asked = populace.survey(run, "cesd10", 1, sample=3, quiet=True)
    assert (PLACEBO_CAVEAT in asked.text()) == warned
    assert (PLACEBO_CAVEAT in populace.load(run.folder).survey("cesd10").text()) == warned
    assert survey(run.folder, "cesd10", 0, 5)["caveat"] == (PLACEBO_CAVEAT if warned else "")


def test_a_survey_by_the_placebo_of_a_run_on_rules_is_a_placebo_and_the_run_is_none(tmp_path):
    run = populace.run(FILE, out=tmp_path / "run", model="rules", seed=3, ticks=1, quiet=True)
    said = populace.survey(run, "cesd10", 1, sample=3, model="scripted", quiet=True).text()
    assert SURVEY_PLACEBO_CAVEAT in said
    assert PLACEBO_CAVEAT not in said


@pytest.mark.parametrize(("kind", "warned"), [("scripted", True), ("rules", False)])
def test_an_experiment_on_the_placebo_is_marked_on_the_page(tmp_path, kind, warned):
    out = tmp_path / "out"
    run_here(SMALL, out, {"model.kind": kind}, replicates=1, dry=False)
    assert Experiment(Shelf(tmp_path), "out").seen()["caveat"] == (PLACEBO_CAVEAT if warned else "")
