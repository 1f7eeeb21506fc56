"""The marketplace on rules: signs of Magentic Marketplace over a few seeds, and none with the mechanism off."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import populace
from populace.testing import check_society

SEEDS = range(3)
SIZE = {"agents.customer": 12, "agents.business": 24}


@pytest.fixture(autouse=True, scope="module")
def _in_a_folder_of_its_own(tmp_path_factory):
    with contextlib.chdir(tmp_path_factory.mktemp("runs")):
        yield


def mean(outcome, size=None, **parameters):
    settings = {**SIZE, **(size or {}), **{f"society.{name}": value for name, value in parameters.items()}}
    runs = [
        populace.run("marketplace", model="rules", seed=seed, settings=settings, quiet=True).outcomes for seed in SEEDS
    ]
    assert all(run["money_cents"].nunique() == 1 for run in runs)
    return float(np.mean([run[outcome].iloc[-1] for run in runs]))


def test_it_is_the_same_on_any_shards_and_after_a_resume():
    size = {"customer": 5, "business": 8}
    check_society("marketplace", model="rules", agents=size, ticks=5)
    scripted = [
        populace.run("marketplace", model="scripted", seed=2, shards=shards, quiet=True, settings=SIZE)
        for shards in (1, 3)
    ]
    assert scripted[0].manifest["trace_hash"] == scripted[1].manifest["trace_hash"]
    assert scripted[0].outcomes["money_cents"].nunique() == 1


def test_welfare_is_near_the_optimum_only_under_ideal_search_and_falls_with_more_results():
    few, many = mean("welfare", results=3), mean("welfare", results=24)
    assert few > 0.8
    assert few - many > 0.03
    assert mean("welfare", results=3, search="lexical") < few - 0.2
    assert mean("welfare", results=3, search="random") < few - 0.4


def test_customers_who_compare_all_lose_nothing_by_more_results():
    compares = {"aspiration": 9.0, "contact_cents": 0, "patience": 7, "delay_ticks": 0.5}
    assert mean("welfare", results=24, **compares) >= mean("welfare", results=3, **compares) - 1e-9


def test_welfare_falls_with_the_number_of_businesses_where_search_is_by_lot():
    found = [mean("welfare", {"agents.business": businesses}, search="random", results=8) for businesses in (8, 40)]
    assert found[0] > found[1] + 0.1


def test_fast_beats_good_and_does_not_where_customers_compare():
    fast, good = (mean(name, results=24) for name in ("fast_advantage", "good_advantage"))
    assert fast > 2.5
    assert mean("fast_advantage", results=24, aspiration=9.0) < fast - 1.0
    assert good > 1.0


@pytest.mark.parametrize("kind", ["badges", "injection"])
def test_manipulators_gain_from_credulous_customers_only(kind):
    arms = {"manipulation": kind, "manipulators": 0.4, "results": 24}
    credulous, wary = (mean("paid_to_cheats", credulity=share, **arms) for share in (1.0, 0.0))
    assert credulous > wary + 0.05
