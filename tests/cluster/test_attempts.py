"""The lives of a run: one that failed in any way keeps what it had, and the next life begins with all of it."""

from __future__ import annotations

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from socket import gethostname

import pytest
from support.attempts import TICKS, go, same_tables
from support.command import Begun, populace

from populace.cluster.job import Job
from populace.cluster.local import LocalTransport
from populace.core.errors import DiskFull, ScenarioError, SettingsError, StorageError, TransportError
from populace.env import World
from populace.runs.courses import fork_course, recorded_hashes, resume_course
from populace.store.journal.write import next_attempt
from populace.store.lock import held
from populace.store.manifest import read_manifest
from populace.store.tables.tables import Tables


def failing(real, at: int, error: BaseException):
    """`real`, whose call number `at` fails."""
    calls = 0

    def call(*args, **options):
        nonlocal calls
        calls += 1
        if calls == at:
            raise error
        return real(*args, **options)

    return call


@pytest.mark.parametrize("error", [TypeError("a bug"), MemoryError("no room"), SystemExit(3)])
def test_a_run_that_fails_in_a_way_nobody_foresaw_is_not_complete_and_goes_on(
    tmp_path, reference, asked, monkeypatch, error
):
    """The world breaks in tick 5, with a checkpoint at 4: nothing of it is thrown away."""
    whole, folder = reference
    with monkeypatch.context() as broken:
        broken.setattr(World, "finish", failing(World.finish, 6, error))
        with pytest.raises(ScenarioError if isinstance(error, SystemExit) else type(error)):
            go(tmp_path, checkpoint__every_ticks=4)
    manifest = read_manifest(tmp_path)
    assert manifest["status"] == "failed"
    assert type(error).__name__ in manifest["error"]
    assert (tmp_path / "checkpoints").exists()
    manifest = go(tmp_path, going=resume_course(tmp_path))
    assert manifest["status"] == "complete"
    assert manifest["began_at_tick"] == 4
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    assert len(asked) == len(set(asked))
    same_tables(tmp_path, folder)


def test_a_resumed_run_cannot_do_without_its_journal(tmp_path, asked):
    """Else it would begin again, and pay for everything again."""
    assert go(tmp_path, stop_at=3) is None
    with pytest.raises(SettingsError, match="journal"):
        resume_course(tmp_path, ["journal=off"])


def test_a_fork_before_the_tick_at_which_its_parent_changed_models_follows_it(tmp_path, reference, asked):
    """The parent asked one model up to tick 5 and another from there on: so does a fork of it at any tick."""
    _, folder = reference
    parent = go(tmp_path / "parent", going=fork_course(folder, 5, ["model.name=another"]))
    for at_tick in (0, 3, 5, 6):
        asked.clear()
        manifest = go(tmp_path / str(at_tick), going=fork_course(tmp_path / "parent", at_tick))
        assert manifest["trace_hashes"] == parent["trace_hashes"], at_tick
        assert asked == []


def test_a_fork_may_change_models_before_its_parent_did(tmp_path, reference, asked):
    _, folder = reference
    parent = go(tmp_path / "parent", going=fork_course(folder, 5, ["model.name=another"]))
    asked.clear()
    manifest = go(tmp_path / "fork", going=fork_course(tmp_path / "parent", 3, ["model.name=third"]))
    assert manifest["trace_hashes"][:3] == parent["trace_hashes"][:3]
    assert {tick for _, tick, _ in asked} == set(range(3, TICKS))


def jobs_of(monkeypatch) -> list[Job]:
    """The jobs that are begun from here on."""
    begun: list[Job] = []
    start = LocalTransport.start

    async def noting(self, job):
        begun.append(job)
        return await start(self, job)

    monkeypatch.setattr(LocalTransport, "start", noting)
    return begun


def test_what_a_run_spent_is_counted_once_whatever_its_lives(tmp_path, monkeypatch, asked):
    """A third life: the checkpoint of the second tells what the first spent, and so does the first's journal."""
    budget = {"budget__tokens": 10**9, "checkpoint__every_ticks": 2}
    assert go(tmp_path, stop_at=3, **budget) is None
    assert go(tmp_path, stop_at=5, going=resume_course(tmp_path)) is None
    spent = read_manifest(tmp_path)
    begun = jobs_of(monkeypatch)
    go(tmp_path, going=resume_course(tmp_path))
    assert begun[0].attempt == 2
    assert begun[0].spent.tokens == spent["tokens_in"] + spent["tokens_out"] > 0


