"""Runs that ask two models by role: one trace whatever happens to them, and money that equals what each server billed.

Each with a control that breaks the property on purpose.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support import debate
from support.attempts import Stopper, go, same_tables
from support.misbehaving import Misbehaving
from support.running import Shuffled, run_local, settings_of, wrap_gateways

from populace.cluster.coordinator import Coordinator
from populace.core.errors import BudgetSpent
from populace.data.societies import find_society
from populace.models import by_role
from populace.monitoring.summary import summary_text
from populace.runs.costs import costs_of
from populace.runs.courses import fork_course, replay_course, resume_course
from populace.runs.replay import replay_run
from populace.store.manifest import read_manifest
from populace.store.tables.tables import read_table

DEBATE, UMPIRED = f"{debate.__file__}:society", f"{debate.__file__}:umpired"
ASKS = 7 * 5
PRICES = {
    "talker": {"usd_per_million_tokens_in": 1.0, "usd_per_million_tokens_out": 2.0},
    "arbiter": {"usd_per_million_tokens_in": 30.0, "usd_per_million_tokens_out": 60.0},
    "arbiter-2": {"usd_per_million_tokens_in": 10.0, "usd_per_million_tokens_out": 20.0},
}


@pytest.fixture
def talker():
    with Misbehaving(models=("talker",)) as server:
        yield server


@pytest.fixture
def arbiter():
    with Misbehaving(models=("arbiter", "arbiter-2")) as server:
        yield server


def two(talker: Misbehaving, arbiter: Misbehaving, **options: Any) -> dict[str, Any]:
    """The options of a run that asks both servers."""
    judge = {"name": "arbiter", "temperature": 0.0, "max_tokens": 50, "endpoint": {"base_url": arbiter.base_url}}
    return {
        "model__kind": "openai",
        "model__name": "talker",
        "model__roles": {"judge": judge},
        "endpoint__base_url": talker.base_url,
        "budget__prices": PRICES,
        **options,
    }


def check_money(manifest: dict[str, Any], talker: Misbehaving, arbiter: Misbehaving) -> None:
    """The manifest's figures by role are what each server has counted."""
    roles = manifest["asks"]["by_role"]
    for role, purpose, server in (("default", "say", talker), ("judge", "verdict", arbiter)):
        (spent,) = roles[role].values()
        assert roles[role].keys() == {purpose}
        billed = server.billed
        assert (spent["calls"], spent["tokens_in"], spent["tokens_out"]) == (
            billed.calls, billed.tokens_in, billed.tokens_out
        ), role  # fmt: skip
        price = PRICES[{"default": "talker", "judge": "arbiter"}[role]]
        usd = (
            billed.tokens_in * price["usd_per_million_tokens_in"]
            + billed.tokens_out * price["usd_per_million_tokens_out"]
        ) / 1e6
        assert spent["cost_usd"] == pytest.approx(usd)
    assert manifest["calls_billed"] == talker.billed.calls + arbiter.billed.calls
    assert manifest["cost_usd"] == pytest.approx(
        sum(one["cost_usd"] for parts in roles.values() for one in parts.values())
    )


def counted(value: Any) -> Any:
    """Counts as they are, and money without the last digits, which sums of floats in another order differ in."""
    if isinstance(value, dict):
        return {key: counted(one) for key, one in value.items()}
    return round(value, 9) if isinstance(value, float) else value


