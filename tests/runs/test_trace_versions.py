"""A run keeps its trace version for life: resume, replay and fork compute what it began with."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from support.attempts import TICKS, go
from support.running import SOCIETIES, settings_of

from populace.cluster.job import Job
from populace.cluster.local import LocalTransport
from populace.core.errors import SettingsError
from populace.core.trace import TRACE_VERSION
from populace.data.societies import find_society
from populace.runs.courses import Going, fork_course, replay_course, resume_course
from populace.store.folder import RUN_FILE, Course, read_run_file, run_file
from populace.store.manifest import read_manifest


@pytest.fixture
def computed(monkeypatch) -> list[tuple[int, int, int]]:
    """The version of each job that is started, of its world and of its first shard."""
    versions: list[tuple[int, int, int]] = []
    start = LocalTransport.start

    async def started(self: LocalTransport, job: Job):
        opened = await start(self, job)
        versions.append(
            (job.trace_version, self._world.environment.trace_version, self.hosts[0].shard.plan.trace_version)
        )
        return opened

    monkeypatch.setattr(LocalTransport, "start", started)
    return versions


def make_old(folder: Path) -> None:
    """As a populace that knew of no versions would have left it."""
    path = folder / RUN_FILE
    held = msgspec.json.decode(path.read_bytes())
    del held["trace_version"]
    path.write_bytes(msgspec.json.encode(held))


def test_a_new_run_is_of_the_newest_version_and_says_so(tmp_path, computed):
    manifest = go(tmp_path, ticks=2)
    assert manifest["trace_version"] == read_run_file(tmp_path).trace_version == TRACE_VERSION
    assert computed == [(TRACE_VERSION,) * 3]


def test_a_file_that_says_no_version_is_of_version_1(tmp_path):
    go(tmp_path, ticks=1)
    make_old(tmp_path)
    assert read_run_file(tmp_path).trace_version == 1


def test_resume_replay_and_fork_compute_the_version_that_the_run_began_with(tmp_path, computed):
    run = tmp_path / "run"
    origin, settings = find_society(SOCIETIES), settings_of(ticks=TICKS, checkpoint__every_ticks=2)
    old = Course(file=run_file(origin, settings, trace_version=1))
    assert go(run, stop_at=3, going=Going(origin, settings, old)) is None
    make_old(run)
    computed.clear()
    go(run, going=resume_course(run))
    go(tmp_path / "replayed", going=replay_course(run))
    go(tmp_path / "fork", going=fork_course(run, 1))
    go(tmp_path / "second", going=fork_course(tmp_path / "fork", 1))
    assert computed == [(1, 1, 1)] * 4
    for folder in (run, tmp_path / "fork", tmp_path / "second"):
        assert read_manifest(folder)["trace_version"] == 1
    assert read_run_file(tmp_path / "second").trace_version == 1


def test_a_version_that_this_populace_does_not_compute_is_refused_with_what_does(tmp_path):
    go(tmp_path, ticks=1)
    path = tmp_path / RUN_FILE
    held = msgspec.json.decode(path.read_bytes())
    path.write_bytes(msgspec.json.encode({**held, "trace_version": TRACE_VERSION + 1}))
    with pytest.raises(SettingsError, match=f"trace version {TRACE_VERSION + 1}.*Use the populace that began it"):
        read_run_file(tmp_path)
