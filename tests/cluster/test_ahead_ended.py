"""Turns that begin before their tick is open, where interactions end the run or a lever's trigger holds for a while."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.attempts import Counting, go, same_tables
from support.running import wrap_gateways
from support.turns_ahead import Straggling, alike, noted_ahead

from populace.core.errors import TransportError
from populace.interventions import at_work
from populace.kernel.ahead import Ahead
from populace.kernel.barrier import Barrier
from populace.models.protocol import Pressure
from populace.store.tables.tables import read_table

NEIGHBOURS = str(Path(__file__).parent.parent / "support" / "neighbours.py")
UNTIL = 330
TRIGGER = {"name": "loud", "at": 3, "until": 6, "when": {"agents": {"mood": {"min": 0.6}}}, "again": 2, "lasts": 2,
           "block": {"sender": "matching"}}  # fmt: skip


class Late(Straggling):
    """What is kept back is in flight."""

    def pressure(self) -> Pressure:
        pressure = super().pressure()
        pressure.in_flight += len(self.late)
        return pressure


class Called(Counting):
    """Notes the asks for which the model was called."""

    def offer(self, asks: Any, deliver: Any) -> None:
        def delivered(answers: Any) -> None:
            self.asked.extend((one.agent, one.tick, one.nth) for one in answers if one.calls)
            deliver(answers)

        self.inner.offer(asks, delivered)


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """What the model was called for, some of it late: (agent, tick, nth)."""
    found: list[tuple[int, int, int]] = []
    wrap_gateways(monkeypatch, lambda gateway: Late(Called(gateway, found)))
    return found


@pytest.fixture
def ran_ahead(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return noted_ahead(monkeypatch)


def run(out: Path, **options: Any) -> dict[str, Any]:
    manifest = go(out, scenario=NEIGHBOURS, **options)
    assert manifest is not None
    assert manifest["status"] == "complete"
    return manifest


@pytest.fixture(scope="module")
def until(tmp_path_factory: Any) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("until")
    manifest = run(out, ticks=40, until_interactions=UNTIL, limits__ticks_ahead=0)
    assert 6 < manifest["ticks"] < 40
    return manifest, out


@pytest.fixture(scope="module")
def triggered(tmp_path_factory: Any) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("triggered")
    return run(out, ticks=12, levers=[TRIGGER], limits__ticks_ahead=0), out


@pytest.mark.parametrize("shards", [1, 2])
def test_a_run_that_interactions_end_is_what_it_is_tick_by_tick(
    tmp_path: Path, until: Any, ran_ahead: list[int], asked: list[Any], shards: int
) -> None:
    manifest, folder = until
    found = run(tmp_path, ticks=40, until_interactions=UNTIL, shards=shards)
    alike(found, manifest)
    same_tables(tmp_path, folder)
    assert found["calls_billed"] == manifest["calls_billed"] == len(asked)
    assert len(ran_ahead) > 20
    assert max(one[1] for one in asked) < manifest["ticks"], "nobody asked anything in a tick that never came"


@pytest.mark.parametrize("shards", [1, 2])
def test_what_is_asked_after_the_last_tick_is_paid_for_and_leaves_no_trace(
    tmp_path: Path, until: Any, monkeypatch: pytest.MonkeyPatch, asked: list[Any], shards: int
) -> None:
    """As where interactions come faster than twice the busiest tick's: here nobody looks at their pace."""
    manifest, folder = until
    monkeypatch.setattr(Barrier, "_last_to_come", lambda _: None)
    found = run(tmp_path, ticks=40, until_interactions=UNTIL, shards=shards)
    assert max(one[1] for one in asked) >= manifest["ticks"], "the test above has turns that it could find"
    alike(found, manifest)
    same_tables(tmp_path, folder)
    assert found["calls_billed"] == len(asked) > manifest["calls_billed"]


def test_control_turns_past_the_end_that_nobody_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[Any]
) -> None:
    drop = Ahead.drop
    monkeypatch.setattr(Barrier, "_last_to_come", lambda _: None)
    monkeypatch.setattr(Ahead, "drop", lambda self: type(drop(self))())
    assert run(tmp_path, ticks=40, until_interactions=UNTIL)["calls_billed"] < len(asked)


@pytest.mark.parametrize("shards", [1, 2])
def test_turns_begin_early_again_after_the_ticks_of_a_trigger(
    tmp_path: Path, triggered: Any, ran_ahead: list[int], shards: int
) -> None:
    manifest, folder = triggered
    assert len(set(read_table(folder, "levers").column("tick").to_pylist())) > 1, "it fires, and more than once"
    alike(run(tmp_path, ticks=12, levers=[TRIGGER], shards=shards), manifest)
    same_tables(tmp_path, folder)
    assert len(ran_ahead) > 20


def test_control_turns_that_pass_a_trigger_before_it_is_read(
    tmp_path: Path, triggered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(at_work, "_may_fire", lambda *_: False)
    try:
        other = run(tmp_path, ticks=12, levers=[TRIGGER])
    except TransportError:  # it began before it could know
        return
    assert other["trace_hash"] != triggered[0]["trace_hash"]


@pytest.mark.ray
def test_both_are_the_same_on_ray(tmp_path: Path, until: Any, triggered: Any, ray_cluster: Any) -> None:
    from populace.cluster.ray import RayTransport

    late = {"model__latency__median_s": 0.01, "model__latency__sigma": 1.0, "shards": 2}
    found = run(tmp_path / "until", ticks=40, until_interactions=UNTIL, transport=RayTransport(), **late)
    alike(found, until[0])
    assert found["calls_billed"] == until[0]["calls_billed"], "nobody asked anything in a tick that never came"
    same_tables(tmp_path / "until", until[1])
    alike(run(tmp_path / "triggered", ticks=12, levers=[TRIGGER], transport=RayTransport(), **late), triggered[0])
    same_tables(tmp_path / "triggered", triggered[1])
