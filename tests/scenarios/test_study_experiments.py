"""The studies that ship as experiments: designs that hold up."""

from __future__ import annotations

import dataclasses

import pytest

from populace.core.errors import ScenarioError
from populace.data.societies import shipped_experiments
from populace.experiments.checks import check_design
from populace.experiments.loading import find_experiment
from populace.experiments.planning import plan

STUDIES = ("basic_income", "crowd", "hurricane", "outrage", "panel", "polarization", "ultimatum")


def test_the_studies_ship_as_experiments():
    assert set(STUDIES) <= set(shipped_experiments())


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_is_a_design_that_can_be_run(name):
    experiment = find_experiment(name)
    design = plan(experiment, model="rules")
    check_design(experiment, design)
    assert design.replicates == 20
    assert {outcome.name for outcome in experiment.measured} >= {experiment.primary}
    broken = dataclasses.replace(experiment, ticks=1)
    if name in ("basic_income", "hurricane"):
        with pytest.raises(ScenarioError, match="a lever takes effect at tick"):
            check_design(broken, plan(broken, model="rules"))


def test_transfers_share_their_past_and_stories_do_not():
    at = {arm.name: arm.treated_at for arm in plan(find_experiment("basic_income"), model="rules").arms}
    assert at == {"none": None, "transfer": 96, "flat": 96, "progressive": 96, "targeted": 96}
    assert {arm.name: arm.at_tick for arm in plan(find_experiment("outrage"), model="rules").arms}["neutral"] == 0