def test_a_resume_that_cannot_begin_leaves_what_is_known_of_the_run(tmp_path, reference, monkeypatch):
    """The manifest's figures and hashes are the run's, not those of a life that never was."""
    whole, _ = reference
    assert go(tmp_path, stop_at=5, checkpoint__every_ticks=4) is None
    before = read_manifest(tmp_path)

    async def refused(_self, _job):
        raise TransportError("nobody is there")

    with monkeypatch.context() as broken:
        broken.setattr(LocalTransport, "start", refused)
        with pytest.raises(TransportError):
            go(tmp_path, going=resume_course(tmp_path))
    after = read_manifest(tmp_path)
    assert (after["status"], after["error"]) == ("failed", "nobody is there")
    for key in ("trace_hashes", "trace_hash", "ticks", "tokens_in", "asks", "messages", "turns", "saved", "agents"):
        assert after[key] == before[key], key
    assert recorded_hashes(tmp_path) == whole["trace_hashes"][:5]
    assert go(tmp_path, going=resume_course(tmp_path))["trace_hashes"] == whole["trace_hashes"]


def test_tables_that_cannot_be_finished_fail_the_run_with_a_manifest(tmp_path, reference, monkeypatch):
    """The disk is full at the very end: the manifest says so, and the run can go on."""
    whole, folder = reference
    with monkeypatch.context() as broken:
        broken.setattr(Tables, "close", failing(Tables.close, 1, DiskFull("agents.parquet: no space left")))
        with pytest.raises(DiskFull):
            go(tmp_path, checkpoint__every_ticks=4)
    manifest = read_manifest(tmp_path)
    assert (manifest["status"], manifest["ticks"]) == ("failed", TICKS)
    assert "no space left" in manifest["error"]
    manifest = go(tmp_path, going=resume_course(tmp_path))
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    same_tables(tmp_path, folder)


def test_two_processes_do_not_work_in_one_folder(tmp_path):
    """A run that was stopped is resumed by two at once: one of them does it, the other is refused and changes nothing.

    Then the first is killed, and the lock is gone with it.
    """
    assert go(tmp_path / "run", stop_at=3, scenario="polarization", agents=20, ticks=200) is None
    command = ("resume", "run", "--set", "model.latency.median_s=0.3")
    first = Begun(*command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        assert first.stderr is not None
        assert '"begin"' in first.stderr.readline()
        for command in (("resume", "run"), ("run", "polarization", "--out", "run")):
            second = populace(*command, cwd=tmp_path)
            assert second.returncode == StorageError.exit_code, second.stderr
            assert f"process {first.pid} on {gethostname()} is at work in it" in second.stderr
        assert next_attempt(tmp_path / "run" / "journal") <= 2, "nobody but the first has begun another life"
        forked = populace("fork", "run", "--at-tick", "2", "--ticks", "4", cwd=tmp_path)
        assert forked.returncode == 0, forked.stderr
        assert first.poll() is None
    finally:
        first.kill()
        first.communicate()
    with held(tmp_path / "run"):
        pass
    assert not (tmp_path / "run" / ".lock").exists()


def test_a_lock_that_was_removed_by_who_held_it_is_no_lock(tmp_path):
    """Many at once, each for a moment: never two of them, and nothing of it stays."""
    folder = tmp_path / "deep" / "run"
    with held(folder):
        assert folder.exists()
    assert not folder.parent.exists(), "what was made for nothing is gone"
    folder.mkdir(parents=True)
    inside: list[int] = []
    most, got = 0, 0

    def work(_: int) -> None:
        nonlocal most, got
        times = 0
        while times < 10:
            with suppress(StorageError), held(folder):
                inside.append(1)
                most, got, times = max(most, len(inside)), got + 1, times + 1
                time.sleep(0.001)
                inside.pop()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert most == 1
    assert got == 8 * 10
    assert list(folder.iterdir()) == []


def test_a_run_that_is_resumed_from_elsewhere_finds_its_experiments_ledger(tmp_path, monkeypatch):
    """Named by a path that is not whole, another would be begun there, and the money of the experiment lent again."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    budget = {"budget__experiment_tokens": 10**6, "budget__ledger": "ledger.sqlite", "experiment": "e"}
    assert go(tmp_path / "run", stop_at=2, **budget) is None
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match=r"ledger\.sqlite: the ledger .* is not there"):
        resume_course(tmp_path / "run")
    (tmp_path / "ledger.sqlite").touch()
    assert resume_course(tmp_path / "run").settings.budget.ledger == tmp_path / "ledger.sqlite"
    (tmp_path / "elsewhere" / "other").touch()
    moved = resume_course(tmp_path / "run", ["budget.ledger=other"])
    assert moved.course.file.read_settings().budget.ledger == tmp_path / "elsewhere" / "other"