def test_invariant_1_one_trace_on_any_shards_and_each_server_is_paid_for_its_role(tmp_path, talker, arbiter):
    seen = []
    for shards in (1, 2, 5):
        for server in (talker, arbiter):
            server.billed.calls = server.billed.tokens_in = server.billed.tokens_out = 0
        manifest = run_local(tmp_path / str(shards), DEBATE, **two(talker, arbiter, shards=shards))
        check_money(manifest, talker, arbiter)
        seen.append((manifest["trace_hashes"], manifest["world_hashes"], counted(manifest["asks"])))
    assert seen[0] == seen[1] == seen[2]
    assert manifest["asks"]["answered"] == 2 * ASKS
    asked = {body["model"] for one in arbiter.seen if (body := one.body) is not None}
    assert asked == {"arbiter"}
    assert {(one.body["temperature"], one.body["max_tokens"]) for one in arbiter.seen} == {(0.0, 50)}
    assert {(one.body["temperature"], one.body["max_tokens"]) for one in talker.seen} == {(0.8, 200)}
    same_tables(tmp_path / "1", tmp_path / "5")
    asks = read_table(tmp_path / "5", "asks")
    assert Counter(zip(asks["purpose"].to_pylist(), asks["model_role"].to_pylist(), strict=True)) == {
        ("say", None): ASKS, ("verdict", "judge"): ASKS
    }  # fmt: skip
    assert manifest["roles"] == {
        "default": {"model": "talker", "answers": "openai", "set": True},
        "judge": {"model": "arbiter", "answers": "openai", "set": True},
    }
    said = summary_text(manifest, {}, tmp_path)
    assert "models: default talker: 35 asks, $" in said
    assert "; judge arbiter: 35 asks, $" in said


def test_parts_of_the_world_ask_by_role_and_all_lease_from_the_same_accounts(tmp_path, talker, arbiter):
    """Six dispatchers of three shards and the world on two accounts with limits: none is taken for another."""
    limits = {"endpoint__requests_per_minute": 60_000.0, "budget__tokens": 10**6, "ticks": 3}
    seen = []
    for shards in (1, 2, 3):
        for server in (talker, arbiter):
            server.billed.calls = server.billed.tokens_in = server.billed.tokens_out = 0
        manifest = run_local(tmp_path / str(shards), UMPIRED, **two(talker, arbiter, shards=shards, **limits))
        roles = manifest["asks"]["by_role"]
        assert {role: {name: one["calls"] for name, one in parts.items()} for role, parts in roles.items()} == {
            "default": {"say": 21, "umpire": 3}, "judge": {"verdict": 21, "umpire": 6}
        }  # fmt: skip
        assert (talker.billed.calls, arbiter.billed.calls) == (24, 27)
        booked = (
            talker.billed.tokens_in + talker.billed.tokens_out + arbiter.billed.tokens_in + arbiter.billed.tokens_out
        )
        assert manifest["booked"]["tokens"] == manifest["tokens_in"] + manifest["tokens_out"] == booked
        seen.append((manifest["trace_hashes"], manifest["world_hashes"], counted(manifest["asks"])))
    assert seen[0] == seen[1] == seen[2]


def test_control_a_router_that_hands_all_asks_to_one_gateway_is_found(tmp_path, talker, arbiter, monkeypatch):
    real = by_role.ByRole.__init__
    monkeypatch.setattr(by_role.ByRole, "__init__", lambda self, inner, _of: real(self, inner, {}))
    manifest = run_local(tmp_path, DEBATE, **two(talker, arbiter))
    with pytest.raises(AssertionError):
        check_money(manifest, talker, arbiter)


@pytest.mark.parametrize("shards", [1, 2, 5])
def test_invariant_1_answers_of_two_scripted_roles_in_any_order(tmp_path, monkeypatch, shards):
    roles = {"model__roles": {"judge": {"name": "arbiter"}}}
    whole = run_local(tmp_path / "whole", DEBATE, **roles)
    wrap_gateways(monkeypatch, lambda gateway: Shuffled(gateway, 3))
    again = run_local(tmp_path / "again", DEBATE, shards=shards, **roles)
    assert again["trace_hashes"] == whole["trace_hashes"]
    assert counted(again["asks"]) == counted(whole["asks"])
    other = run_local(tmp_path / "other", DEBATE, model__roles={"judge": {"name": "another"}})
    assert other["trace_hashes"] != whole["trace_hashes"], "control: a role's model stands in the content keys"


