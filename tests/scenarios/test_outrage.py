"""Outrage on rules: which way heat, suspensions and cut ties go over a few seeds; none with their mechanisms off."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import populace
from populace.core.draws import Stream
from populace.scenarios._outrage_rules import motive, react
from populace.testing import check_society

SEEDS = range(3)
SUSPEND = 'when={agents={moderation.flagged={min=3}}}, set={world.moderation.suspended="matching"}'
CUT = "at=0, set={world.moderation.cutting=true}"
ARMS = {
    "neutral": ({"society.text": "neutral"}, []),
    "inflammatory": ({}, []),
    "cut": ({}, [CUT]),
    "suspend": ({}, [SUSPEND]),
}


@pytest.fixture(autouse=True, scope="module")
def _in_a_folder_of_its_own(tmp_path_factory):
    with contextlib.chdir(tmp_path_factory.mktemp("runs")):
        yield


def played(arm, seed, model="rules", **more):
    settings, levers = ARMS[arm]
    settings = {"society.interview": 19, **settings, **{f"society.{name}": value for name, value in more.items()}}
    return populace.run(
        "outrage", model=model, agents=60, ticks=20, seed=seed, settings=settings, levers=levers, quiet=True
    )


def last(arm, seed, **more):
    return played(arm, seed, **more).outcomes.iloc[-1]


@pytest.fixture(scope="module")
def ends():
    return {arm: [last(arm, seed) for seed in SEEDS] for arm in ARMS}


def test_it_is_the_same_on_any_shards_and_after_a_resume():
    check_society(
        "outrage", model="rules", agents=12, ticks=5, levers=[SUSPEND, CUT], settings={"society.interview": 3}
    )


def test_heat_spreads_and_stirs_and_suspending_curbs_it_more_than_cutting(ends):
    reach, arousal = (
        {arm: np.mean([end[name] for end in rows]) for arm, rows in ends.items()}
        for name in ("reach", "arousal_so_far")
    )
    assert reach["inflammatory"] > reach["neutral"] + 0.1
    assert arousal["inflammatory"] > 2 * arousal["neutral"]
    assert reach["inflammatory"] > reach["cut"] + 0.1 > reach["suspend"] + 0.15
    assert arousal["inflammatory"] > arousal["cut"] > arousal["suspend"]


def test_motives_are_asked_of_those_who_told_others(ends):
    for rows in ends.values():
        assert all(end["from_emotion"] + end["from_duty"] == pytest.approx(1.0) for end in rows)
    emotion = {arm: np.mean([end["from_emotion"] for end in rows]) for arm, rows in ends.items()}
    assert emotion["inflammatory"] > emotion["neutral"]


def test_who_cannot_be_stirred_passes_both_texts_on_alike():
    for seed in SEEDS[:2]:
        plain, heated = (last(arm, seed, susceptibility=0.0) for arm in ("neutral", "inflammatory"))
        assert plain["arousal_so_far"] == heated["arousal_so_far"] == 0.0
        assert plain.equals(heated)


def test_where_nothing_is_flagged_no_moderation_has_an_effect(ends):
    for arm in ("cut", "suspend"):
        assert last(arm, 0, flag_from=1.1).equals(ends["inflammatory"][0])


def test_on_the_placebo_the_text_has_no_effect():
    plain, heated = (last(arm, 0, model="scripted") for arm in ("neutral", "inflammatory"))
    assert plain.equals(heated)


def test_an_account_is_suspended_once_and_a_tie_carries_one_flagged_message():
    suspended = played("suspend", 1)
    levers, actions = suspended.table("levers"), suspended.table("actions")
    assert levers["agent"].is_unique
    assert len(levers) == suspended.outcomes["suspended"].iloc[-1] > 0
    silent_from = dict(zip(levers["agent"], levers["tick"], strict=True))
    fine = actions[actions["fate"] == "applied"]
    assert len(fine) == suspended.outcomes["messages"].iloc[-1]
    assert all(tick < silent_from.get(agent, 99) for agent, tick in zip(fine["agent"], fine["tick"], strict=True))
    end = last("cut", 1)
    assert end["cut_ties"] > 0


def reacted(*heard, arousal=0.0, stirs=0.5, duty=0.5, told="", agent=0):
    facts = {
        "arousal": arousal, "stirs": stirs, "duty": duty, "told": told, "friends": 5,
        "heard": [{"text": "News.", "heat": heat, "tie": tie} for heat, tie in heard],
    }  # fmt: skip
    return react(facts, Stream(1, agent, 0, "rule"))


def test_arousal_adds_up_over_messages_by_heat_and_tie():
    assert reacted((0.9, 1.0)).arousal == pytest.approx(0.45)
    assert reacted((0.9, 1.0), (0.9, 1.0)).arousal > reacted((0.9, 1.0)).arousal
    assert reacted((0.9, 0.2)).arousal < reacted((0.9, 1.0)).arousal > reacted((0.1, 1.0)).arousal
    assert reacted((0.9, 1.0), stirs=0.0).arousal == 0.0


def test_the_stirred_and_the_dutiful_tell_more_often_and_who_was_asked_always():
    def share(**facts):
        return np.mean([reacted((0.9, 0.5), agent=agent, **facts).tell > 0 for agent in range(300)])

    assert share(arousal=0.9) > share() + 0.2
    assert share(duty=1.0) > share(duty=0.0)
    assert share(told="It was asked to.") == 1.0
    assert reacted((0.9, 0.0), told="It was asked to.").heat == 0.9


def test_the_motive_is_what_weighed_more():
    said = [motive({"felt": felt, "duty": duty}, None) for felt, duty in ((0.8, 0.5), (0.1, 0.9))]
    assert said == ["emotion", "duty"]
