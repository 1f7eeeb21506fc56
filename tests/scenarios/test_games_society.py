"""The society `games`: one run on any number of shards; the published signs with the mechanism on, and only then."""

from __future__ import annotations

from statistics import mean
from typing import Any

import pytest
from support.running import run_local

import populace
from populace.scenarios import _games_rules as rules
from populace.scenarios.games import GAMES

SEEDS = (1, 2, 3)
SIZE: Any = {"agents": 24, "ticks": 14}


def last(outcome: str, seed: int, **parameters: Any) -> float:
    run = populace.run("games", model="rules", seed=seed, parameters=parameters, quiet=True, **SIZE)
    return float(run.outcomes[outcome].iloc[-1])


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("model", ["rules", "scripted"])
def test_one_and_three_shards_are_one_run(model, tmp_path):
    runs = [run_local(tmp_path / str(n), "games", model__kind=model, agents=8, ticks=3, shards=n) for n in (1, 3)]
    assert runs[0]["trace_hash"] == runs[1]["trace_hash"]
    assert runs[0]["world_hash"] == runs[1]["world_hash"]


def test_losses_that_weigh_lock_pairs_into_draws_and_else_draws_are_a_third():
    averse = [last("draws", seed, loss_aversion=5.0) for seed in SEEDS]
    none = [last("draws", seed, loss_aversion=0.0) for seed in SEEDS]
    assert min(averse) > 0.5
    assert abs(mean(none) - 1 / 3) < 0.08


def test_cooperation_moves_with_the_frame_as_far_as_players_are_suggestible():
    def gap(seed: int, suggestibility: float) -> float:
        same = {"game": "prisoners_dilemma", "suggestibility": suggestibility, "repeated": False, "loss_aversion": 0.0}
        return last("cooperation", seed, frame="community", **same) - last(
            "cooperation", seed, frame="wall_street", **same
        )

    assert min(gap(seed, 0.8) for seed in SEEDS) > 0.1
    assert gap(1, 0.0) == 0.0


def test_the_rule_goes_by_words_and_not_by_names_of_arms():
    frames = GAMES["prisoners_dilemma"].frames
    assert [rules.tone(frames[name]) for name in ("community", "wall_street", "neutral")] == [1.0, -1.0, 0.0]
    assert rules.tone("Ein Spiel") == 0.0


def test_the_table_that_players_are_shown_is_the_games():
    table = GAMES["prisoners_dilemma"].table()
    assert table["cooperate"]["defect"] == [0.0, 5.0]
    assert GAMES["rock_paper_scissors"].table()["paper"]["rock"] == [1.0, -1.0]