def test_invariant_2_stopped_and_resumed_on_other_shards(tmp_path, talker, arbiter):
    whole = go(tmp_path / "whole", scenario=DEBATE, **two(talker, arbiter, shards=2, ticks=6))
    for server in (talker, arbiter):
        server.billed.calls = server.billed.tokens_in = server.billed.tokens_out = 0
    options = two(talker, arbiter, shards=2, ticks=6, checkpoint__every_ticks=2)
    assert go(tmp_path / "run", scenario=DEBATE, stop_at=3, **options) is None
    early = read_manifest(tmp_path / "run")
    check_money(early, talker, arbiter)
    manifest = go(tmp_path / "run", going=resume_course(tmp_path / "run", shards=5))
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    assert counted(manifest["asks"]) == counted(whole["asks"])
    check_money(manifest, talker, arbiter)
    assert talker.billed.calls == arbiter.billed.calls == 42, "nothing was asked twice"


def test_invariant_3_a_replay_asks_neither(tmp_path, talker, arbiter):
    run_local(tmp_path / "run", DEBATE, **two(talker, arbiter))
    before = len(talker.seen), len(arbiter.seen)
    replayed = replay_run(replay_course(tmp_path / "run"), tmp_path / "run", tmp_path / "again")
    assert replayed.diverged is None
    assert (len(talker.seen), len(arbiter.seen)) == before


def test_invariant_4_a_fork_with_another_model_for_a_role_asks_that_one_alone(tmp_path, talker, arbiter):
    whole = go(tmp_path / "run", scenario=DEBATE, **two(talker, arbiter, ticks=5))
    before = len(talker.seen), len(arbiter.seen)
    same = go(tmp_path / "same", going=fork_course(tmp_path / "run", 2))
    assert same["trace_hashes"] == whole["trace_hashes"]
    assert (len(talker.seen), len(arbiter.seen)) == before, "a fork without a change asks nobody"
    changed = ["model.roles.judge.name=arbiter-2"]
    forked = go(tmp_path / "fork", going=fork_course(tmp_path / "run", 2, changed))
    assert forked["trace_hashes"][:2] == whole["trace_hashes"][:2]
    assert forked["trace_hashes"][2] != whole["trace_hashes"][2]
    assert len(talker.seen) == before[0]
    asked = [one.body["model"] for one in arbiter.seen[before[1] :]]
    assert asked == ["arbiter-2"] * 7 * 3
    assert forked["asks"]["by_role"]["judge"]["verdict"]["calls"] == 21
    # A fork of the fork keeps to the models of both pasts.
    again = go(tmp_path / "again", going=fork_course(tmp_path / "fork", 4))
    assert again["trace_hashes"] == forked["trace_hashes"]
    assert len(arbiter.seen) == before[1] + 21
    replayed = replay_run(replay_course(tmp_path / "fork"), tmp_path / "fork", tmp_path / "replay")
    assert replayed.diverged is None


def test_a_scripted_run_pays_nobody_whatever_a_roles_settings_say(tmp_path, talker, arbiter):
    judge = {"kind": "openai", "name": "arbiter", "endpoint": {"base_url": arbiter.base_url}}
    mixed = {"model__roles": {"judge": judge}, "budget__prices": PRICES}
    scripted = settings_of(**mixed)
    manifest = asyncio.run(Coordinator(find_society(DEBATE), scripted, _local(), tmp_path / "all").run())
    assert not arbiter.seen
    assert manifest["roles"]["judge"] == {"model": "arbiter", "answers": "placebo", "set": True}
    # `model.kind` as a setting is that of [model] alone: then the judge is a model, and only it is paid.
    talk = run_local(tmp_path / "one", DEBATE, model__kind=None, model={"kind": "scripted", "roles": {"judge": judge}})
    assert arbiter.billed.calls == ASKS
    assert talk["asks"]["by_role"]["judge"]["verdict"]["calls"] == ASKS
    assert talk["roles"]["default"]["answers"] == "placebo"
    said = summary_text(talk, {}, tmp_path)
    assert "this run is a placebo" in said


