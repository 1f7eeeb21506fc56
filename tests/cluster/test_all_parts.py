"""Every part of the world in one society: the invariants of a run hold for all of them together."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support import all_parts
from support.attempts import Stopper, go, same_tables
from support.command import populace
from support.killing import armed_scenario, set_trap
from support.running import Shuffled, run_local, settings_of, wrap_gateways

from populace.cluster.coordinator import Coordinator
from populace.core.errors import Interrupted, ScenarioError
from populace.data.societies import find_society
from populace.env import Bargain, Cases, City, Directory, Economy, Games, Master, Network, OrderBook, Platform, Talk
from populace.env import Tools as Desks
from populace.env.part import Part
from populace.interventions.levers import parse_lever
from populace.kernel import environment, trial
from populace.runs.courses import fork_course, replay_course, resume_course
from populace.runs.replay import replay_run
from populace.store.manifest import read_manifest
from populace.store.tables.tables import read_table

SOCIETY = str(all_parts.__file__)
LEVERS = [parse_lever(one) for one in all_parts.LEVERS]
MORE_TABLES = ("rounds", "levers", "turnover")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    return run_local(out, SOCIETY, levers=LEVERS), out


def same_run(out: Path, whole: tuple[dict[str, Any], Path]) -> None:
    """The hashes, the counts and the tables of the whole run."""
    manifest, there = read_manifest(out), whole[0]
    assert manifest["trace_hashes"] == there["trace_hashes"]
    assert manifest["world_hashes"] == there["world_hashes"]
    for key in ("messages", "asks", "actions", "rounds", "turns", "calls_billed", "tokens_in", "tokens_out"):
        assert manifest[key] == there[key], key
    same_tables(out, whole[1])
    for name in MORE_TABLES:
        assert read_table(out, name).equals(read_table(whole[1], name)), name


def leave_out(monkeypatch: pytest.MonkeyPatch, part: type[Part], key: str) -> None:
    """Have a part's `state` leave out a key, which `restore` then takes as the part has it."""
    state, restore = part.state, part.restore
    monkeypatch.setattr(part, "state", lambda self: {name: one for name, one in state(self).items() if name != key})
    monkeypatch.setattr(part, "restore", lambda self, kept: restore(self, state(self) | kept))
    monkeypatch.setattr(trial, "_check_code", lambda _: None)


def test_each_part_is_acted_on_and_each_lever_acts(whole):
    manifest, out = whole
    applied = {
        row["kind"].partition(".")[0] for row in read_table(out, "actions").to_pylist() if row["fate"] == "applied"
    }
    acted = {"network", "feed", "city", "economy", "directory", "book", "bargain", "game", "cases", "tools", "master"}
    assert applied == acted
    assert {row["part"] for row in read_table(out, "rounds").to_pylist()} == {"talk", "play"}
    assert {row["purpose"] for row in read_table(out, "asks").to_pylist()} == {
        "try",
        "speak",
        "resolve",
        "tell",
        "judge",
    }
    assert {row["what"] for row in read_table(out, "turnover").to_pylist()} == {"born", "left"}
    assert {row["lever"] for row in read_table(out, "levers").to_pylist()} == {"flagged", "jobless", "storm", "calm"}
    assert manifest["turns_failed"] == 0
    last: dict[str, float] = {}
    moved: set[str] = set()
    for row in read_table(out, "outcomes").to_pylist():
        if last.setdefault(row["name"], row["value"]) != row["value"]:
            moved.add(row["name"])
    assert moved == set(last), "each outcome is of a part that changes"


@pytest.mark.parametrize("shards", [2, 5])
def test_any_number_of_shards_gives_one_run(tmp_path, whole, shards):
    run_local(tmp_path, SOCIETY, levers=LEVERS, shards=shards)
    same_run(tmp_path, whole)


def test_any_order_of_answers_gives_one_run(tmp_path, whole, monkeypatch):
    wrap_gateways(monkeypatch, lambda gateway: Shuffled(gateway, 3))
    run_local(tmp_path, SOCIETY, levers=LEVERS, shards=3)
    same_run(tmp_path, whole)


@pytest.mark.parametrize(("tick", "shards", "later"), [(1, 1, 3), (3, 5, 2)])
def test_a_stopped_run_goes_on_on_other_shards(tmp_path, whole, tick, shards, later):
    assert go(tmp_path, stop_at=tick, scenario=SOCIETY, ticks=6, levers=LEVERS, shards=shards) is None
    go(tmp_path, going=resume_course(tmp_path, shards=later))
    same_run(tmp_path, whole)


