"""The clinic: one run on any shards, and the published signs on rules, which go with the mechanism."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.running import run_local

import populace

SMALL = {"doctor": 3, "patient": 3}


MANY = 24
SEEDS = (1, 2)


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Mean outcomes of 20 consultations under each seed with these parameters; each such run is made once."""

    @cache
    def outcomes(**society: Any) -> Any:
        ends = []
        for seed in SEEDS:
            out = tmp_path_factory.mktemp("clinic") / "run"
            agents = {"doctor": 10, "patient": 10}
            run_local(out, "clinic", model__kind="rules", agents=agents, ticks=2, seed=seed, society=society)
            ends.append(populace.load(out).outcomes.iloc[-1])
        return sum(ends) / len(ends)

    return outcomes


@pytest.mark.parametrize("kind", ["rules", "scripted"])
def test_one_run_on_one_shard_and_on_three(kind: str, tmp_path: Path):
    hashes = {
        run_local(
            tmp_path / str(shards), "clinic", model__kind=kind, agents=SMALL, ticks=2, shards=shards,
            society={"bias": 1.0, "fear": 0.3, "judged": True, "questions": 6},
        )["trace_hash"]
        for shards in (1, 3)
    }  # fmt: skip
    assert len(hashes) == 1


def test_a_bias_cuts_accuracy_and_no_bias_does_not(last: Callable[..., Any]):
    plain = last()
    biased = last(bias=4.0)
    afraid = last(fear=0.5)
    assert biased.accuracy < plain.accuracy - 0.15
    assert afraid.accuracy < plain.accuracy - 0.15
    assert last(bias=0.0).accuracy == plain.accuracy  # the mechanism off


def test_too_few_and_too_many_questions_hurt_where_memory_is_short(last: Callable[..., Any]):
    few, some, many = (
        last(habit="always ask", questions=n).accuracy for n in (1, 8, MANY)
    )  # fmt: skip
    assert some > few + 0.1
    assert some > many + 0.1
    few, some, many = (last(habit="always ask", questions=n, memory=0).accuracy for n in (1, 8, MANY))
    assert many > some > few  # with all in mind, more is never worse


def test_a_threshold_stops_well_and_asides_dilute(last: Callable[..., Any]):
    stops = last(questions=MANY)
    always = last(habit="always ask", questions=MANY)
    never = last(habit="never ask")
    assert stops.accuracy > max(always.accuracy, never.accuracy) + 0.15
    assert 0 == never.questions < stops.questions < always.questions
    chatty, filtered = (last(chatty=0.9, filtered=one).accuracy for one in (False, True))
    assert filtered > chatty
    assert last(chatty=0.0, filtered=False).accuracy == filtered  # what is not said dilutes nothing


def test_two_judges_agree_in_part_and_a_real_book_is_read(tmp_path: Path):
    society = {"book": "hepar2", "judged": True, "questions": 8}
    run_local(
        tmp_path / "run", "clinic", model__kind="rules", agents={"doctor": 10, "patient": 10}, ticks=3, society=society
    )
    run = populace.load(tmp_path / "run")
    end = run.outcomes.iloc[-1]
    assert 0.3 < end.kappa < 1.0
    assert end.accuracy > 0.3  # of eight disorders
    asks = run.table("asks")
    assert set(asks[asks.purpose == "judge"].agent) == {-1}
    assert np.sum(asks.purpose == "judge") == 2 * end.answered
