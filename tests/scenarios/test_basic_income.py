"""Basic income on rules: what a transfer does over a few seeds, and that it does nothing with the mechanism off."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import populace
from populace.core.draws import Stream
from populace.probes import CESD10
from populace.scenarios import _basic_income_rules as rules
from populace.scenarios.basic_income import FULL_HOURS
from populace.testing import check_society

SEEDS = range(2)
AT, MONTHS = 24, 42
ARMS = {
    "none": [],
    "transfer": [f'at={AT}, set={{"world.economy.transfer_cents"=100000}}'],
    "flat": [f'at={AT}, set={{"world.economy.transfer_cents"=100000, "world.economy.transfer_funding"="flat"}}'],
}


@pytest.fixture(autouse=True, scope="module")
def _in_a_folder_of_its_own(tmp_path_factory):
    with contextlib.chdir(tmp_path_factory.mktemp("runs")):
        yield


def played(arm, seed, model="rules", **more):
    settings = {"society.interview": MONTHS - 1, **more}
    return populace.run(
        "basic_income", model=model, agents=30, ticks=MONTHS, seed=seed, levers=ARMS[arm], settings=settings, quiet=True
    ).outcomes


@pytest.fixture(scope="module")
def series():
    return {arm: [played(arm, seed) for seed in SEEDS] for arm in ARMS}


def test_it_is_the_same_on_any_shards_and_after_a_resume():
    lever = ARMS["transfer"][0].replace(f"at={AT}", "at=1")
    settings = {"society.mood_every": 2, "society.interview": 3}
    check_society("basic_income", model="rules", agents=8, ticks=4, settings=settings, levers=[lever])


def change(series, arm, outcome):
    return np.mean(
        [one[outcome].iloc[-1] - none[outcome].iloc[-1] for one, none in zip(series[arm], series["none"], strict=True)]
    )


def test_new_money_for_all_is_spent_lifts_mood_and_raises_prices(series):
    assert change(series, "transfer", "consumption_two_years") > 0
    assert change(series, "transfer", "distress") < 0
    assert change(series, "transfer", "price_index") > 5
    assert change(series, "transfer", "wealth_gini") < 0


def test_a_levy_for_all_hardly_moves_prices(series):
    assert abs(change(series, "flat", "price_index")) < change(series, "transfer", "price_index") / 3
    assert change(series, "flat", "wealth_gini") < 0


def test_arms_are_one_run_up_to_the_transfer(series):
    for arm in ARMS:
        assert series[arm][0].loc[:AT].equals(series["none"][0].loc[:AT])


def test_who_neither_spends_wealth_nor_gets_used_to_income_spends_no_transfer(monkeypatch):
    """The mechanism off: spending doesn't follow accounts or income, and mood not strain."""
    for name in ("ADJUSTS", "LESS_EARNED", "STRAIN", "JOBLESS"):
        monkeypatch.setattr(rules, name, 0.0)
    rich = {"society.memory_months": 1e12, "society.months_saved": 1_000.0}  # nobody's account limits what is spent
    none, paid = (played(arm, 0, **rich).iloc[-1] for arm in ("none", "transfer"))
    for outcome in ("consumption_two_years", "output_two_years", "hours", "price_index", "distress"):
        assert paid[outcome] == none[outcome]


def facts(**more):
    return {
        "job": "employed", "wage_usd": 20.0, "hours": FULL_HOURS, "full": FULL_HOURS, "income_usd": 3_000.0,
        "unearned_usd": 0.0, "usual_usd": 3_000.0, "wealth_usd": 9_000.0, "temper": 0.5, **more,
    }  # fmt: skip


def test_a_buffer_is_kept_and_leisure_bought():
    draw = Stream(0, 0, 0, "rule")
    month = rules.month(facts(), draw)
    assert (month.hours, month.spend_usd) == (FULL_HOURS, 3_000.0)
    assert (
        rules.month(facts(wealth_usd=20_000.0), draw).spend_usd
        > 3_000.0
        > rules.month(facts(wealth_usd=1_000.0), draw).spend_usd
    )
    assert rules.month(facts(unearned_usd=1_000.0), draw).hours == FULL_HOURS - 0.11 * 1_000.0 / 20.0
    assert rules.month(facts(job="none"), draw).hours == 0.0


def test_mood_falls_with_strain_and_joblessness_by_the_published_key():
    def score(**more):
        said = [rules.mood(facts(**more), Stream(0, agent, 0, "rule")) for agent in range(200)]
        return CESD10.score([{name: getattr(one, name) for name in CESD10.item_names} for one in said])[
            "depression"
        ].mean()

    assert score() < score(wealth_usd=0.0) < score(wealth_usd=0.0, job="none")
    assert score(job="none") - score() == pytest.approx(2.5, abs=0.6)


def test_those_with_less_support_it_more_and_inflation_costs_support():
    def share(usual, inflation=0.0):
        about = {"usual_usd": usual, "mean_usd": 3_000.0, "inflation": inflation}
        return np.mean([rules.opinion(about, Stream(0, agent, 0, "rule")) == "support" for agent in range(300)])

    assert share(1_000.0) > share(3_000.0) > share(6_000.0)
    assert share(1_000.0, inflation=30.0) < share(1_000.0)
