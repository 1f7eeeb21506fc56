"""The ultimatum game on rules: low offers are turned down by who minds them, and by nobody where nobody does."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import populace
from populace.core.draws import Stream
from populace.scenarios import _ultimatum_rules as rules
from populace.testing import check_society


@pytest.fixture(autouse=True, scope="module")
def _in_a_folder_of_its_own(tmp_path_factory):
    with contextlib.chdir(tmp_path_factory.mktemp("runs")):
        yield


def last(model="rules", seed=1, agents=100, **parameters):
    run = populace.run("ultimatum", model=model, seed=seed, agents=agents, parameters=parameters, quiet=True)
    return run.outcomes.iloc[-1]


def test_it_is_the_same_on_any_shards_and_after_a_resume():
    check_society("ultimatum", model="rules", agents=10, ticks=4)


def test_lower_offers_are_accepted_less_often_unless_nobody_minds():
    taken = [last(offer=offer)["accepted"] for offer in range(1, 6)]
    assert taken == sorted(taken)
    assert taken[0] < 0.5 < taken[-1] == 1.0
    assert [last(offer=offer, tastes="none")["accepted"] for offer in (1, 5)] == [1.0, 1.0]


def test_who_proposes_goes_by_how_people_are_and_by_its_own_guilt():
    own, free = last(), last(tastes="none")
    assert 0.4 < own["offer"] < 0.5
    assert (free["offer"], free["accepted"]) == (pytest.approx(0.4), 1.0), "who minds nothing expects others to"
    assert own["least_accepted"] > free["least_accepted"] == pytest.approx(0.1)


def test_on_the_placebo_an_offer_is_taken_whatever_it_is():
    ends = [last("scripted", agents=20, offer=offer)[["accepted", "least_accepted"]] for offer in (1, 5)]
    assert ends[0].equals(ends[1])


def facts(envy, guilt=0.0, **more):
    return {"pie": 10, "envy": rules.TEXTS["envy"][str(envy)], "guilt": rules.TEXTS["guilt"][str(guilt)], **more}


def test_a_split_is_worth_what_fehr_and_schmidt_have_it_worth():
    assert rules.worth(3.0, 7.0, 0.5, 0.6) == 1.0
    assert rules.worth(7.0, 3.0, 0.5, 0.6) == pytest.approx(4.6)
    lot = Stream(0, 0, 0, "rule")
    for envy in rules.ENVY:
        threshold = 10.0 * envy / (1.0 + 2.0 * envy)
        least = rules.least(facts(envy), lot).dollars
        assert least - 1 <= threshold < least, "the smallest offer above the paper's threshold"
        if envy:
            answers = [rules.answer(facts(envy, offer=at), lot) for at in (least - 1, least)]
            assert answers[1] == "accept"
            assert least - 1 == threshold or answers[0] == "reject"
    assert rules.offer(facts(0.0, 0.6), lot).dollars == 5
    assert rules.offer(facts(0.0, 0.0), lot).dollars == 4
    assert [sum(one.values()) for one in (rules.ENVY, rules.GUILT)] == pytest.approx([1.0, 1.0])


def test_who_gains_nothing_and_minds_nothing_tosses_a_coin():
    said = [rules.answer(facts(0.0, offer=0), Stream(0, at, 0, "rule")) for at in range(200)]
    assert 0.3 < np.mean([one == "accept" for one in said]) < 0.7
