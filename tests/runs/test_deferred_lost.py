"""Asks in batches of runs whose machine or actors are lost: another machine with the folder's mirror, shards on Ray."""
# ruff: noqa: F811

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from support import on_ray_alone
from support.chaos import Command, run_here, watched_transport
from support.deferring import ASKERS, Killing, arguments, options
from support.mirrored import remote, s3_environment, server  # noqa: F401 - fixtures
from support.running import settings_of

from populace.cluster.coordinator import Coordinator
from populace.core.errors import StorageError
from populace.data.societies import find_society
from populace.store.journal import batches
from populace.store.journal.batches import KeptBatches
from populace.store.manifest import read_manifest
from populace.store.remote.lease import OWNER
from populace.store.remote.mirror import Mirror, journal_place
from populace.store.remote.objects import ObjectStore
from populace.testing.batch_server import BatchAct, BatchEndpoint

pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def directly(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The run that all others must come to."""
    with BatchEndpoint() as endpoint:
        return run_here(tmp_path_factory.mktemp("directly") / "run", ASKERS, **options(endpoint, batches=False))


def paid_in(endpoint: BatchEndpoint) -> list[int]:
    """How often calls were paid for, once all batches that are out are done."""
    for batch in endpoint.batches:
        endpoint._shown(batch)
    return sorted(set(endpoint.paid.values()))


class Machines:
    """Each has a cache of its own; what one that is lost had is gone with it."""

    def __init__(self, remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.remote, self.folder, self.number = remote, tmp_path, 0
        self._monkeypatch = monkeypatch
        self._use()

    def _use(self) -> None:
        self._monkeypatch.setenv("POPULACE_CACHE", str(self.folder / f"machine{self.number}"))

    def lose(self) -> None:
        shutil.rmtree(self.folder / f"machine{self.number}")
        self.number += 1
        self._use()
        Mirror(self.remote).store.delete([OWNER])  # as somebody who knows may do, to spare the wait for the lease


MOMENTS = ["uploaded", "created", "polled", "fetching"]


def test_on_another_machine_each_time_every_ask_is_paid_for_once(
    remote: str, tmp_path: Path, directly: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    killing, machines = Killing(), Machines(remote, tmp_path, monkeypatch)
    with BatchEndpoint(passing=killing, usual=BatchAct(takes_s=0.3)) as endpoint:
        args = ["run", ASKERS, "--out", remote, "--seed", "7"]
        args += arguments(endpoint, shards=2, endpoint__timeout_s=1.0)
        for moment in MOMENTS:
            killing.moment = moment
            killing.victim = Command(*args, cwd=tmp_path)
            assert killing.victim.wait() == -signal.SIGKILL, (moment, killing.victim.out, *killing.victim.errors)
            machines.lose()
            args = ["resume", remote]
        killing.victim = None
        last = Command(*args, cwd=tmp_path)
        assert last.wait() == 0, last.errors
        assert paid_in(endpoint) == [1]
        assert len(endpoint.paid) == 24
    Mirror(remote, tmp_path / "copy").pull()
    manifest = read_manifest(tmp_path / "copy")
    assert 1 <= manifest["attempt"] <= len(MOMENTS), "one that has put nothing into the store leaves no number"
    assert manifest["trace_hashes"] == directly["trace_hashes"]
    assert manifest["calls_billed"] == 24


def test_control_without_what_was_uploaded_of_batches_they_are_paid_for_twice(
    remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killing, machines = Killing(), Machines(remote, tmp_path, monkeypatch)
    with BatchEndpoint(passing=killing, usual=BatchAct(takes_s=0.3)) as endpoint:
        killing.moment = "polled"
        killing.victim = Command("run", ASKERS, "--out", remote, "--seed", "7", *arguments(endpoint), cwd=tmp_path)
        assert killing.victim.wait() == -signal.SIGKILL, killing.victim.errors
        machines.lose()
        store = Mirror(remote).store
        known = [name for name in store.list() if name.endswith(".batches")]
        assert known == ["journal/s0000-a0000.batches"]
        store.delete(known)
        killing.victim = None
        last = Command("resume", remote, cwd=tmp_path)
        assert last.wait() == 0, last.errors
        assert paid_in(endpoint) == [1, 2]


def test_a_record_in_a_store_goes_on_in_parts_and_counts_once_it_is_there(
    remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = Machines(remote, tmp_path, monkeypatch)
    monkeypatch.setattr(batches, "REMOTE_PART_BYTES", 200)
    log, entries = KeptBatches(journal_place(remote), run="r", shard=0, attempt=0), [b"%03d" % n * 20 for n in range(9)]
    for entry in entries:
        log.put(entry)
    machines.lose()
    assert KeptBatches(journal_place(remote), run="r", shard=1, attempt=1).read() == entries
    assert len([name for name in Mirror(remote).store.list() if name.endswith(".batches")]) > 2
    put = ObjectStore.put
    monkeypatch.setattr(ObjectStore, "put", lambda *_: (_ for _ in ()).throw(StorageError("the store is away")))
    later = KeptBatches(journal_place(remote), run="r", shard=1, attempt=1)
    with pytest.raises(StorageError, match="the store is away"):
        later.put(b"x")
    monkeypatch.setattr(ObjectStore, "put", put)
    with pytest.raises(StorageError, match="the store is away"):
        later.put(b"y")  # a failure is final
    assert Mirror(remote).push(only=("journal/*",)).uploaded == ()


class KillingActors:
    """Kills an actor on Ray as the endpoint passes a moment, one of `deaths` after the other: (moment, who)."""

    def __init__(self, deaths: list[tuple[str, str]]) -> None:
        self.deaths = deaths
        self.transport = watched_transport()
        self.killed: list[int] = []

    def __call__(self, what: str) -> None:
        if self.deaths and what == self.deaths[0][0]:
            pid = self.transport.known.get(self.deaths[0][1])
            if pid is not None and pid not in self.killed:
                self.deaths.pop(0)
                self.killed.append(pid)
                os.kill(pid, signal.SIGKILL)


@pytest.mark.ray
@pytest.mark.parametrize("remembers", [True, False])
def test_shards_on_ray_that_are_killed_find_their_batches_again(
    tmp_path: Path, directly: dict[str, Any], ray_cluster: Any, monkeypatch: pytest.MonkeyPatch, remembers: bool
) -> None:
    deaths = [("created", "shard 0"), ("polled", "shard 1"), ("fetching", "shard 0"), ("polled", "the world")]
    killing, out = KillingActors(deaths), tmp_path / "run"

    start = killing.transport.start

    async def forgetting(job: Any) -> Any:
        for path in (out / "journal").glob("*.batches"):
            path.unlink()
        return await start(job)

    if not remembers:
        monkeypatch.setattr(killing.transport, "start", forgetting)
    with BatchEndpoint(passing=killing, usual=BatchAct(takes_s=0.6)) as endpoint:
        settings = settings_of(transport="ray", **options(endpoint, shards=2))
        coordinator = Coordinator(find_society(ASKERS), settings, killing.transport, out)
        manifest = asyncio.run(coordinator.run())
        assert killing.deaths == []
        assert endpoint.seen == []
        assert (max(paid_in(endpoint)) == 1) is remembers, "the control pays again for what it has forgotten"
    assert manifest["status"] == "complete"
    assert manifest["attempt"] >= 1, "deaths that come close together are one loss"
    assert manifest["trace_hashes"] == directly["trace_hashes"]
    if remembers:
        assert len(endpoint.paid) == manifest["calls_billed"] == 24


class KillingDrivers:
    """Kills the driver of a run on Ray as the endpoint passes a moment; what it leaves behind is ended with it."""

    def __init__(self) -> None:
        self.moment = ""
        self.process: Any = None

    def __call__(self, what: str) -> None:
        if what == self.moment and self.process is not None:
            self.moment = ""
            self.process.kill()


def on_ray_until_lost(
    endpoint: BatchEndpoint, killing: KillingDrivers, tmp_path: Path, remote: str, moments: list[str]
) -> list[str]:
    """A run on Ray whose folder is in a store and whose machine is lost at each of these moments; how it goes on."""
    args = ["run", ASKERS, "--out", remote, "--seed", "7", "--transport", "ray"]
    args += arguments(endpoint, shards=2, endpoint__timeout_s=1.0)
    cache = os.environ["POPULACE_CACHE"]
    for moment in moments:
        killing.moment = moment
        with on_ray_alone.begin(*args, cwd=tmp_path) as process:
            killing.process = process
            assert process.wait(timeout=400) == -signal.SIGKILL, (moment, on_ray_alone.said(tmp_path))
        on_ray_alone.end_those_with(cache)
        here = {path.suffix for path in Path(cache).rglob("*")}
        if args[0] == "run":  # a resume brings all there is in the store
            assert not here & {".journal", ".batches"}, (
                "what is asked is written where the shards are, and in the store"
            )
        shutil.rmtree(on_ray_alone.cache_of_shards(cache))
        shutil.rmtree(cache)
        Mirror(remote).store.delete([OWNER])
        args = ["resume", remote]
    killing.process = None
    return args


def finished_on_ray(tmp_path: Path, remote: str, args: list[str]) -> dict[str, Any]:
    """The manifest of a run that goes on to its end."""
    with on_ray_alone.begin(*args, cwd=tmp_path) as process:
        assert process.wait(timeout=400) == 0, on_ray_alone.said(tmp_path)
    Mirror(remote, tmp_path / "copy").pull()
    return read_manifest(tmp_path / "copy")


@pytest.mark.ray
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "moments",
    [["created", "polled"], pytest.param(["uploaded", "fetching"], marks=pytest.mark.chaos)],
)
def test_on_ray_with_the_folder_in_a_store_every_ask_is_paid_for_once_whatever_is_lost(
    remote: str, tmp_path: Path, directly: dict[str, Any], moments: list[str]
) -> None:
    """The driver is killed and its machine is lost with those of the shards, whose caches nobody else has."""
    killing = KillingDrivers()
    with BatchEndpoint(passing=killing, usual=BatchAct(takes_s=0.3)) as endpoint:
        args = on_ray_until_lost(endpoint, killing, tmp_path, remote, moments)
        manifest = finished_on_ray(tmp_path, remote, args)
        assert paid_in(endpoint) == [1]
        assert len(endpoint.paid) == 24
        assert endpoint.seen == []
    assert manifest["status"] == "complete"
    assert manifest["trace_hashes"] == directly["trace_hashes"]
    assert manifest["calls_billed"] == 24


@pytest.mark.ray
@pytest.mark.timeout(1800)
def test_control_on_ray_without_what_was_uploaded_of_batches_they_are_paid_for_twice(
    remote: str, tmp_path: Path
) -> None:
    killing = KillingDrivers()
    with BatchEndpoint(passing=killing, usual=BatchAct(takes_s=0.3)) as endpoint:
        args = on_ray_until_lost(endpoint, killing, tmp_path, remote, ["polled"])
        store = Mirror(remote).store
        known = [name for name in store.list() if name.endswith(".batches")]
        assert known
        store.delete(known)
        assert finished_on_ray(tmp_path, remote, args)["status"] == "complete"
        assert paid_in(endpoint) == [1, 2]
