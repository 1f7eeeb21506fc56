"""Runs on a real Ray: the same trace as in one process, and clear ends."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from support import neighbours, theorists
from support.command import populace
from support.levers import ALL, RESIDENTS
from support.paging import controlling, paged, token_of
from support.running import SOCIETIES, run_local, settings_of

from populace.cluster.coordinator import Coordinator
from populace.core.errors import Interrupted, ScenarioError, TransportError
from populace.data.societies import find_society
from populace.interventions.levers import parse_lever
from populace.store.lock import held
from populace.store.manifest import read_manifest
from populace.store.tables.tables import read_table

THEORISTS = str(theorists.__file__)
NEIGHBOURS = str(neighbours.__file__)

pytestmark = pytest.mark.ray


def run_on_ray(out, scenario=SOCIETIES, observers=(), **options):
    from populace.cluster.ray import RayTransport

    settings = settings_of(transport="ray", **options)
    transport = RayTransport()
    coordinator = Coordinator(find_society(scenario), settings, transport, out, observers)
    return asyncio.run(coordinator.run())


@pytest.mark.parametrize("shards", [1, 2, 5])
def test_invariant_1_ray_gives_the_trace_of_one_process(tmp_path, ray_cluster, shards):
    here = run_local(tmp_path / "here")
    there = run_on_ray(tmp_path / "there", shards=shards)
    assert there["trace_hashes"] == here["trace_hashes"]
    assert there["world_hashes"] == here["world_hashes"]
    for key in ("messages", "asks", "actions", "turns", "turns_failed", "calls_billed"):
        assert there[key] == here[key], key
    for name in ("agents", "messages", "outcomes", "failures"):
        assert read_table(tmp_path / "here", name).equals(read_table(tmp_path / "there", name)), name


@pytest.mark.parametrize("shards", [1, 2])
def test_turns_begin_early_on_ray_and_the_run_is_that_of_one_process_tick_by_tick(tmp_path, ray_cluster, shards):
    latency = {"model__latency__median_s": 0.005, "model__latency__sigma": 1.0}
    here = run_local(tmp_path / "here", NEIGHBOURS, limits__ticks_ahead=0)
    there = run_on_ray(tmp_path / "there", NEIGHBOURS, shards=shards, checkpoint__every_ticks=3, **latency)
    assert there["trace_hashes"] == here["trace_hashes"]
    assert there["world_hashes"] == here["world_hashes"]
    for name in ("agents", "messages", "outcomes", "failures", "actions"):
        assert read_table(tmp_path / "here", name).equals(read_table(tmp_path / "there", name)), name


def test_polarization_runs_on_ray_unchanged(tmp_path, ray_cluster):
    here = run_local(tmp_path / "here", "polarization", agents=30, ticks=3)
    there = run_on_ray(tmp_path / "there", "polarization", agents=30, ticks=3, shards=2)
    assert there["trace_hash"] == here["trace_hash"]
    assert there["world_hash"] == here["world_hash"]


def test_levers_act_on_ray_as_in_one_process(tmp_path, ray_cluster):
    levers = [parse_lever(one) for one in ALL]
    here = run_local(tmp_path / "here", RESIDENTS, levers=levers)
    there = run_on_ray(tmp_path / "there", RESIDENTS, shards=2, levers=levers)
    assert there["trace_hashes"] == here["trace_hashes"]
    assert there["world_hashes"] == here["world_hashes"]
    assert there["levers"] == here["levers"]
    for name in ("agents", "messages", "outcomes", "levers"):
        assert read_table(tmp_path / "here", name).equals(read_table(tmp_path / "there", name)), name


@pytest.mark.chaos
def test_rules_answer_on_ray_as_in_one_process(tmp_path, ray_cluster):
    here = run_local(tmp_path / "here", THEORISTS, model__kind="rules")
    there = run_on_ray(tmp_path / "there", THEORISTS, shards=3, model__kind="rules")
    assert there["trace_hashes"] == here["trace_hashes"]
    assert there["asks"] == here["asks"]
    assert there["asks"]["answered"] > 0
    broken = tmp_path / "broken.py"
    broken.write_text(Path(THEORISTS).read_text().replace('return "yes" if', "return 1 / 0 if"))
    with pytest.raises(ScenarioError, match=r"broken\.py:\d+.*'vote'.*ZeroDivisionError"):
        run_on_ray(tmp_path / "out", str(broken), shards=2, model__kind="rules")


def test_a_lost_shard_ends_the_run_with_a_clear_error_and_its_tables(tmp_path, ray_cluster):
    """The shard's process is killed after its second tick."""
    from populace.cluster.ray import RayTransport

    class Killing(RayTransport):
        async def open_tick(self, shard, tick, *rest):
            if shard == 1 and tick == 2:
                ray_cluster.kill(self._shards[1])
            return await super().open_tick(shard, tick, *rest)

    settings = settings_of(transport="ray", shards=2, ticks=5)
    coordinator = Coordinator(find_society(SOCIETIES), settings, Killing(), tmp_path)
    with pytest.raises(TransportError, match="was lost"):
        asyncio.run(coordinator.run())
    manifest = read_manifest(tmp_path)
    assert manifest["status"] == "failed"
    assert manifest["ticks"] == 2
    assert read_table(tmp_path, "outcomes").num_rows == 2 * 3


