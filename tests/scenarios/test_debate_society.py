"""The society `debate`: one run on any number of shards; the published signs with the mechanism on, and only then."""

from __future__ import annotations

from statistics import mean
from typing import Any

import pytest
from support.running import run_local

import populace
from populace.scenarios import _debate_rules as rules
from populace.scenarios._debate_text import Turn, spoken, stances

PAIR = {"size": 2, "protocol": "alternate", "ends": "one", "turns": 60, "receptiveness": 0.25}


def outcomes(seed: int, agents: int = 24, **parameters: Any) -> dict[str, float]:
    run = populace.run("debate", model="rules", agents=agents, ticks=1, seed=seed, parameters=parameters, quiet=True)
    found: dict[str, float] = run.outcomes.iloc[-1].to_dict()
    return found


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("model", ["rules", "scripted"])
def test_one_and_three_shards_are_one_run(model, tmp_path):
    runs = [
        run_local(tmp_path / str(n), "debate", model__kind=model, agents=9, ticks=2, shards=n, society__turns=3)
        for n in (1, 3)
    ]
    assert runs[0]["trace_hash"] == runs[1]["trace_hash"]
    assert runs[0]["world_hash"] == runs[1]["world_hash"]
    assert runs[0]["rounds"]["heard"] > 0


def test_conforming_minds_converge_and_anchored_ones_do_not():
    conforming = [outcomes(seed, stubbornness=0.1, conformity=0.5) for seed in (1, 2)]
    anchored = [outcomes(seed) for seed in (1, 2)]
    for name in ("private_sd_change", "public_sd_change"):
        assert max(one[name] for one in conforming) < -0.05
        assert mean(one[name] for one in conforming) < mean(one[name] for one in anchored) - 0.1
    assert abs(mean(one["private_sd_change"] for one in anchored)) < 0.1
    assert mean(one["anchoring"] for one in anchored) > 0.7 > 0.3 > mean(one["anchoring"] for one in conforming)


def test_a_prior_draws_stances_to_itself_and_without_one_they_hold():
    drawn, held = (outcomes(1, prior_pull=pull) for pull in (0.3, 0.0))
    assert drawn["to_prior"] > 0.2
    assert drawn["prior_pull"] > 0.15
    assert abs(held["to_prior"]) < 0.1
    assert abs(held["prior_pull"]) < 0.1


def test_rude_debates_are_longer_and_civil_words_of_the_same_people_are_not():
    lengths = {toxic: [outcomes(seed, 40, toxic=toxic, toxicity=1.0, **PAIR)["messages"] for seed in (1, 2, 3)]
               for toxic in (0, 2)}  # fmt: skip
    assert mean(lengths[2]) > 1.1 * mean(lengths[0])
    civil = outcomes(1, 40, toxic=2, toxicity=0.0, **PAIR)
    assert civil["messages"] == lengths[0][0]


def test_same_party_rooms_hold_one_party(tmp_path):
    run = populace.run("debate", model="rules", agents=20, ticks=1, seed=1, quiet=True, out=tmp_path / "one",
                       parameters={"same_party": True, "turns": 1, "size": 2})  # fmt: skip
    party = run.panel("party").iloc[-1]
    rooms = run.table("rounds").groupby("group").agent.apply(lambda ids: party[ids].nunique())
    assert (rooms == 1).all()
    assert len(rooms) > 5


def test_what_is_said_reads_back_and_rules_go_by_words():
    turn = Turn(argument=" Because. ", private=1.0, public=4.256, gives_in=False)
    assert spoken(turn) == "[4.26] Because."
    assert stances([spoken(turn), "no number"]) == [4.26]
    assert rules.rude("Shut up!")
    assert not rules.rude("A foolproof plan")
    assert rules.argues("BECAUSE I say so")
