"""Invariant 2 with real processes: kill -9 on shards, world, quota and driver, at calls drawn by seed.

Whatever dies, the run comes to the trace and the tables of an undisturbed one, and what is paid for twice was in flight
when a process died. `pytest -m chaos tests/cluster/test_kills.py -s` kills by fifty seeds, prints a table, and wants
runs to go on within seconds, which is for a machine with nothing else to do.
"""

from __future__ import annotations

import random
import shutil
from typing import Any

import msgspec
import psutil
import pytest
from support.attempts import go, same_tables
from support.chaos import Clock, Command, Provider, options_of, resume_here, run_here, run_on_ray
from support.running import SOCIETIES

from populace.core.errors import ActorLost, PopulaceError
from populace.store.journal.recording import Recording
from populace.store.manifest import read_manifest

BACK_S = 30.0
"""Under 10 s on a quiet machine."""
QUOTA = {"endpoint__requests_per_minute": 60_000.0}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The run that all others must come to, with how many calls it was billed."""
    out = tmp_path_factory.mktemp("undisturbed")
    with Provider() as provider:
        manifest = run_here(out, **options_of(provider))
        calls = provider.calls
        assert provider.twice() == []
    assert calls == manifest["calls_billed"] == manifest["asks"]["made"] > 200
    return manifest, out, calls


def judge(out, provider: Provider, undisturbed) -> None:
    """The property."""
    whole, folder, calls = undisturbed
    manifest = read_manifest(out)
    assert manifest["status"] == "complete"
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    assert manifest["world_hashes"] == whole["world_hashes"]
    for key in ("messages", "actions", "asks", "turns", "calls_billed", "tokens_in", "tokens_out"):
        assert manifest[key] == whole[key], key
    same_tables(out, folder)
    assert provider.planned == [], "not everybody died"
    assert provider.calls - calls == len(provider.twice()) <= sum(kill.slots for kill in provider.done)
    assert provider.far_from_a_kill() == [], "an answer that was there was paid for once more"


def actors_killed(out, ray_cluster, kills, **options: Any) -> tuple[Provider, float]:
    """A run on Ray whose processes are killed; seconds from a kill to the first new tick, at worst."""
    with Provider(kills) as provider:
        _, clock = run_on_ray(out, provider, **options_of(provider, **QUOTA, **options))
        return provider, max(clock.back_s(kill, provider.done) for kill in provider.done)


def driver_killed(out, kills, cwd, **env: str) -> tuple[Provider, float]:
    """A run by the command line whose driver is killed, and resumed by the command line until it is complete."""
    with Provider(kills) as provider:
        args = ["run", SOCIETIES, "--out", str(out), "--seed", "7", "--set", "limits.failed_turns=1.0"]
        args += ["--transport", "ray"] if env else []
        for key, value in options_of(provider).items():
            args += ["--set", f"{key.replace('__', '.')}={value}"]
        clock = Clock()
        while True:
            command = Command(*args, cwd=cwd, **env)
            command.clock.ticks = clock.ticks
            provider.victims = lambda _, pid=command.process.pid: ([pid], hosts_of(pid))
            code = command.wait()
            if code != -9:
                break
            args = ["resume", str(out)]
        assert code == 0, command.errors
        return provider, max(clock.back_s(kill, provider.done) for kill in provider.done)


def hosts_of(driver: int) -> list[int]:
    """Processes of actors: they end with their driver, a moment later."""
    named = ((one.pid, " ".join(one.info["cmdline"] or ())) for one in psutil.process_iter(["cmdline"]))
    return [pid for pid, line in named if "ray::ShardActor" in line and pid != driver]


@pytest.mark.ray
@pytest.mark.parametrize(
    "kills",
    [[(120, "shard 0"), (123, "shard 0")], [(90, "the world"), (200, "shard 1")], [(110, "the quota")]],
    ids=["a shard, twice in one tick", "the world, then a shard", "the quota"],
)
def test_invariant_2_a_run_whose_processes_are_killed_comes_to_the_same_end(tmp_path, ray_cluster, undisturbed, kills):
    provider, _ = actors_killed(tmp_path / "run", ray_cluster, kills)
    judge(tmp_path / "run", provider, undisturbed)
    manifest = read_manifest(tmp_path / "run")
    assert manifest["attempt"] == len(manifest["lost"]) == len(kills)
    if kills[0][1] == "shard 0":
        assert provider.done[0].tick == provider.done[1].tick
    if kills[0][1] == "the quota":
        assert provider.twice() == [], "no process died that had calls in flight"


def test_a_driver_that_is_killed_twice_is_resumed(tmp_path, undisturbed):
    provider, _ = driver_killed(tmp_path / "run", [(100, "the driver"), (180, "the driver")], tmp_path)
    judge(tmp_path / "run", provider, undisturbed)
    assert read_manifest(tmp_path / "run")["attempt"] == 2


@pytest.mark.ray
def test_the_third_death_of_a_shard_ends_the_run_and_it_can_be_resumed(tmp_path, ray_cluster, undisturbed):
    whole, folder, calls = undisturbed
    kills = [(nth, "shard 1") for nth in (60, 90, 120)]
    with Provider(kills) as provider:
        with pytest.raises(ActorLost, match="It is the third time") as ended:
            run_on_ray(tmp_path, provider, **options_of(provider))
        assert ended.value.exit_code == 5
        assert ended.value.names == ["shard 1"]
        assert str(ended.value).count("shard 1 was lost") == 4
        assert read_manifest(tmp_path)["status"] == "failed"
        manifest = resume_here(tmp_path, endpoint__base_url=provider.base_url)
        assert manifest["attempt"] == 3
        assert provider.calls - calls <= sum(kill.slots for kill in provider.done)
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    assert manifest["world_hashes"] == whole["world_hashes"]
    same_tables(tmp_path, folder)


def test_control_without_a_journal_much_more_is_paid_for_twice(tmp_path, undisturbed, monkeypatch):
    """The bound and the closeness to a kill both notice."""
    monkeypatch.setattr(Recording, "_find", lambda _self, _ask: (None, False))
    with Provider() as provider:
        options = options_of(provider, checkpoint__every_ticks=4)
        assert go(tmp_path, stop_at=3, **options) is None
        shutil.rmtree(tmp_path / "checkpoints")  # the interrupt saved the last whole tick
        resume_here(tmp_path)
        assert provider.calls - undisturbed[2] == len(provider.twice()) > 8
        provider.done = []
        assert len(provider.far_from_a_kill()) == len(provider.twice())


@pytest.mark.ray
def test_control_without_a_restore_the_run_is_another(tmp_path, ray_cluster, undisturbed, monkeypatch):
    """A recovery that makes the agents anew and gives them nothing of what they were."""
    from populace.cluster.ray import RayTransport

    real = RayTransport.restore

    async def forgetting(self, state):
        return await real(self, msgspec.structs.replace(state, agents={}))

    monkeypatch.setattr(RayTransport, "restore", forgetting)
    with Provider([(160, "shard 1")]) as provider:
        try:
            manifest, _ = run_on_ray(tmp_path, provider, **options_of(provider))
        except PopulaceError:
            return
    assert manifest["trace_hashes"] != undisturbed[0]["trace_hashes"]


KINDS = ("shard 0", "shard 1", "the world", "the quota", "the driver")


@pytest.mark.chaos
@pytest.mark.ray
@pytest.mark.timeout(3600)
def test_fifty_seeds(tmp_path, ray_cluster, undisturbed, capsys):
    """One or two kills a run, each of whom and when drawn; every fifth seed kills the driver, every tenth on Ray."""
    address = ray_cluster.get_runtime_context().gcs_address
    failed = []
    head = f"{'seed':>4} {'killed (at call, in tick)':<44} {'attempts':>8} {'billed':>6} {'twice':>5} {'in flight':>9}"
    rows = [f"{head} {'back s':>6} same"]
    for seed in range(50):
        draw = random.Random(seed)
        who = KINDS[seed % 5]
        kills = sorted((draw.randrange(5, 300), who) for _ in range(draw.choice((1, 1, 2))))
        if len(kills) == 2 and draw.random() < 0.5:
            kills[1] = (kills[0][0] + draw.randrange(1, 8), draw.choice(KINDS[:4]) if who != "the driver" else who)
        out = tmp_path / str(seed)
        if who == "the driver":
            env = {"RAY_ADDRESS": address} if seed % 2 else {}
            provider, back_s = driver_killed(out, kills, tmp_path, **env)
        else:
            provider, back_s = actors_killed(out, ray_cluster, kills)
        try:
            judge(out, provider, undisturbed)
            assert back_s <= BACK_S
            same = "yes"
        except AssertionError as error:
            same = f"NO: {error}"
            failed.append(seed)
        told = ", ".join(f"{kill.who} ({kill.nth}, {kill.tick})" for kill in provider.done)
        slots = sum(kill.slots for kill in provider.done)
        attempts = read_manifest(out)["attempt"] + 1
        rows.append(
            f"{seed:>4} {told:<44} {attempts:>8} {provider.calls:>6} {len(provider.twice()):>5} {slots:>9} "
            f"{back_s:>6.1f} {same}"
        )
        with capsys.disabled():
            print("\n" * (seed == 0) + "\n".join(rows))
        rows = []
    assert failed == []