def test_an_error_of_the_scenario_comes_out_of_ray_as_itself(tmp_path, ray_cluster):
    path = tmp_path / "broken.py"
    path.write_text(
        "from populace import *\n"
        "def people(setup): raise ValueError('no people here')\n"
        "class One(Agent):\n    async def turn(self, ctx): pass\n"
        "society = Society(name='broken', agent=One, population=people)\n"
    )
    with pytest.raises(ScenarioError, match="no people here"):
        run_on_ray(tmp_path / "out", str(path), shards=2)


def test_ray_address_is_honoured_and_that_ray_is_left_running(tmp_path, ray_cluster):
    """The command line in a process of its own joins the Ray that RAY_ADDRESS names."""
    address = ray_cluster.get_runtime_context().gcs_address
    args = ("run", SOCIETIES, "--model", "scripted", "--seed", "7", "--transport", "ray", "--shards", "2", "--out", "a")
    done = populace(*args, "--set", "limits.failed_turns=1.0", cwd=tmp_path, RAY_ADDRESS=address)
    assert done.returncode == 0, done.stderr
    assert read_manifest(tmp_path / "a")["trace_hash"] == run_local(tmp_path / "here")["trace_hash"]
    assert ray_cluster.cluster_resources()["CPU"] == 4.0, "another Ray would have this machine's CPUs"
    done = populace(*args[:-1], "b", cwd=tmp_path, RAY_ADDRESS="127.0.0.1:9")
    assert done.returncode == 5, done.stderr
    assert "RAY_ADDRESS=127.0.0.1:9" in done.stderr


STARTING = """
import subprocess, sys
import psutil
import ray
import populace

other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
populace.run("polarization", agents=2, ticks=1, model="scripted", transport="ray", shards=1, quiet=True, out="run")
try:
    ray.put("as a thread does that is late")
except ray.exceptions.RaySystemError:
    print("none")
print([one.pid for one in psutil.Process().children(recursive=True)] == [other.pid], other.poll())
other.communicate(b"")
"""


def test_a_ray_that_was_started_for_a_run_ends_with_it_and_no_other_child_of_the_process_does(tmp_path):
    env = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "RAY_ENABLE_AUTO_CONNECT")}
    done = subprocess.run(
        [sys.executable, "-c", STARTING],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["none", "True", "None"], "it starts no other, and all that is left is there before"


def test_all_hosts_that_reach_the_folder_write_their_pieces_and_no_other_does(tmp_path, ray_cluster, monkeypatch):
    """Of a folder that is another machine's, only the probe is missing."""
    from populace.store.checkpoint import reach
    from populace.store.folder import Store

    saved: list[list[int]] = []
    save, ask = Store.save, reach.ask

    def noted(self, state, world, pieces=()):
        saved.append([piece.author.shard for piece in pieces])
        here = set(world) != {"world"} or msgspec.msgpack.decode(world["world"].held[1]) != {}
        assert here == (len(pieces) < 3), "the world's state came here"
        save(self, state, world, pieces)

    monkeypatch.setattr(Store, "save", noted)
    near = run_on_ray(tmp_path / "near", shards=2, checkpoint__every_ticks=3)
    assert saved
    assert all(authors == [0, 1, 2] for authors in saved)
    saved.clear()

    def hidden(folder):
        probe = ask(folder)
        (folder / probe.name).unlink()
        return probe

    monkeypatch.setattr("populace.cluster.ray.ask", hidden)
    far = run_on_ray(tmp_path / "far", shards=2, checkpoint__every_ticks=3)
    assert saved
    assert not any(saved)
    assert near["trace_hashes"] == far["trace_hashes"]


class ByThePage:
    """Asks a run by the page's actions to pause as tick 2 ends, to go on once it has, and to end as tick 4 ends."""

    def __init__(self, serve) -> None:
        self.serve, self.page = serve, None
        self.statuses: list[int] = []

    def begin(self, *_: object) -> None: ...
    def end(self, *_: object) -> None: ...
    def pulse(self, _: object) -> None: ...

    def wish(self, wish: str) -> None:
        self.statuses.append(self.page.act("wish", token_of(self.page), wish=wish)[0])

    def note(self, text: str) -> None:
        if text.startswith("paused"):
            self.paused_at = self.page.get("overview")["paused_at"]
            self.wish("go")

    def tick(self, report) -> None:
        self.page = self.page or self.serve()
        if report.tick in (2, 4):
            self.wish({2: "pause", 4: "stop"}[report.tick])


def test_the_page_pauses_and_ends_a_run_on_ray_at_its_edges(tmp_path, ray_cluster):
    here = run_local(tmp_path / "here", ticks=6)
    with ExitStack() as stack:
        asking = ByThePage(lambda: stack.enter_context(paged(tmp_path / "there", controlling)))
        with held(tmp_path / "there"), pytest.raises(Interrupted, match="asked to end before tick 4"):
            run_on_ray(tmp_path / "there", shards=2, ticks=6, observers=[asking])
    assert set(asking.statuses) == {200}
    assert asking.paused_at == 2
    manifest = read_manifest(tmp_path / "there")
    assert [(one["wish"], one["tick"]) for one in manifest["controlled"]] == [("pause", 2), ("go", 2), ("stop", 4)]
    assert manifest["trace_hashes"] == here["trace_hashes"][:4]
