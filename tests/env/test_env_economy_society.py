"""Economies in runs: one trace on any shards and after a resume, firms by rule and as agents, levers that fire."""

from __future__ import annotations

import pytest
from support import economies

import populace
from populace.testing import check_no_favoured_id, check_society

HERE = economies.__file__


@pytest.fixture(autouse=True)
def _runs_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["ruled", "played"])
def test_it_is_one_run_on_any_shards_and_after_a_resume(name):
    checked = check_society(f"{HERE}:{name}", model="rules", shards=(1, 3), ticks=4)
    assert checked.asks == 4 * 20


def test_households_in_columns_are_one_run_too_with_levers_that_come_and_go():
    moved = {"world.economy.brackets": [[0, 0.3]], "world.economy.transfer_cents": 5_000, "world.economy.visits": 3}
    checked = check_society(f"{HERE}:columns", shards=(1, 3), ticks=5, levers=[{"at": 1, "until": 4, "set": moved}])
    assert checked.trace_hash != check_society(f"{HERE}:columns", shards=(1,), ticks=5).trace_hash


def test_a_transfer_fires_and_is_paid_by_what_the_lever_says():
    levers = [{"at": 4, "set": {"world.economy.transfer_cents": 100_000}}]
    plain = populace.run(f"{HERE}:ruled", model="rules", seed=2, quiet=True).outcomes
    for funding in ("issue", "flat"):
        chosen = [{"at": 4, "set": {"world.economy.transfer_funding": funding}}]
        run = populace.run(f"{HERE}:ruled", model="rules", seed=2, levers=levers + chosen, quiet=True).outcomes
        assert run["transfer"].iloc[1:].tolist() == [0.0] * 4 + [20 * 100_000.0] * 4
        assert run.loc[:4].equals(plain.loc[:4])
        made = run["money"] - plain["money"]
        assert made.iloc[-1] == (4 * 20 * 100_000 if funding == "issue" else 0)
        assert (run["sum_of_accounts"] == 0).all()


def test_a_transfer_may_wait_for_unemployment():
    lever = {"name": "dole", "when": {"world": {"economy.unemployment_rate": {"min": 0.01}}},
             "set": {"world.economy.transfer_cents": 7, "world.economy.transfer_to": "unemployed"}}  # fmt: skip
    parameters = {"buffer": 30.0}  # nobody buys: workers are dismissed and look for another job
    run = populace.run(f"{HERE}:ruled", model="rules", seed=2, levers=[lever], parameters=parameters, quiet=True)
    paid = run.outcomes["transfer"].fillna(0.0)
    assert paid.iloc[1] == 0.0
    assert paid.iloc[-1] > 0.0


def test_what_a_household_buys_does_not_hang_on_its_id():
    check_no_favoured_id(f"{HERE}:ruled", "spent", model="rules", seeds=10, agents=12, ticks=2)


def test_the_placebo_keeps_its_books_too():
    run = populace.run(f"{HERE}:played", model="scripted", seed=1, ticks=5, quiet=True)
    assert (run.outcomes["sum_of_accounts"] == 0).all()
    assert run.outcomes["price"].iloc[-1] > 0
