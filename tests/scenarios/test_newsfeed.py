"""The society `newsfeed`: one run on any number of shards; checking curbs what is false where labels are heeded."""

from __future__ import annotations

from typing import Any

import pytest
from support.running import run_local

import populace
from populace.core.draws import Stream
from populace.scenarios._newsfeed_rules import react
from populace.scenarios.newsfeed import TEXTS

SEEDS = (0, 1, 2)
SIZE: Any = {"agents": 40, "ticks": 10}
ARMS = ("community", "third_party", "hybrid")
OFF: Any = {"labels_shown": False, "downrank": 0.0}


def outcomes(seed: int, **parameters: Any) -> dict[str, float]:
    run = populace.run("newsfeed", model="rules", seed=seed, parameters=parameters, quiet=True, **SIZE)
    return {name: float(value) for name, value in run.outcomes.iloc[-1].items() if name != "tick"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("model", ["rules", "scripted"])
def test_one_and_three_shards_are_one_run(model, tmp_path):
    same: Any = {"model__kind": model, "agents": 12, "ticks": 3, "society__moderation": "hybrid"}
    runs = [run_local(tmp_path / str(n), "newsfeed", shards=n, **same) for n in (1, 3)]
    assert runs[0]["trace_hash"] == runs[1]["trace_hash"]
    assert runs[0]["world_hash"] == runs[1]["world_hash"]


def test_each_way_of_checking_curbs_what_is_false_and_none_does_where_no_label_has_an_effect():
    """MOSAIC's first claim: over seeds false posts are read less, and engagement moves to true ones."""
    none = [outcomes(seed) for seed in SEEDS]
    for arm in ARMS:
        found = [outcomes(seed, moderation=arm) for seed in SEEDS]
        reach, gain = (
            [one[name] - other[name] for one, other in zip(found, none, strict=True)]
            for name in ("reach_of_false", "true_minus_false")
        )
        assert sum(reach) < 0, f"{arm}: {reach}"
        assert sum(gain) > 0, f"{arm}: {gain}"
    assert [outcomes(SEEDS[0], moderation=arm, **OFF) for arm in ARMS] == [none[0]] * 3


def acts_of(**facts: Any) -> list[str]:
    """What a reader of average skill does with a post, drawn anew each time."""
    about: dict[str, Any] = {
        "lean": 0.5, "skill": 0.5, "trust": 0.6, "emotion": "moderate", "post_lean": 0.5, "oddness": 0.6,
        "tone": "moderate", "label": TEXTS["labels"]["none"],
    }  # fmt: skip
    return [react({**about, **facts}, Stream(1, agent, 0, "react")) for agent in range(400)]


def share_of(act: str, **facts: Any) -> float:
    return acts_of(**facts).count(act) / 400


def test_the_rule_goes_as_its_theory_says():
    said = TEXTS["labels"]["false"]
    assert share_of("share", label=said) < 0.6 * share_of("share")
    assert share_of("share", label=said, trust=0.0) == share_of("share"), "who trusts nobody heeds no label"
    assert share_of("flag", skill=0.9, post_lean=-1.0) > 1.5 * share_of("flag", skill=0.9)
    assert share_of("flag", skill=0.9, oddness=0.9) > 1.5 * share_of("flag", skill=0.2, oddness=0.9)
    assert share_of("like", tone="intense", emotion="intense") > share_of("like", tone="calm", emotion="calm")
