"""An experiment on the page: as its own results and the inference have it, whole and half done."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from support.experiments import SMALL, run_here
from support.paging import paged

from populace.data.societies import Origin
from populace.experiments.design import Design, DesignedArm
from populace.experiments.inference import compare
from populace.experiments.results import Results
from populace.page.experiment import changes_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("experiments")
    run_here(SMALL, place / "small", {"agents": 8, "ticks": 5})
    return place / "small"


def expected(results: Results):
    outcomes = [one.name for one in results.design.outcomes]
    return compare({arm: {name: results.values(name, arm) for name in outcomes} for arm in results.arms})


def same(seen, effects) -> bool:
    found = {(one["arm"], one["outcome"]): one for one in seen["effects"]}
    wanted = {(one.arm, one.outcome): one for one in effects}
    return found.keys() == wanted.keys() and all(
        np.allclose(
            np.array([found[key][name] for name in ("difference", "low", "high", "p_adjusted")], float),
            [one.difference, one.t.low, one.t.high, one.p_adjusted],
            equal_nan=True,
        )
        for key, one in wanted.items()
    )  # fmt: skip


def test_arms_curves_and_differences_are_those_of_the_results(folder):
    results = Results(folder)
    with paged(folder) as page:
        assert page.get("runs")["experiments"] == ["small"]
        seen = page.get("experiment", name="small")
        run = seen["arms"][1]["runs"][0]["run"]
        assert page.get("overview", run=run)["arm"] == "silenced", "a run is found by the name that is given"
    assert [one["name"] for one in seen["arms"]] == results.arms
    assert (seen["complete"], seen["replicates"], seen["status"]) == (3, 3, "complete")
    assert {one["status"] for arm in seen["arms"] for one in arm["runs"]} == {"complete"}
    for outcome in seen["outcomes"]:
        for arm, lines in outcome["arms"].items():
            wanted = results.trajectories(outcome["name"], arm)
            assert np.allclose(np.array(lines["runs"], float), wanted)
            assert np.allclose(np.array(lines["mean"], float), wanted.mean(axis=0))
    assert seen["why"] == ""
    assert same(seen, expected(results))
    assert {(one["arm"], one["predicted"]) for one in seen["effects"] if one["outcome"] == "spread"} >= {
        ("silenced", "up")
    }


def test_each_arm_says_what_it_changes(folder):
    with paged(folder) as page:
        arms = {one["name"]: one["changes"] for one in page.get("experiment", name="small")["arms"]}
    design = Results(folder).design
    for arm in design.arms:
        levers = [one["text"] for one in arms[arm.name] if one["kind"] == "lever"]
        assert [json.loads(one) for one in levers] == arm.levers
    assert arms["silenced"], "the treatment changes something"
    own = {(one["kind"], one["text"]) for one in arms["moved"]}
    for name, value in design.arm("moved").parameters.items():
        assert any(kind == "parameter" and text.startswith(f"{name} = {json.dumps(value)}") for kind, text in own)


def test_a_models_name_a_parameter_and_another_prompt_are_said_with_what_the_control_has():
    societies = [Origin("a.py", "ASK = 'Do you agree?'\nx = 1"), Origin("a.py", "ASK = 'Do you really?'\nx = 1")]
    arms = [
        DesignedArm(name="plain", folder="plain"),
        DesignedArm(
            name="other", folder="other", society=1, parameters={"fee": 2.0, "same": 1},
            settings={"model.name": "large", "model.temperature": 0.0},
        ),
    ]  # fmt: skip
    design = Design(
        name="d", society="a.py", question="", control="plain", primary="x", arms=arms, outcomes=[], replicates=1,
        seed=0, ticks=1, agents=2, societies=societies,
        settings={"model": {"name": "small", "temperature": 0.0}, "society": {"fee": 1.0, "same": 1}},
    )  # fmt: skip
    assert changes_of(arms[0], design) == []
    assert [(one["kind"], one["text"]) for one in changes_of(arms[1], design)] == [
        ("parameter", "fee = 2.0 (the control: 1.0)"), ("setting", 'model.name = "large" (the control: "small")'),
        ("text", "-ASK = 'Do you agree?'"), ("text", "+ASK = 'Do you really?'"),
    ]  # fmt: skip


def test_control_other_values_are_other_differences(folder, monkeypatch):
    results = Results(folder)
    wanted = expected(results)
    plain = Results.values
    monkeypatch.setattr(Results, "values", lambda self, outcome, arm: plain(self, outcome, arm) + (arm == "silenced"))
    with paged(folder) as page:
        assert not same(page.get("experiment", name="small"), wanted)


def test_half_of_it_is_shown_as_it_stands(folder, tmp_path):
    half = tmp_path / "all" / "half"
    shutil.copytree(folder, half)
    shutil.rmtree(half / "open-002")
    (half / "moved-002" / "manifest.json").unlink()
    with paged(half.parent) as page:
        assert page.get("runs")["experiments"] == ["half"]
        seen = page.get("experiment", name="half")
        assert (seen["complete"], seen["status"]) == (2, "unfinished")
        assert {one["replicates"] for one in seen["effects"]} == {2}
        of = {arm["name"]: arm["runs"] for arm in seen["arms"]}
        assert of["open"][2] == {"run": None, "status": "to come", "tick": 0}
        assert (of["moved"][2]["run"], of["moved"][2]["status"], of["moved"][2]["tick"]) == (
            "half/moved-002",
            "killed",
            5,
        )
        lines = {one["name"]: one["arms"] for one in seen["outcomes"]}["spread"]
        assert (len(lines["open"]["runs"]), len(lines["moved"]["runs"])) == (2, 3)
        shutil.rmtree(half / "open-001")
        seen = page.get("experiment", name="half")
        while seen["complete"] == 2:  # it is made anew in the background
            seen = page.get("experiment", name="half")
        assert seen["effects"] == []
        assert "1 of at least 2 replicates" in seen["why"]


@pytest.mark.parametrize("name", ["nobody", "", "../small", "/etc"])
def test_no_name_leaves_the_place(folder, name):
    with paged(folder) as page:
        status, _, body = page.raw(f"/api/experiment?name={name}")
        assert status == 404, body


def test_a_folder_of_plain_runs_has_no_experiment(folder):
    with paged(folder / "control-000") as page:
        assert page.get("runs")["experiments"] == []
        assert page.raw("/api/experiment?name=small")[0] == 404
