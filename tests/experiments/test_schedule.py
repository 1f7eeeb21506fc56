"""What a run of an experiment may take of the account and of the money, and what is to come."""

from __future__ import annotations

import msgspec
import pytest
from support.experiments import SMALL

from populace.budget.amounts import Amount
from populace.budget.ledger import Ledger
from populace.experiments.design import Design
from populace.experiments.front import jobs_of
from populace.experiments.loading import find_experiment
from populace.experiments.planning import plan
from populace.experiments.schedule import LEDGER, Ended, Schedule

PAID = [
    ("model.kind", "openai"), ("model.name", "m"), ("endpoint.base_url", "http://127.0.0.1:9/v1"),
    ("endpoint.requests_per_minute", 600.0), ("endpoint.tokens_per_minute", 9000.0), ("endpoint.concurrency", 30),
    ("model.roles.judge.endpoint.requests_per_minute", 60.0),
]  # fmt: skip


@pytest.fixture
def design() -> Design:
    return plan(find_experiment(SMALL), assignments=PAID)


def test_runs_side_by_side_keep_to_one_quota(tmp_path, design):
    assert Schedule(tmp_path, design).bounds(1) == []
    assert dict(Schedule(tmp_path, design).bounds(3)) == {
        "endpoint.requests_per_minute": 200.0, "endpoint.tokens_per_minute": 3000.0, "endpoint.concurrency": 10,
        "model.roles.judge.endpoint.requests_per_minute": 20.0,
    }  # fmt: skip


def test_runs_that_share_their_limits_are_given_all_of_them(tmp_path):
    shared = plan(find_experiment(SMALL), assignments=[*PAID, ("endpoint.share_limits", "limits")])
    bounds = dict(Schedule(tmp_path, shared).bounds(3))
    assert bounds.keys() == {"endpoint.concurrency"}


def test_all_runs_keep_to_one_budget(tmp_path):
    price = ("budget.prices", {"m": {"usd_per_million_tokens_in": 1.0, "usd_per_million_tokens_out": 1.0}})
    bounded = plan(find_experiment(SMALL), assignments=[*PAID, price, ("budget.experiment_usd", 6.0)])
    schedule = Schedule(tmp_path, bounded)
    assert dict(schedule.bounds(1)) == {"budget.ledger": str(tmp_path / LEDGER)}
    schedule.next()
    first = dict(schedule.bounds(2))
    assert first["budget.usd"] == 3.0
    granted, _ = Ledger(tmp_path / LEDGER).reserve(
        "neighbours", "a", Amount(10**9, 6 * 10**12), Amount(10**9, 3 * 10**12)
    )
    assert granted.usd == 3.0
    schedule.next()
    assert dict(schedule.bounds(2))["budget.usd"] == 3.0  # all that the first has left


def test_what_is_to_come_goes_by_those_of_an_arm_that_have_ended(tmp_path, design):
    schedule = Schedule(tmp_path, design)
    assert schedule.to_come() is None
    for usd in (4.0, 1.0):
        task = schedule.next()
        schedule.end(Ended(task, "complete", 10, 10, 0, usd, 2.0))
    assert [one.task.arm for one in schedule.done.values()] == ["control", "silenced"]
    assert schedule.cost_usd == 5.0
    assert schedule.to_come() == (2 * 4.0 + 2 * 1.0 + 6 * 4.0, 10 * 2.0)


def test_what_is_forked_from_a_failed_run_is_not_waited_for(tmp_path, design):
    schedule = Schedule(tmp_path, msgspec.structs.replace(design, replicates=1))
    task = schedule.next()
    assert schedule.next() is None
    assert not schedule.is_over
    schedule.end(Ended(task, "failed", 0, 0, 0, 0.0, 0.0))
    assert schedule.is_over
    assert schedule.lost == {"control-000", "silenced-000", "moved-000", "open-000"}


def test_where_the_model_or_ray_has_the_machine_one_run_goes_at_a_time(design):
    def jobs(**settings):
        return jobs_of(msgspec.structs.replace(design, settings=design.settings | settings))

    assert jobs() >= 1
    assert jobs(model=design.settings["model"] | {"kind": "embedded"}) == 1
    assert jobs(transport="ray") == 1
