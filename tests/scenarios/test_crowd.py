"""The crowd on rules: who hears others comes nearer to them, and alone it is spread as people are."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import populace
from populace.core.draws import Stream
from populace.env.part import Batch
from populace.scenarios import _crowd_rules as rules
from populace.scenarios import _crowd_world as world
from populace.testing import check_society

ARMS = {"nothing": {}, "mean": {"hears": "mean"}, "all": {"hears": "all"}, "books": {"knows": "books"}}


@pytest.fixture(autouse=True, scope="module")
def _in_a_folder_of_its_own(tmp_path_factory):
    with contextlib.chdir(tmp_path_factory.mktemp("runs")):
        yield


def played(model="rules", agents=96, **parameters):
    return populace.run("crowd", model=model, seed=1, agents=agents, parameters=parameters, quiet=True).outcomes


@pytest.fixture(scope="module")
def runs():
    return {arm: played(**parameters) for arm, parameters in ARMS.items()}


def test_it_is_the_same_on_any_shards_and_after_a_resume():
    check_society("crowd", model="rules", agents=7, ticks=3, settings={"society.hears": "all", "society.session": 4})


def test_hearing_others_narrows_a_crowd_and_moves_the_truth_to_its_edge(runs):
    alone = runs["nothing"].iloc[-1]
    for arm in ("mean", "all"):
        narrowed = runs[arm]["diversity"].iloc[1:].to_numpy()
        assert (np.diff(narrowed) < 0.0).all()
        assert narrowed[-1] < 0.2 * alone["diversity"]
        assert runs[arm]["wisdom"].iloc[-1] < alone["wisdom"] - 0.2
    assert runs["mean"]["collective_error"].iloc[-1] > 0.5 * alone["collective_error"], "it gets hardly wiser for that"


def test_who_hears_nothing_stays_where_it_is(runs):
    assert all(runs["nothing"].iloc[at].equals(runs["nothing"].iloc[1]) for at in range(2, 6))
    first = {arm: run.iloc[1] for arm, run in runs.items()}
    assert first["mean"].equals(first["nothing"]), "all arms begin with the same answers"
    assert first["all"].equals(first["nothing"])


def test_alone_it_is_spread_as_people_are_and_with_books_not_at_all(runs):
    people = [np.array(rules.people()[name]) / rules.TRUTH[name] for name in rules.QUESTIONS]
    assert [len(one) for one in people] == [52, 51, 52, 52, 50]
    spread = np.mean([np.subtract(*np.quantile(one, [0.75, 0.25])) for one in people])
    alone, books = runs["nothing"].iloc[-1], runs["books"].iloc[-1]
    assert alone["spread"] == pytest.approx(spread, rel=0.25)
    assert alone["exact"] < 0.1
    assert books[["spread", "off", "diversity", "collective_error"]].tolist() == [0.0] * 4
    assert (books["exact"], books["wisdom"]) == (1.0, 1.0)


def test_on_the_placebo_nobody_is_moved_by_what_it_hears():
    ends = [played("scripted", agents=24, **parameters) for parameters in ARMS.values()]
    assert all(one.equals(ends[0]) for one in ends)


def test_a_person_keeps_most_of_its_own_answer():
    assert rules._moved(100.0, [10.0, 1000.0, 1e9], 0.7) == pytest.approx(100.0 * 10.0**0.3), "towards the middle one"
    assert rules._moved(100.0, None, 0.7) == rules._moved(100.0, 0.0, 0.7) == 100.0
    before = {name: {"own": 100.0, "others": 1000.0} for name in rules.QUESTIONS}
    facts = {"knows": rules.TEXTS["knows"]["memory"], "questions": rules.QUESTIONS, "before": before}
    told = [rules.estimate(facts, Stream(0, at, 0, "rule")).bones for at in range(400)]
    weights = 1.0 - np.log10(np.array(told) / 100.0)
    assert 0.4 - 1e-3 <= weights.min() < 0.45 < 0.65 < weights.mean() < 0.75


def answered(part, *answers):
    batch = Batch(np.arange(len(answers), dtype=np.int32), list(answers))
    part.answer(0, batch)
    return [batch.refused.get(at) for at in range(len(answers))]


def test_answers_count_where_they_fit_and_the_truth_is_inside_or_outside():
    part = world.Crowd(3)
    part.given = np.full((3, 5), np.nan)
    assert np.isnan([part.wisdom(), part.spread(), part.off(), part.exact(), part.diversity()]).all()
    true = world.TRUE.tolist()
    wrong = [{}, {"estimates": true[:-1]}, {"estimates": [*true[:-1], float("nan")]}]
    assert answered(part, *wrong) == ["bad_arguments"] * 3
    assert answered(part, *({"estimates": [at * one for one in true]} for at in (0.5, 1.0, 2.0))) == [None] * 3
    assert part.wisdom() == 1.0
    assert part.collective_error() == pytest.approx(0.0)
    assert part.exact() == pytest.approx(1 / 3)
    part.given *= 4.0
    assert part.wisdom() == 0.0
    assert part.diversity() == pytest.approx(np.var(np.log10([0.5, 1.0, 2.0])))
