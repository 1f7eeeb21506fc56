"""Hurricane on rules: visits fall as the storm comes and come back, warnings act through trust; no storm, no dip."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import populace
from populace.core.draws import Stream
from populace.scenarios import hurricane
from populace.scenarios._hurricane_rules import go
from populace.testing import check_society

SEEDS = range(2)
NEWS = 'at=16, send={to="all", body={warning=0.8, source="news"}}'
OFFICIAL = 'at=16, send={to="all", body={warning=0.8, source="official"}}'
ORDER = 'at=24, until=48, set={"world.city.evacuation"={level=20}}'
ARMS = {
    "none": ({"society.storm": False}, []),
    "storm": ({}, []),
    "warning": ({}, [NEWS]),
    "official": ({}, [OFFICIAL]),
    "order": ({}, [ORDER]),
}


@pytest.fixture(autouse=True, scope="module")
def _in_a_folder_of_its_own(tmp_path_factory):
    with contextlib.chdir(tmp_path_factory.mktemp("runs")):
        yield


def played(arm, seed, model="rules", **more):
    settings, levers = ARMS[arm]
    settings = {**settings, **{f"society.{name}": value for name, value in more.items()}}
    return populace.run(
        "hurricane", model=model, agents=30, ticks=72, seed=seed, settings=settings, levers=levers, quiet=True
    ).outcomes


@pytest.fixture(scope="module")
def series():
    return {arm: [played(arm, seed) for seed in SEEDS] for arm in ARMS}


def by_day(series, arm):
    """Visits of each of the nine days, the mean over seeds, divided by the highest."""
    visits = np.mean([one["visits_today"].iloc[8::8].to_numpy() for one in series[arm]], axis=0)
    return visits / visits.max()


def end(series, arm, outcome):
    return float(np.mean([one[outcome].iloc[-1] for one in series[arm]]))


def test_it_is_the_same_on_any_shards_and_after_a_resume():
    check_society("hurricane", model="rules", agents=8, ticks=6, levers=[NEWS.replace("16", "3")])


def test_visits_make_a_u_that_bottoms_at_landfall(series):
    days = by_day(series, "storm")
    assert days.argmin() == 4
    assert days[4] < 0.3 < 0.7 < min(*days[:3], *days[6:])
    assert end(series, "storm", "at_landfall") == pytest.approx(days[4], abs=0.05)
    assert end(series, "storm", "recovery_day") <= 8


def test_without_a_storm_there_is_no_dip(series):
    assert by_day(series, "none").min() > 0.7


def test_no_danger_is_perceived_where_no_hurricane_is_held_to_be_bad():
    harmless, none = played("storm", 0, severity=0.0), played("none", 0)
    assert harmless.equals(none)


def test_warnings_act_ahead_of_the_storm_by_trust_and_orders_empty_the_town(series):
    storm, warning, official = (end(series, arm, "eve") for arm in ("storm", "warning", "official"))
    assert storm > warning > official
    assert max(one["sheltered"].max() for one in series["order"]) > 0.9
    assert max(one["sheltered"].max() for one in series["storm"]) == 0.0
    assert end(series, "order", "at_landfall") < end(series, "storm", "at_landfall")


def test_arms_are_one_run_up_to_the_warning(series):
    assert series["warning"][0].loc[:16].equals(series["storm"][0].loc[:16])


def test_on_the_placebo_neither_storm_nor_warning_has_an_effect():
    """Nobody who answers by lot heeds anything; an order acts by nothing but its words."""
    same = ["visits_today", "out", "left_home", "sheltered", "at_landfall"]
    ends = [played(arm, 0, "scripted")[same] for arm in ARMS]
    assert all(one.equals(ends[0]) for one in ends)


def test_the_wind_at_the_town_is_as_the_track_says():
    storm = hurricane.storm(hurricane.Dials())
    x = y = np.zeros(1)
    winds = [float(storm.level(3_600.0 * hour, x, y)[0]) for hour in (71, 72, 108, 144, 145)]
    assert winds[0] == winds[-1] == 0.0
    assert winds[2] == pytest.approx(40.0)
    assert winds[1] == pytest.approx(winds[3])
    assert 15.0 < winds[1] < 25.0


def share(place, **facts):
    about = {"hour": 12, "works": "no", "food": 0.5, "leisure": 0.3, "danger": 0.0, "trust": 0.8, "order": "", **facts}
    return np.mean([go(about, Stream(0, agent, 0, "rule")) == place for agent in range(400)])


def test_what_can_wait_stops_first_and_hunger_last():
    assert share("leisure", danger=0.4) / share("leisure") < share("shop", danger=0.4, food=0.0) / share(
        "shop", food=0.0
    )
    assert share("shop", food=0.0) > share("shop", food=0.9)
    assert share("work", works="yes") > 0.5 > share("work", works="yes", hour=18) == 0.0
    assert share("shelter", order="Leave!") > share("shelter", order="Leave!", trust=0.1) > share("shelter") == 0.0
