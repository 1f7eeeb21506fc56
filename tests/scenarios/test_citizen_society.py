"""The society `citizen`: one run in every life, and faculties that hang together as their theories say."""

from __future__ import annotations

from typing import Any

import pytest
from support.attempts import TABLES
from support.chaos import Command
from support.killing import armed_scenario, set_trap
from support.running import run_local

import populace
from populace.core.draws import Stream
from populace.scenarios import _citizen_day as day
from populace.scenarios._citizen_rules import evening
from populace.store.tables.tables import read_table
from populace.testing import check_no_favoured_id, check_society

SHUT: Any = [{"at": 0, "set": {"world.city.closed": ["leisure"]}}]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def two_days(seed: int = 1, **options: Any) -> Any:
    return populace.run("citizen", model="rules", seed=seed, agents=40, ticks=48, quiet=True, **options)


@pytest.fixture(scope="module")
def usual(tmp_path_factory) -> Any:
    return two_days(out=tmp_path_factory.mktemp("usual") / "run")


def test_it_is_one_run_on_any_shards_killed_and_resumed_replayed_and_forked():
    checked = check_society("citizen", model="rules", agents=15, ticks=27, shards=(1, 2, 5))
    assert checked.asks > 30


def test_killed_in_a_week_and_resumed_it_is_the_same_run(tmp_path):
    """SIGKILL behind its first checkpoint, with nearly all of the run yet to come."""
    size = {"agents": 40, "ticks": 96, "seed": 5}
    options = [f"--{name}={value}" for name, value in size.items()]
    scenario = armed_scenario(tmp_path / "armed", "populace.scenarios.citizen")
    set_trap(tmp_path / "armed", "saved")
    command = Command("run", str(scenario), "--model", "rules", *options, "--set", "checkpoint.every_ticks=4",
                      "--out", "a", cwd=tmp_path)  # fmt: skip
    assert command.wait() == -9, command.errors
    assert not (tmp_path / "a" / "manifest.json").exists(), "it was at work"
    resumed = populace.resume(tmp_path / "a", shards=3, quiet=True).manifest
    whole = populace.run("citizen", model="rules", out=tmp_path / "whole", quiet=True, **size).manifest
    assert resumed["began_at_tick"] >= 4
    for key in ("trace_hashes", "world_hashes", "asks", "messages"):
        assert resumed[key] == whole[key], key
    for name in TABLES:
        one, other = (read_table(tmp_path / run, name).to_pandas() for run in ("a", "whole"))
        assert one.equals(other), name  # where nobody has worked yet, NaN stands for unemployment in both


@pytest.mark.ray
def test_on_ray_as_in_one_process(tmp_path, ray_cluster):
    few: Any = {"agents": 12, "ticks": 26}
    local = run_local(tmp_path / "local", "citizen", model__kind="rules", shards=1, **few)
    ray = populace.run("citizen", model="rules", seed=7, transport="ray", shards=2, quiet=True, **few).manifest
    assert ray["trace_hash"] == local["trace_hash"]
    assert ray["world_hash"] == local["world_hash"]


def test_no_id_is_favoured():
    check_no_favoured_id("citizen", "company", model="rules", agents=12, ticks=20, seeds=9)


def test_a_day_has_all_six_faculties(usual):
    outcomes, actions = usual.outcomes, usual.table("actions")
    assert outcomes.at_work[12] > 0.6, "they go to work"
    assert 0 < outcomes.at_work.max() < 1, "the retired do not"
    assert outcomes.fed.min() > 0.2, "they eat"
    assert outcomes.consumption_units.iloc[-1] > 10, "they buy"
    assert {"city.go", "economy.work", "economy.consume"} <= set(actions.kind)
    assert outcomes.attitude_variance.iloc[-1] < outcomes.attitude_variance[0], "friends who are near draw together"
    assert outcomes.mood.abs().max() > 0.05
    told = usual.table("asks").query("purpose == 'say'")
    assert any("A friend told me" in text for text in told.answer), "what was remembered is passed on"


def test_where_nobody_can_go_out_there_is_less_company(usual):
    shut = two_days(levers=SHUT).outcomes
    assert shut.leisure_visits.max() == 0 < usual.outcomes.leisure_visits.max()
    assert shut.company.iloc[20:].mean() < usual.outcomes.company.iloc[20:].mean()


def test_a_pension_is_spent(usual):
    paid = two_days(parameters={"pension_cents": 30_000}).outcomes
    assert paid.consumption_units.iloc[24] == usual.outcomes.consumption_units.iloc[24], "it comes at midnight"


@pytest.mark.parametrize("latitude", [0.0, 2.0])
def test_an_attitude_moves_within_its_latitude_alone(usual, latitude):
    outcomes = two_days(parameters={"latitude": latitude}).outcomes
    moved = outcomes.attitude_variance[0] - outcomes.attitude_variance.iloc[-1]
    there = usual.outcomes.attitude_variance[0] - usual.outcomes.attitude_variance.iloc[-1]
    assert moved > 1.2 * there if latitude else moved < 0.5 * there


def share(what: str, **facts: Any) -> float:
    """How often an evening goes there, of 300 alike."""
    about = {"needs": {"social": 0.6, "energy": 0.6}, "meals": 4, "dollars": 200} | facts
    return [evening(about, Stream(1, agent, 0, "evening")) for agent in range(300)].count(what) / 300


def test_the_evening_goes_where_it_meets_a_need():
    assert share("out", needs={"social": 0.1, "energy": 0.6}) > share("out") + 0.1
    assert share("home", needs={"social": 0.6, "energy": 0.1}) > share("home") + 0.1
    assert share("shop", meals=0) > share("shop") + 0.2
    assert share("shop", meals=0, dollars=5) < share("shop", meals=0), "who has no money does not shop"


@pytest.mark.parametrize("rises", [5, 6, 7, 8])
@pytest.mark.parametrize("works", [True, False])
@pytest.mark.parametrize("where", day.EVENING.labels)
@pytest.mark.parametrize("weekday", ["Monday", "Sunday"])
def test_a_day_is_whole_and_one_wakes_for_each_step(rises, works, where, weekday):
    plan = day.plan(weekday, rises, works, where)
    assert plan.steps[0].start == rises
    assert plan.steps[-1].end == 24.0
    assert all(one.end == other.start for one, other in zip(plan.steps, plan.steps[1:], strict=False))
    hour, here, awake = rises, "home", []
    while hour < 24:
        coming = plan.at(hour + 1.0)
        here = coming.where if coming is not None else here
        hour = day.next_tick(hour, hour, rises, plan.steps, here)
        awake.append(hour)
    assert {int(step.start) for step in plan.steps[1:]} <= set(awake), "it is awake as each step begins"
    assert awake[-1] == 24 + rises, "and to rise"
