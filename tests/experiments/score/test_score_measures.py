"""Measures against hand-made people, baselines that learn from others only, and what simulations are worth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from populace.core.errors import ScenarioError
from populace.experiments import score
from populace.experiments.score.card import score as card_of
from populace.experiments.score.shown import as_data, as_text, headline


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(3)


def test_a_perfect_simulation_is_perfect_and_its_mirror_is_not(random):
    people = random.integers(1, 8, 200).astype(float)
    assert score.accuracy(people, people) == 1.0
    assert score.overlap(people, people) == pytest.approx(1.0)
    assert score.wasserstein(people, people) == 0.0
    line = score.calibration(people, people)
    assert (line.slope, line.intercept) == pytest.approx((1.0, 0.0), abs=1e-9)
    assert score.correlation(people, 8 - people) == pytest.approx(-1.0)
    assert score.wasserstein(people, people + 2) == pytest.approx(2.0)
    assert score.overlap(people, people + 100) == 0.0


def test_accuracy_over_retest_is_one_for_who_is_as_good_as_people_are(random):
    people = random.integers(0, 2, 2_000).astype(float)

    def again() -> np.ndarray:
        return np.where(random.random(2_000) < 0.2, 1 - people, people)

    assert score.over_retest(people, again(), again()) == pytest.approx(1.0, abs=0.05)
    assert score.over_retest(people, 1 - people, again()) == 0.0
    assert math.isnan(score.over_retest(people, people, 1 - people))


def test_exaggerated_and_flattened_people_are_told_by_slope_and_variance(random):
    people = random.normal(4, 1, 500)
    loud, flat = 4 + 2 * (people - 4), 4 + 0.25 * (people - 4)
    assert score.calibration(people, loud).slope == pytest.approx(0.5)
    assert score.variance_ratio(people, loud) == pytest.approx(4.0)
    assert score.variance_ratio(people, flat) == pytest.approx(1 / 16)
    assert math.isnan(score.calibration(people, np.full(500, 4.0)).slope)


def test_stereotypes_are_groups_that_tell_more_than_they_do_of_people(random):
    party = np.repeat(["left", "right"], 300)
    side = np.where(party == "left", -1.0, 1.0)
    people = side + random.normal(0, 2, 600)
    assert score.stereotyping(people, side + random.normal(0, 0.1, 600), party) > 3
    assert score.stereotyping(people, side + random.normal(0, 2, 600), party) == pytest.approx(1.0, abs=0.4)
    assert score.stereotyping(people, random.normal(0, 2, 600), party) < 0.1
    assert math.isnan(score.stereotyping(np.zeros(600), people, party))


def test_the_worst_served_group_is_named_and_small_ones_are_not(random):
    people = np.zeros(60)
    said = np.zeros(60)
    groups = {"age": np.array(["old"] * 20 + ["young"] * 36 + ["lone"] * 4)}
    said[:20], said[56:] = 1.0, 9.0
    assert score.worst_group(people, said, groups) == ("age=old", 1.0, 20)
    assert score.worst_group(people[:3], said[:3], {"age": ["a", "b", "c"]}) is None


def test_noise_is_taken_out_of_the_correlation_and_error_of_effects(random):
    true = random.normal(0, 1, 400)
    error = np.full(400, 0.8)
    human, simulated = (true + random.normal(0, 0.8, 400) for _ in range(2))
    found = score.score_effects(human, error, simulated, error)
    assert found.r == pytest.approx(1 / (1 + 0.64), abs=0.08)
    assert found.r_corrected == pytest.approx(1.0, abs=0.08)
    assert found.rmse == pytest.approx(0.8 * math.sqrt(2), abs=0.1)
    assert found.rmse_corrected < 0.35
    unrelated = score.score_effects(human, error, random.normal(0, 1.3, 400), error)
    assert abs(unrelated.r_corrected) < 0.2
    noise = score.score_effects(random.normal(0, 0.8, 400), error * 1.2, simulated, error)
    assert math.isnan(noise.r_corrected)


def test_halves_of_people_agree_as_far_as_their_effects_are_no_noise(random):
    groups = random.random((600, 4)) < 0.5
    strong = groups @ random.normal(0, 1, (4, 5)) + random.normal(0, 1, (600, 5))
    noise = random.normal(0, 1, (600, 5))
    assert score.split_half(strong, groups, ~groups) > 0.95
    assert abs(score.split_half(noise, groups, ~groups)) < 0.4
    assert math.isnan(score.split_half(noise[:3], groups[:3], ~groups[:3]))


def test_baselines_learn_from_other_people_only(random):
    column = random.normal(0, 1, (300, 1))
    people = (column[:, 0] + random.normal(0, 0.3, 300) > 0).astype(float)
    options = np.array([0.0, 1.0])
    assert score.accuracy(people, score.regression(people, column, options)) > 0.85
    assert score.accuracy(people, score.marginal(people, options)) < 0.65
    changed = people.copy()
    changed[7] = 1 - changed[7]  # one's own answer moves nothing of what is predicted for one
    assert score.regression(changed, column, options)[7] == score.regression(people, column, options)[7]
    chance = random.integers(0, 2, 300).astype(float)
    assert score.accuracy(chance, score.regression(chance, random.normal(size=(300, 5)), options)) < 0.6


def test_a_good_simulation_saves_people_and_a_bad_one_none(random):
    people = random.normal(0, 1, 3_000)
    good, bad = people + random.normal(0, 0.3, 3_000), random.normal(5, 1, 3_000)
    saved = score.worth(people[:200], good[:200], good[200:])
    assert saved.humans_saved > 400
    assert saved.interval.width < 0.6 * saved.plain.width
    none = score.worth(people[:200], bad[:200], bad[200:])
    assert none.humans_saved < 20
    assert none.weight < 0.15
    assert none.interval.covers(0.0)
    flat = score.worth(people[:200], np.ones(200), np.ones(2_800))
    assert (flat.weight, flat.humans_saved) == (0.0, 0)


def people_of(random: np.random.Generator) -> dict[str, np.ndarray]:
    party = random.integers(0, 2, 200)
    return {"party": party, "vote": (random.random(200) < 0.2 + 0.6 * party).astype(float),
            "place": np.clip(np.round(3 + 2 * party + random.normal(0, 1, 200)), 1, 7)}  # fmt: skip


def card(random: np.random.Generator, simulated: dict[str, Any], people: dict[str, Any]) -> score.ScoreCard:
    human = {name: people[name] for name in ("vote", "place")}
    options = {"vote": np.array([0.0, 1.0]), "place": np.arange(1.0, 8.0)}
    base = {"marginals": {name: score.marginal(human[name], options[name]) for name in human}}
    half = random.random(200) < 0.5
    return card_of(human, simulated, base, groups={"party": people["party"]}, stereotype="party", asked=80,
                   contrasts={"party": (people["party"] == 1, people["party"] == 0), "half": (half, ~half)}
                   )  # fmt: skip


def test_a_card_says_who_beats_whom_and_a_guess_does_not_beat(random):
    people = people_of(random)
    near = {"vote": people["vote"].copy(), "place": people["place"].copy()}
    near["vote"][:20] = 1 - near["vote"][:20]
    near["place"][:30] = np.nan
    good = card(random, near, people)
    assert good.beats_all
    assert headline(good).startswith("The simulation beats every baseline")
    assert [one.answered for one in good.items] == [200, 170]
    wild = {name: random.permutation(people[name]) for name in ("vote", "place")}
    bad = card(random, wild, people)
    assert not bad.beats_all
    assert all(one.verdict != "beats" for item in bad.items for one in item.against)
    assert headline(bad).startswith("The simulation does not beat its baselines: it beats 0 of 2")
    text = as_text(bad)
    assert "loses to" in text
    assert "accuracy over their own retest can't be had" in text
    data = as_data(bad)
    assert data["beats_all"] is False
    assert data["items"][0]["over_retest"] is None


def test_effects_of_a_faithful_simulation_reach_the_ceiling_and_shuffled_ones_do_not(random):
    people = people_of(random)
    faithful = card(random, {name: people[name] for name in ("vote", "place")}, people)
    assert faithful.effects is not None
    assert faithful.effects.r == pytest.approx(1.0)
    assert faithful.ceiling > 0.8
    shuffled = card(random, {name: random.permutation(people[name]) for name in ("vote", "place")}, people)
    assert shuffled.effects is not None
    assert shuffled.effects.rmse > 0.3


def test_human_effects_have_direction_size_and_source():
    targets = {one.name: one for one in score.human_effects()}
    assert len(targets) >= 7
    assert targets["callback_by_name"].direction == -1
    assert targets["callback_by_name"].effect == pytest.approx(-0.032, abs=1e-9)
    assert targets["default_of_insurance"].relative == pytest.approx(0.105 / 0.413)
    assert all("(" in one.source and one.people > 0 for one in targets.values())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: score.worth([1, 2, 3], [1, 2], [1, 2]), "they are pairs"),
        (lambda: score.worth([1, np.nan], [1, 2], [1, 2]), "person 1 has no answer"),
        (lambda: score.score_effects([1, 2], [1], [1, 2], [1, 1]), "of two people or more"),
        (lambda: score.score_effects([1, 2, 3], [1, 1], [1, 2, 3], [1, 1, 1]), "of one length"),
        (lambda: score.marginal(np.ones(3), np.ones(1)), "cannot be dealt into 10 folds"),
        (
            lambda: card_of({"a": [1, 2]}, {}, {}, groups={"g": [0, 0]}, stereotype="g", contrasts={}),
            "simulated: there are no answers to a",
        ),
        (
            lambda: card_of({"a": [1, 2]}, {"a": [1, 2]}, {}, groups={}, stereotype="g", contrasts={}),
            "stereotype='g'",
        ),
        (
            lambda: card_of(
                {"a": [1, 2]},
                {"a": [np.nan, 2]},
                {"b": {"a": [1, 2]}},
                groups={"g": [0, 0]},
                stereotype="g",
                contrasts={},
            ),
            "1 simulated answers",
        ),
    ],
)
def test_what_cannot_be_scored_is_named(call, said):
    with pytest.raises(ScenarioError, match=said):
        call()
