"""The town: one run on any shards; each faculty that is gone breaks a link; a master refuses what cannot be."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from support.running import run_local

import populace
from populace.core.draws import Stream
from populace.core.fences import fence
from populace.scenarios import _smalltown_rules as rules
from populace.scenarios._smalltown_people import id_of, name_of, plan_of

SEEDS = (0, 1, 2)
ARMS: dict[str, dict[str, bool]] = {
    "full": {},
    "no reflection": {"reflection": False},
    "no planning": {"reflection": False, "planning": False},
    "no memory": {"reflection": False, "planning": False, "memory": False},
}


@cache
def mean(arm: str, model: str = "rules", over: tuple[int, ...] = SEEDS, **more: Any) -> dict[str, float]:
    """The outcomes of the last tick of a town of 15, their mean over seeds."""
    ends = []
    for seed in over:
        with TemporaryDirectory() as folder:
            society = {**ARMS[arm], **more}
            run = populace.run(
                "smalltown", model=model, seed=seed, agents=15, parameters=society, out=f"{folder}/run", quiet=True,
            )  # fmt: skip
            assert run.manifest["turns_failed"] == 0
            ends.append(run.outcomes.iloc[-1])
    return {name: float(sum(one[name] for one in ends)) / len(ends) for name in ends[0].index}


@pytest.mark.parametrize("kind", ["rules", "scripted"])
@pytest.mark.parametrize("master", [False, True])
def test_one_run_on_one_shard_and_on_three(kind: str, master: bool, tmp_path: Path):
    hashes = {
        (run["trace_hash"], run["world_hash"])
        for shards in (1, 3)
        for run in [
            run_local(
                tmp_path / f"{shards}", "smalltown", model__kind=kind, agents=8, ticks=8, shards=shards,
                society={"master": master, "limit": 8.0, "seeds": 2},
            )
        ]
    }  # fmt: skip
    assert len(hashes) == 1


def test_each_faculty_that_is_gone_breaks_a_link():
    full, mute, planless, blank = (mean(arm) for arm in ARMS)
    assert full["knows_party"] > mute["knows_party"] >= planless["knows_party"] > blank["knows_party"]
    assert full["came"] > planless["came"] > blank["came"]
    assert full["came"] >= mute["came"] >= planless["came"]
    assert full["knows_candidate"] >= mute["knows_candidate"] > blank["knows_candidate"]
    assert full["density"] > blank["density"] == pytest.approx(2 / 7), "who knows nobody but who lives with it"
    assert blank["knows_party"] < 0.2


def test_more_who_know_at_first_reach_more():
    more, one = mean("full", over=(1, 2), seeds=4), mean("full", over=(1, 2))
    assert more["knows_party"] + more["knows_candidate"] > one["knows_party"] + one["knows_candidate"]


def test_on_the_placebo_nobody_comes_to_know_whatever_faculties_there_are():
    found = [mean(arm, "scripted", over=(0,)) for arm in ARMS]
    assert all(one["knows_party"] == one["knows_candidate"] == 0.0 for one in found)
    assert min(one["made_up"] for one in found) > 0.3, "it answers by lot, and is found out"
    assert found[0]["came"] == found[1]["came"]


def test_hours_that_are_passed_on_wrong_are_answers_that_are_made_up():
    assert mean("full", over=(0,), slip=0.0)["made_up"] == 0.0
    assert mean("full", over=(0,), slip=0.5)["made_up"] > 0.05


def test_a_master_refuses_what_cannot_be_and_without_the_check_states_conflict():
    checked, anyhow = (mean("full", over=(0,), master=True, plausible=one) for one in (True, False))
    assert checked["refused"] > 50
    assert checked["conflicts"] == 0.0
    assert anyhow["conflicts"] > 50
    assert anyhow["refused"] == 0.0


def facts(**more: Any) -> dict[str, Any]:
    usual = [{"start": 8, "end": 24, "what": "rest", "where": "Park"}]
    return {
        "aim": "", "heard": "nothing", "remembered": [], "usual": usual, "weekday": "Tuesday", "hour": 16,
        "place": "Park", "partner": "Ben Reed", "sociable": 0.9, "talkative": 1.0, "slip": 0.0, **more,
    }  # fmt: skip


PARTY = rules.TEXTS["party"].format(name="Ada Moss", hour=17)
DRAW = Stream(1, 0, 0, "rule")


def test_the_rules_go_by_what_comes_to_mind_or_was_just_heard_and_by_nothing_else():
    told = {"remembered": [f"Eva Lund told me: {PARTY}"]}
    heard = {"heard": fence(PARTY, "Eva Lund")}
    for known in (told, heard, {"aim": PARTY}):
        assert rules.say(facts(**known), DRAW) == PARTY
        assert rules.plan(facts(**known), DRAW).steps[-1] == rules.Slot(17, 19, "party", "Barn")
        assert rules.go(facts(**known, hour=17), DRAW).where == "Barn"
        assert rules.interview(facts(**known, question="Is there a party?"), DRAW).knows
    assert rules.say(facts(), DRAW) == "Nice to see you at the Park."
    assert not rules.interview(facts(question="Is there a party?"), DRAW).knows
    assert rules.go(facts(**told, hour=16), DRAW).where == "Park"
    assert rules.go(facts(**told, hour=17, weekday="Monday"), DRAW).where == "Park"
    assert rules.go(facts(**told, hour=17, sociable=0.2), DRAW).where == "Park"
    assert len(rules.plan(facts(**told, sociable=0.2), DRAW).steps) == 1


def test_plans_leave_out_steps_that_cannot_be_and_names_have_an_id():
    steps = [rules.Slot(8, 24, "work", "College"), rules.Slot(17, 19, "party", "Barn"), rules.Slot(9, 8, "x", "Park")]
    steps.append(rules.Slot(10, 11, "x", "Moon"))
    plan = plan_of(rules.Day(steps))
    assert [(one.start, one.end, one.where) for one in plan.steps] == [
        (8, 17, "College"), (17, 19, "Barn"), (19, 24, "College"),
    ]  # fmt: skip
    assert [id_of(name_of(at)) for at in (0, 24, 25, 80)] == [0, 24, 25, 80]
    assert len({name_of(at) for at in range(200)}) == 200
