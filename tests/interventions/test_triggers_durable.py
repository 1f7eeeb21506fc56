"""Levers with triggers in runs that are ended, resumed, replayed, forked, and lose a shard; what would break that."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from support.attempts import go, same_tables
from support.births import __file__ as births
from support.running import run_local, settings_of
from support.triggers import ALL, WATCHED

import populace
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.errors import ActorLost, PopulaceError, SettingsError
from populace.data.societies import find_society
from populace.interventions.at_work import Levers
from populace.interventions.levers import parse_lever
from populace.interventions.triggers import Triggers
from populace.kernel.shard import Shard
from populace.kernel.snapshot import RunState
from populace.runs.courses import fork_course, replay_course, resume_course
from populace.runs.replay import replay_run
from populace.store.tables.tables import read_table

BIRTHS = str(births)
OF_BIRTHS = (
    'name="poor", when={agents={wealth={max=7}}}, again=2, change={group="matching", fields={wealth=8.0}}',
    (
        'name="wall", when={agents={sold={min=1}}, among={type="firm", share=0.7}}, lasts=2, again=2, '
        'block={sender="matching", receiver={type="household"}}'
    ),
    'name="note", when={agents={wealth={min=5}}}, again=1, send={to="matching", body="rich"}',
)


def read(*levers: str) -> dict[str, Any]:
    return {"levers": [parse_lever(one) for one in levers]}


def hashes(manifest: dict[str, Any]) -> tuple[Any, ...]:
    return manifest["trace_hashes"], manifest["world_hashes"], manifest["messages"], manifest["levers"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: Any) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("whole")
    return run_local(out, WATCHED, **read(*ALL)), out


@pytest.fixture(scope="module")
def born(tmp_path_factory: Any) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("born")
    return run_local(out, BIRTHS, **read(*OF_BIRTHS)), out


@pytest.mark.parametrize(("stop_at", "shards"), [(1, (1, 2)), (2, (2, 5)), (3, (5, 1)), (4, (1, 3)), (6, (3, 2))])
def test_ended_at_any_tick_and_resumed_on_another_number_of_shards(whole, tmp_path, stop_at, shards):
    manifest, out = whole
    options = {"scenario": WATCHED, "shards": shards[0], "checkpoint__every_ticks": 1 + stop_at % 2, **read(*ALL)}
    assert go(tmp_path, stop_at=stop_at, **options) is None
    assert hashes(go(tmp_path, going=resume_course(tmp_path, shards=shards[1]))) == hashes(manifest)
    same_tables(tmp_path, out)
    assert read_table(tmp_path, "levers").equals(read_table(out, "levers"))


@pytest.mark.parametrize(("stop_at", "shards"), [(None, (3,)), (3, (2, 3)), (5, (3, 2))])
def test_with_births_exits_and_types(born, tmp_path, stop_at, shards):
    manifest, out = born
    touched = {one["lever"]: one["agents_touched"] for one in manifest["levers"]}
    assert min(touched.values()) > 0
    newborn = set(read_table(out, "turnover").to_pandas().query("what == 'born'").agent)
    assert newborn & set(read_table(out, "levers").to_pandas().query("why.notnull()").agent), "a newborn meets one"
    found = go(tmp_path, stop_at=stop_at, scenario=BIRTHS, shards=shards[0], **read(*OF_BIRTHS))
    if stop_at is not None:
        assert found is None
        found = go(tmp_path, going=resume_course(tmp_path, shards=shards[1]))
    assert hashes(found) == hashes(manifest)
    assert read_table(tmp_path, "levers").equals(read_table(out, "levers"))


class Losing(LocalTransport):
    """Loses its first shard once, as a tick is opened in which a block holds."""

    lost = False

    async def open_tick(self, shard: int, tick: int, envelope: Any) -> Any:
        if (shard, tick, self.lost) == (0, 5, False):
            self.lost = True
            raise ActorLost(["shard 0"], "shard 0 is lost")
        return await super().open_tick(shard, tick, envelope)


def test_a_run_that_goes_back_after_a_loss_is_the_same(whole, tmp_path):
    transport = Losing()
    settings = settings_of(shards=3, checkpoint__every_ticks=3, **read(*ALL))
    found = asyncio.run(Coordinator(find_society(WATCHED), settings, transport, tmp_path).run())
    assert transport.lost
    assert hashes(found) == hashes(whole[0])


def test_replay_takes_the_same_decisions(whole, tmp_path):
    assert replay_run(replay_course(whole[1]), whole[1], tmp_path / "again").diverged is None


def test_a_fork_with_another_trigger_is_the_run_that_had_it_from_the_start(whole, tmp_path):
    manifest, folder = whole
    other = 'name="other", when={agents={strikes={min=1}}}, lasts=1, again=2, block={sender="matching"}'
    forked = go(tmp_path / "forked", going=fork_course(folder, 4, levers=[other], shards=2))
    fresh = run_local(tmp_path / "fresh", WATCHED, **read(*ALL, f"at=4, {other}"))
    assert hashes(forked) == hashes(fresh)
    assert forked["trace_hashes"][:4] == manifest["trace_hashes"][:4]
    assert forked["trace_hashes"][4] != manifest["trace_hashes"][4]
    same = go(tmp_path / "same", going=fork_course(folder, 5))
    assert hashes(same) == hashes(manifest)
    with pytest.raises(SettingsError, match="levers: those before tick 4 cannot change in a fork"):
        fork_course(folder, 4, [f"levers=[{{{ALL[0].replace('min=2', 'min=3')}}}]"])
    with pytest.raises(SettingsError, match="acts in tick 3, and the fork begins at tick 4"):
        fork_course(folder, 4, levers=[f"at=3, {other}"])
    until_4 = ", ".join(f"{{until=4, {one}}}" for one in ALL)
    ended = go(tmp_path / "ended", going=fork_course(folder, 4, [f"levers=[{until_4}]"]))
    assert ended["trace_hashes"][:4] == manifest["trace_hashes"][:4]
    ticks = [row["tick"] for row in read_table(tmp_path / "ended", "levers").to_pylist() if row["why"]]
    assert max(ticks) < 4
    compared = populace.diff(folder, tmp_path / "ended")
    assert compared.parted_at == 4
    assert compared.first is not None
    assert compared.first.what == "lever"


def test_an_estimate_leaves_levers_out_and_says_so():
    settings = {"levers": [{"when": {"outcomes": {"posts": {"min": 1}}}, "set": {"society.transfer": 0.0}}]}
    assert "without the levers" in str(populace.estimate(WATCHED, model="scripted", scripted=True, settings=settings))


@pytest.mark.ray
def test_triggers_on_ray_fire_as_in_one_process(whole, tmp_path, ray_cluster):
    from populace.cluster.ray import RayTransport

    settings = settings_of(transport="ray", shards=2, **read(*ALL))
    found = asyncio.run(Coordinator(find_society(WATCHED), settings, RayTransport(), tmp_path).run())
    assert hashes(found) == hashes(whole[0])
    assert read_table(tmp_path, "levers").equals(read_table(whole[1], "levers"))


def test_control_a_shard_that_takes_its_own_decision_is_another_run(whole, tmp_path, monkeypatch):
    passing = Shard._pass_edge

    def alone(self: Shard, tick: int, edge: Any) -> Any:
        """A shard fires a lever only where agents of its own meet the condition."""
        here = [
            (place, until, [one for one in group if one % self.plan.shards == self.plan.index], other)
            for place, until, group, other in edge.fired
        ]
        return passing(self, tick, replace(edge, fired=[one for one in here if one[2]]))

    monkeypatch.setattr(Shard, "_pass_edge", alone)
    assert hashes(run_local(tmp_path / "one", WATCHED, **read(*ALL))) != hashes(whole[0]), "a set is of nobody"
    with pytest.raises((PopulaceError, AssertionError)):
        assert hashes(run_local(tmp_path / "two", WATCHED, shards=2, **read(*ALL))) == hashes(whole[0])


def _resumed(tmp_path: Path) -> dict[str, Any]:
    assert go(tmp_path, stop_at=3, scenario=WATCHED, shards=2, checkpoint__every_ticks=1, **read(*ALL)) is None
    found: dict[str, Any] = go(tmp_path, going=resume_course(tmp_path, shards=3))
    return found


FORGOTTEN = {
    "when each fired last": (Triggers, "restore", lambda self, state: None),
    "what holds still": (Levers, "restore", lambda self, state, tick, roster: None),
    "what shards were to be told": (RunState, "edge", property(lambda _: b"")),
}


@pytest.mark.parametrize("what", FORGOTTEN)
def test_control_what_is_forgotten_at_a_resume_is_seen(whole, tmp_path, monkeypatch, what):
    assert hashes(_resumed(tmp_path / "whole")) == hashes(whole[0])
    owner, name, broken = FORGOTTEN[what]
    monkeypatch.setattr(owner, name, broken)
    with pytest.raises((PopulaceError, AssertionError)):
        assert hashes(_resumed(tmp_path / "broken")) == hashes(whole[0])


def test_control_a_trigger_that_is_not_in_the_digest_is_seen(tmp_path, monkeypatch):
    quiet = "when={outcomes={posts={min=30}}}, set={society.size=20}"
    plain = run_local(tmp_path / "plain", WATCHED)
    assert hashes(run_local(tmp_path / "sealed", WATCHED, **read(quiet)))[0] != hashes(plain)[0]
    monkeypatch.setattr(Levers, "seal", lambda self, tick: b"")
    assert hashes(run_local(tmp_path / "unsealed", WATCHED, **read(quiet)))[0] == hashes(plain)[0]