def test_a_role_that_no_setting_names_is_the_default_models_and_a_near_miss_is_told(tmp_path, talker):
    options = {"model__kind": "openai", "model__name": "talker", "endpoint__base_url": talker.base_url}
    bare = run_local(tmp_path / "bare", DEBATE, **options)
    assert bare["roles"]["judge"] == {"model": "talker", "answers": "openai", "set": False}
    assert talker.billed.calls == 2 * ASKS
    wrong = run_local(tmp_path / "wrong", DEBATE, **options, model__roles={"jugde": {"temperature": 0.5}})
    said = summary_text(wrong, {}, tmp_path)
    watching = Stopper(-1)
    run_local(tmp_path / "told", DEBATE, [watching], **options, model__roles={"jugde": {"temperature": 0.5}})
    assert [one for one in watching.notes if "'jugde'" in one] == [
        "The settings name no model role 'judge': the default model answered it. Is 'jugde' meant, which nobody asked?"
    ], "once, as the first tick ends"
    expected = "The settings name no model role 'judge': the default model answered it. Is 'jugde' meant, which nobody"
    assert expected in said
    assert wrong["trace_hashes"] == bare["trace_hashes"], "a role that nobody asks changes nothing"


def test_costs_are_told_by_purpose_and_role(tmp_path, talker, arbiter):
    manifest = run_local(tmp_path, DEBATE, **two(talker, arbiter))
    rows = {(one.purpose, one.model_role): one for one in costs_of([manifest])}
    assert rows.keys() == {("say", ""), ("verdict", "judge")}
    assert rows["verdict", "judge"].calls == arbiter.billed.calls
    assert sum(one.cost_usd for one in rows.values()) == pytest.approx(manifest["cost_usd"])
    del manifest["asks"]["by_role"]  # as an older populace wrote it
    assert {(one.purpose, one.model_role) for one in costs_of([manifest])} == {("say", ""), ("verdict", "")}


@pytest.mark.parametrize("shards", [1, 3])
def test_one_ceiling_holds_over_the_models_of_all_roles(tmp_path, talker, arbiter, shards):
    with pytest.raises(BudgetSpent):
        run_local(tmp_path, DEBATE, **two(talker, arbiter, shards=shards, budget__tokens=2500))
    billed = [server.billed.tokens_in + server.billed.tokens_out for server in (talker, arbiter)]
    manifest = read_manifest(tmp_path)
    assert manifest["tokens_in"] + manifest["tokens_out"] == sum(billed) <= 2500
    assert min(billed) > 0
    check_money(manifest, talker, arbiter)


def _local() -> Any:
    from populace.cluster.local import LocalTransport

    return LocalTransport()


def test_a_society_gives_its_agents_a_role_and_default_names_the_other(tmp_path):
    scenario = tmp_path / "mine.py"
    source = Path(str(debate.__file__)).read_text().partition("umpired =")[0]
    source = source.replace('model_role="judge")', 'model_role="default")')
    scenario.write_text(source.replace('name="debate",', 'name="debate", model_roles={"agent": "speaker"},'))
    manifest = run_local(tmp_path / "run", str(scenario), model__roles={"speaker": {"name": "orator"}})
    roles = manifest["asks"]["by_role"]
    assert {role: set(parts) for role, parts in roles.items()} == {"default": {"verdict"}, "speaker": {"say"}}
    assert manifest["roles"]["speaker"]["model"] == "orator"


@pytest.mark.parametrize("shards", [1, 3])
def test_each_type_of_agent_has_its_role_though_both_are_of_one_class(tmp_path, shards):
    scenario = tmp_path / "mine.py"
    source = Path(str(debate.__file__)).read_text().partition("society =")[0]
    source = source.replace('purpose="verdict", model_role="judge"', 'purpose="verdict"')
    types = "types={'user': Debater, 'moderator': Debater}, size={'user': 5, 'moderator': 2}, population=lambda _: {}"
    scenario.write_text(
        f"{source}society = Society(name='mine', {types}, ticks=3, model_roles={{'moderator': 'judge'}})\n"
    )
    run_local(tmp_path / "run", str(scenario), shards=shards, model__roles={"judge": {"name": "arbiter"}})
    asks = read_table(tmp_path / "run", "asks")
    asked = set(zip(asks["agent"].to_pylist(), asks["model_role"].to_pylist(), strict=True))
    assert asked == {*((user, None) for user in range(5)), (5, "judge"), (6, "judge")}