def test_a_killed_run_goes_on_on_other_shards(tmp_path, whole):
    """Killed as the world has half of a tick's answers, a checkpoint of two ticks before behind it."""
    scenario = armed_scenario(tmp_path / "armed", "all_parts")
    set_trap(tmp_path / "armed", "committed", 31)  # eight a tick; the last two are of answers to the world
    out = tmp_path / "run"
    levers = [part for one in all_parts.LEVERS for part in ("--lever", one)]
    args = ("run", str(scenario), "--out", str(out), "--seed", "7", "--model", "scripted", "--quiet", *levers,
            "--set", "checkpoint.every_ticks=2")  # fmt: skip
    assert populace(*args, cwd=tmp_path).returncode == -9
    assert list((out / "checkpoints").iterdir())
    assert not (out / "manifest.json").exists()
    go(out, going=resume_course(out, shards=3))
    same_run(out, whole)


def test_a_fork_with_levers_on_every_part_is_the_run_with_them(tmp_path, whole):
    fork = go(tmp_path / "fork", going=fork_course(whole[1], 3, levers=all_parts.SETTINGS))
    assert fork["trace_hashes"][:3] == whole[0]["trace_hashes"][:3]
    assert fork["trace_hashes"][3] != whole[0]["trace_hashes"][3]
    levers = [*LEVERS, *(parse_lever(one) for one in all_parts.SETTINGS)]
    direct = run_local(tmp_path / "direct", SOCIETY, levers=levers, shards=3)
    assert direct["trace_hashes"] == fork["trace_hashes"]
    assert direct["world_hashes"] == fork["world_hashes"]


def test_a_replay_calls_nobody(tmp_path, whole, asked):
    replayed = replay_run(replay_course(whole[1], shards=3), whole[1], tmp_path)
    assert replayed.diverged is None
    assert asked == []
    manifest = read_manifest(tmp_path)
    assert manifest["world_hashes"] == whole[0]["world_hashes"]
    assert manifest["trace_hashes"] == whole[0]["trace_hashes"]


@pytest.mark.parametrize(
    ("part", "key"),
    [
        (Network, "targets"),
        (Platform, "platform"),
        (City, "people"),
        (Economy, "accounts"),
        (Directory, "listings"),
        (OrderBook, "book"),
        (Bargain, "offers"),
        (Games, "score"),
        (Talk, "lines"),
        (Cases, "work"),
        (Desks, "shared"),
        (Master, "done"),
    ],
)
def test_control_a_part_that_leaves_something_out_of_its_state_is_noticed(tmp_path, monkeypatch, part, key):
    leave_out(monkeypatch, part, key)
    with pytest.raises(ScenarioError, match=r"once (it|the part) is restored|another after `restore`|IndexError"):
        run_local(tmp_path, SOCIETY, ticks=2)


@pytest.mark.parametrize(("part", "key"), [(Bargain, "deals"), (Talk, "lines"), (Desks, "broken")])
def test_control_untried_parts_that_leave_something_out_go_on_otherwise(tmp_path, whole, monkeypatch, part, key):
    leave_out(monkeypatch, part, key)
    monkeypatch.setattr(environment, "try_world", lambda *_: None)
    go(tmp_path, stop_at=3, scenario=SOCIETY, ticks=6, levers=LEVERS)
    go(tmp_path, going=resume_course(tmp_path, shards=2))
    with pytest.raises(AssertionError):
        same_run(tmp_path, whole)


@pytest.mark.ray
def test_on_ray_as_in_one_process(tmp_path, ray_cluster, whole):
    from populace.cluster.ray import RayTransport

    options = settings_of(transport="ray", shards=2, levers=LEVERS)
    stopper = Stopper(3)
    first = Coordinator(find_society(SOCIETY), options, RayTransport(), tmp_path, [stopper])
    stopper.coordinator = first
    with pytest.raises(Interrupted):
        asyncio.run(first.run())
    going = resume_course(tmp_path, shards=2)
    asyncio.run(Coordinator(going.origin, going.settings, RayTransport(), tmp_path, [], going.course).run())
    same_run(tmp_path, whole)
