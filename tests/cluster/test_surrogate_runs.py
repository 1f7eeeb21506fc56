"""Runs in which surrogates answer: the invariants of a run hold with them, each with a control."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import deciders
from support.attempts import asked, go, same_tables
from support.killing import armed_scenario, set_trap
from support.running import Shuffled, wrap_gateways

import populace
from populace.core.errors import PopulaceError, SettingsError
from populace.kernel import surrogates
from populace.kernel.surrogates import Surrogates
from populace.monitoring.summary import summary_text
from populace.runs.courses import fork_course, replay_course, resume_course
from populace.runs.replay import replay_run
from populace.store.tables.tables import read_table
from populace.testing import check_society

__all__ = ["asked"]

DECIDERS = str(Path(deciders.__file__))
SMALL = {"sample": 60, "cell": 8, "audit": 0.3, "window": 60, "tolerance": 0.2, "alarm": 0.05}
RUN: dict[str, Any] = {"scenario": DECIDERS, "ticks": 14, "surrogate": SMALL}
LOUD = [{"at": 7, "set": {"society.tone": "loud"}}]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("deciders") / "whole"
    return go(out, **RUN), out


def same_run(manifest: dict[str, Any], whole: dict[str, Any]) -> None:
    for key in ("trace_hashes", "world_hashes", "messages", "asks", "turns", "calls_billed", "surrogates"):
        assert manifest[key] == whole[key], key


def told(out: Path) -> Any:
    return read_table(out, "surrogates").to_pandas()


def test_a_surrogate_saves_calls_and_every_ask_is_accounted_for(whole) -> None:
    manifest, out = whole
    rows, asks = told(out), read_table(out, "asks").to_pandas()
    assert set(zip(rows.type, rows.purpose, strict=True)) == {("agent", "decide")}
    by = asks[asks.purpose == "decide"].settled.value_counts()
    assert manifest["asks"]["surrogate"] == by["surrogate"] == rows.answered.sum() == manifest["surrogates"]["answered"]
    assert by["surrogate"] > by["answered"]
    assert manifest["calls_billed"] == manifest["asks"]["made"] - manifest["asks"]["surrogate"]
    assert not rows.trusted[0]
    assert rows.trusted.iloc[-1]
    assert 0 < manifest["surrogates"]["audits"] == rows.audits.sum() < by["answered"]
    assert abs(manifest["surrogates"]["excess_disagreement"]) < 0.15
    assert "disagreement beyond chance" in summary_text(manifest, {}, out)
    assert set(asks[asks.purpose == "mood"].settled) == {"answered", "abstained"}, "its mind is the model"
    given = asks[asks.settled == "surrogate"].answer
    assert {"yes", "no"} == {text.split('"')[3] for text in given}, "it draws from what it was fitted to"


@pytest.mark.parametrize(("shards", "order"), [(2, 1), (5, 2)])
def test_invariant_1_any_number_of_shards_and_order_of_answers(tmp_path, whole, monkeypatch, shards, order) -> None:
    wrap_gateways(monkeypatch, lambda gateway: Shuffled(gateway, order))
    same_run(go(tmp_path, shards=shards, **RUN), whole[0])
    same_tables(tmp_path, whole[1])
    assert told(tmp_path).equals(told(whole[1]))


def test_control_learning_in_the_order_of_arrival_is_another_run(tmp_path, whole, monkeypatch) -> None:
    """As five shards would report, one after another."""
    monkeypatch.setattr(surrogates, "in_order", lambda all_: sorted(all_, key=lambda one: (one.agent % 5, one.agent)))
    assert go(tmp_path, shards=5, **RUN)["trace_hashes"] != whole[0]["trace_hashes"]


@pytest.mark.parametrize(("stop_at", "before", "after"), [(2, 1, 3), (5, 3, 2), (9, 2, 1)])
def test_invariant_2_ended_and_resumed_nothing_is_asked_twice(whole, asked, tmp_path, stop_at, before, after) -> None:
    """Before it is trusted, soon after, and late."""
    assert go(tmp_path, stop_at=stop_at, shards=before, **RUN) is None
    same_run(go(tmp_path, going=resume_course(tmp_path, shards=after)), whole[0])
    same_tables(tmp_path, whole[1])
    assert len(asked) == len(set(asked)) == whole[0]["calls_billed"]


def test_control_a_resume_that_forgets_the_fit_is_another_run(whole, tmp_path, monkeypatch) -> None:
    assert go(tmp_path, stop_at=5, checkpoint__every_ticks=1, **RUN) is None
    monkeypatch.setattr(Surrogates, "restore", lambda self, state: None)
    try:
        found = go(tmp_path, going=resume_course(tmp_path))["trace_hashes"]
    except PopulaceError:
        found = []
    assert found != whole[0]["trace_hashes"]


def test_invariants_3_and_4_replayed_without_a_call_and_forked(whole, asked, tmp_path) -> None:
    assert replay_run(replay_course(whole[1], shards=3), whole[1], tmp_path / "replay").diverged is None
    assert go(tmp_path / "same", going=fork_course(whole[1], 7))["trace_hashes"] == whole[0]["trace_hashes"]
    assert asked == []
    loud = go(tmp_path / "loud", going=fork_course(whole[1], 9, ["society.tone=loud"]))
    assert loud["trace_hashes"][:9] == whole[0]["trace_hashes"][:9]
    assert {tick for _, tick, _ in asked} == set(range(9, 14)), "the past is paid for, and answered by the same fits"
    asked.clear()
    other = go(tmp_path / "other", going=fork_course(whole[1], 9, ["surrogate.audit=0.9"]))
    assert other["trace_hashes"][:9] == whole[0]["trace_hashes"][:9]
    rows = told(tmp_path / "other")
    assert rows[rows.tick == 8].trusted.item()
    assert not rows[rows.tick == 9].trusted.item(), "other terms begin anew"
    model = go(tmp_path / "model", going=fork_course(whole[1], 9, ["minds.agent=model"]))
    assert model["trace_hashes"][:9] == whole[0]["trace_hashes"][:9]
    assert told(tmp_path / "model").tick.max() == 8


def test_the_audit_withdraws_trust_once_the_model_answers_otherwise(tmp_path, asked) -> None:
    """Not seen by the facts: the model turns round behind them, as when a provider changes it."""
    source = Path(DECIDERS).read_text().replace('facts["tone"] == "loud"', "ask.tick >= 10")
    scenario = tmp_path / "mine.py"
    scenario.write_text(source)
    options = RUN | {"scenario": str(scenario), "ticks": 26}
    manifest = go(tmp_path / "run", **options)
    rows = told(tmp_path / "run")
    (first, *_) = rows[rows.alarms > 0].tick
    assert 10 <= first <= 20
    assert manifest["surrogates"]["alarms"] == rows.alarms.max() >= 1
    assert not rows[rows.tick == first].trusted.item()
    assert rows[rows.tick == first + 1].answered.item() == 0, "the model is asked again"
    assert "alarm" in summary_text(manifest, {}, tmp_path)
    again = go(tmp_path / "five", shards=5, **options)
    assert again["trace_hashes"] == manifest["trace_hashes"]


def test_control_without_audits_a_shift_is_not_seen(tmp_path) -> None:
    source = Path(DECIDERS).read_text().replace('facts["tone"] == "loud"', "ask.tick >= 10")
    scenario = tmp_path / "mine.py"
    scenario.write_text(source)
    blind = RUN | {"scenario": str(scenario), "ticks": 26, "surrogate": SMALL | {"audit": 1e-9}}
    manifest = go(tmp_path / "run", **blind)
    assert manifest["surrogates"]["alarms"] == manifest["surrogates"]["audits"] == 0


def test_a_lever_that_changes_facts_leaves_the_fit_and_the_model_is_asked(tmp_path) -> None:
    manifest = go(tmp_path, levers=LOUD, **RUN)
    asks = read_table(tmp_path, "asks").to_pandas()
    asks = asks[(asks.purpose == "decide") & (asks.tick == 7)]
    assert set(asks.settled) <= {"answered", "abstained"}, "a table covers no facts that it has not seen"
    assert manifest["surrogates"]["answered"] > 0


@pytest.mark.parametrize("kind", ["table", "logit"])
def test_check_society_with_every_invariant(kind) -> None:
    found = check_society(DECIDERS, ticks=8, seed=5, settings={f"surrogate.{key}": one for key, one in SMALL.items()}
                          | {"surrogate.kind": kind})  # fmt: skip
    assert found.asks > 150


def test_columnar_agents_have_no_surrogate(tmp_path) -> None:
    from support import voters

    with pytest.raises(SettingsError, match="agents in columns ask by archetype already"):
        go(tmp_path, scenario=str(voters.__file__), minds={"voter": "surrogate"})


@pytest.mark.ray
def test_invariant_1_on_ray(whole, ray_cluster, tmp_path) -> None:
    run = populace.run(DECIDERS, model="scripted", seed=7, ticks=14, shards=2, transport="ray", out=tmp_path / "run",
                       settings={f"surrogate.{key}": one for key, one in SMALL.items()}, quiet=True)  # fmt: skip
    same_run(run.manifest, whole[0])


@pytest.mark.ray
def test_invariant_2_a_shard_killed_on_ray_while_a_surrogate_answers(whole, ray_cluster, tmp_path) -> None:
    """SIGKILL of a shard's process as its answers are put on record, after the first fit."""
    scenario = armed_scenario(tmp_path / "armed", "deciders")
    set_trap(tmp_path / "armed", "committed", 9)
    chosen = {**{f"surrogate.{key}": one for key, one in SMALL.items()}, "checkpoint.every_ticks": 2}
    run = populace.run(scenario, model="scripted", seed=7, ticks=14, shards=2, transport="ray", out=tmp_path / "run",
                       settings=chosen, quiet=True)  # fmt: skip
    assert (tmp_path / "armed" / "committed.done").exists(), "nobody was killed"
    same_run(run.manifest, whole[0])
    same_tables(tmp_path / "run", whole[1])
