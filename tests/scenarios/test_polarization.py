"""Polarization on rules: the signs of AgentSociety over a few seeds; none with the mechanism off or on the placebo."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import populace
from populace.core.draws import Stream
from populace.core.errors import ScenarioError
from populace.scenarios._polarization_rules import POSITIONS, tell, weigh
from populace.testing import check_society

SEEDS = range(3)
ARMS = ("friends", "like_minded", "opposing")
STUDY = {"society.persuaders": True, "society.arguments": 4, "society.start": "halves"}


@pytest.fixture(autouse=True, scope="module")
def _in_a_folder_of_its_own(tmp_path_factory):
    with contextlib.chdir(tmp_path_factory.mktemp("runs")):
        yield


def last(contact, seed, model="rules", **more):
    settings = {**STUDY, "society.contact": contact, **more}
    run = populace.run("polarization", model=model, agents=42, ticks=12, seed=seed, settings=settings, quiet=True)
    return run.outcomes.iloc[-1]


@pytest.fixture(scope="module")
def ends():
    return [[last(contact, seed) for seed in SEEDS] for contact in ARMS]


def means(outcome, ends):
    return [float(np.mean([end[outcome] for end in arm])) for arm in ends]


def test_it_is_the_same_on_any_shards_and_after_a_resume():
    check_society("polarization", model="rules", agents=8, ticks=3, settings={**STUDY, "society.contact": "opposing"})


def test_like_minded_talk_drives_apart_and_opposing_talk_moderates(ends):
    friends, like, opposing = means("more_extreme", ends)
    assert like > friends + 0.1 > opposing + 0.2
    friends, like, opposing = means("moderated", ends)
    assert opposing > friends + 0.1 > like


@pytest.mark.parametrize("off", [{"society.arguments": 400}, {"society.openness": 0.0}])
def test_who_has_heard_it_all_is_moved_by_nobody(off):
    """No argument is new, or none moves: no arm has an effect."""
    for contact in ARMS:
        end = last(contact, 0, **off)
        assert [end[name] for name in ("more_extreme", "moderated", "crossed")] == [0.0, 0.0, 0.0]


def test_the_placebo_has_no_effect():
    """Answers by lot are the same in all arms, since each is asked as often."""
    for seed in SEEDS:
        friends, like, opposing = (last(contact, seed, "scripted") for contact in ARMS)
        assert friends.equals(like)
        assert like.equals(opposing)


def test_persuaders_need_listeners_and_arms_persuaders():
    with pytest.raises(ScenarioError, match=r"set society\.persuaders=true"):
        last("opposing", 0, **{"society.persuaders": False})


PRO = [text for text, position in POSITIONS.items() if position > 0]
CON = [text for text, position in POSITIONS.items() if position < 0]


def moved(attitude, *heard, known=(), acceptance=3.5):
    facts = {"attitude": attitude, "heard": " ".join(heard), "known": list(known), "acceptance": acceptance}
    return 10.0 * weigh(facts, Stream(0, 0, 0, "rule")).probabilities["agree"] - attitude


def test_only_new_arguments_move_in_their_sign_as_they_fit():
    assert moved(3.0, "(nothing)") == pytest.approx(0.0)
    assert moved(7.0, PRO[0]) > 0 > moved(3.0, CON[0])
    assert moved(7.0, PRO[0], known=[PRO[0]]) == pytest.approx(0.0)
    assert moved(7.0, PRO[0], PRO[3]) > moved(7.0, PRO[0])
    far = min(POSITIONS, key=POSITIONS.get)
    assert moved(9.8, far) == pytest.approx(0.0), "what is in the latitude of rejection moves nobody"
    assert 0 > moved(7.0, CON[3]) > moved(7.0, CON[3], acceptance=6.0), "who takes more in is moved further"


def test_one_tells_what_one_knows_rather_what_fits():
    facts = {"attitude": 8.0, "known": [PRO[3], CON[3]]}
    said = [tell(facts, Stream(0, agent, 0, "rule")) for agent in range(200)]
    assert set(said) == {PRO[3], CON[3]}
    assert said.count(PRO[3]) > 140
