"""A journal whose process, disk or machine ends in the middle: what was promised outlives it."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.full_disk import file_size_limit, small_disk
from support.journal_support import Pair, answer, read, read_until_damage

from populace.core.errors import DiskFull, StorageError
from populace.store.journal.read import Report
from populace.store.journal.write import Journal, next_attempt


@pytest.mark.parametrize("segment_bytes", [10**9, 20_000])
def test_a_full_disk_keeps_what_was_written_and_goes_on_when_there_is_space(segment_bytes: int) -> None:
    with small_disk(256 * 1024) as disk:
        (disk / "ballast").write_bytes(bytes(100 * 1024))
        journal = Journal(disk / "j", run="r", shard=0, attempt=0, segment_bytes=segment_bytes)
        kept: list[Pair] = []

        def fill() -> None:
            while True:
                batch = [answer(len(kept) + n, "x" * 700) for n in range(5)]
                journal.append(batch)
                journal.commit()
                kept.extend(batch)

        with pytest.raises(DiskFull, match="free some space") as full:
            fill()
        assert full.value.exit_code == 7
        report = Report()
        assert read(disk / "j", report=report) == kept
        assert not report.torn
        with pytest.raises(DiskFull):
            journal.append([answer(9999, "x" * 5000)])
        (disk / "ballast").unlink()
        journal.append([answer(len(kept))])
        journal.close()
        assert read(disk / "j") == [*kept, answer(len(kept))]


def test_a_quota_on_the_files_size_is_a_full_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path, run="r", shard=0, attempt=0)
    journal.append([answer(1)])
    with file_size_limit(1000), pytest.raises(DiskFull):
        journal.append([answer(2, "x" * 2000)])
    journal.append([answer(3)])
    journal.close()
    assert read(tmp_path) == [answer(1), answer(3)]


def test_a_failed_sync_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, run="r", shard=0, attempt=0, policy="machine")
    journal.append([answer(1)])

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(StorageError, match="cannot be synced"):
            journal.commit()
    for again in (journal.commit, journal.sync, lambda: journal.append([answer(2)])):
        with pytest.raises(StorageError, match="cannot be synced"):
            again()
    journal.close()
    assert read(tmp_path) == [answer(1)]


def test_an_append_that_is_interrupted_half_way_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, run="r", shard=0, attempt=0)
    journal.append([answer(1)])
    real = os.write

    def interrupted(descriptor: int, data: memoryview) -> int:
        real(descriptor, data[:10])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.append([answer(2)])
    journal.append([answer(3)])
    journal.close()
    journal.close()
    assert read(tmp_path) == [answer(1), answer(3)]
    with pytest.raises(StorageError, match="closed"):
        journal.append([answer(4)])


WRITER = """
import os, sys
from pathlib import Path
from populace.store.journal.write import Journal
from populace.core.records import Answer

folder, policy, stop_at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
syncs = 0
real = os.fdatasync

def stall(descriptor):
    global syncs
    syncs += 1
    if syncs == stop_at:
        print("stalled", flush=True)
        sys.stdin.read()
    real(descriptor)

os.fdatasync = stall
journal = Journal(folder, run="r", shard=0, attempt=0, policy=policy, segment_bytes=20_000)
for n in range(100_000):
    pairs = [(bytes(16), Answer(n, 0, nth, "answered", "x" * 90)) for nth in range(1 + n % 7)]
    journal.append(pairs)
    journal.commit()
    print(n, flush=True)
"""


@pytest.mark.parametrize(("policy", "stop_at"), [("process", 0), ("process", 3), ("machine", 5), ("machine", 60)])
def test_what_commit_returned_for_outlives_a_kill(tmp_path: Path, policy: str, stop_at: int) -> None:
    """Killed at a random place, while the end of a segment is synced, and between a write and its sync."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path), policy, str(stop_at)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        done = -1
        for line in child.stdout:
            if line == "stalled\n" or (stop_at == 0 and done == 400):
                break
            done = int(line)
        child.kill()
        done = max([done, *(int(line) for line in child.stdout.read().split("\n")[:-1])])
    report = Report()
    got = [(a.agent, a.nth) for _, a in read(tmp_path, report=report)]
    wanted = [(n, nth) for n in range(done + 1) for nth in range(1 + n % 7)]
    assert len(wanted) > 5
    assert got[: len(wanted)] == wanted
    assert {n for n, _ in got[len(wanted) :]} <= {done + 1, done + 2}
    assert next_attempt(tmp_path) == 1


def lose_machine(file: Path, synced: int, rng: random.Random) -> bytes:
    """What a lost machine may leave of a file: all that was synced, and any mix of sectors of the rest, cut."""
    data = bytearray(file.read_bytes())
    for sector in range(synced // 512, len(data) // 512 + 1):
        start, stop = max(sector * 512, synced), min((sector + 1) * 512, len(data))
        fate = rng.randrange(3)
        if fate and start < stop:
            data[start:stop] = bytes(stop - start) if fate == 1 else rng.randbytes(stop - start)
    return bytes(data[: rng.randrange(synced, len(data) + 1)])


def run_and_lose(folder: Path, policy: str, rng: random.Random, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Append and commit, then lose the machine: how many answers were promised, how many are read (all true)."""
    synced: dict[int, int] = {}
    real = os.fdatasync

    def track(descriptor: int) -> None:
        real(descriptor)
        status = os.fstat(descriptor)
        synced[status.st_ino] = status.st_size

    pairs = [answer(n, "x" * rng.randrange(400)) for n in range(40)]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", track)
        journal = Journal(folder, run="r", shard=0, attempt=0, policy=policy, segment_bytes=6000)  # type: ignore[arg-type]
        promised = rng.randrange(36)
        for at in range(0, promised, 3):
            journal.append(pairs[at : at + 3])
            journal.commit()
        promised = journal.position.records
        journal.append(pairs[promised : promised + 4])
    os.close(journal._fd)
    for file in folder.iterdir():
        file.write_bytes(lose_machine(file, synced.get(file.stat().st_ino, 0), rng))
    got, damage = read_until_damage(folder, Report())
    assert not damage or policy == "process"
    assert got == pairs[: len(got)]
    return promised, len(got)


def test_under_policy_machine_what_commit_returned_for_outlives_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(3)
    for n in range(150):
        promised, got = run_and_lose(tmp_path / str(n), "machine", rng, monkeypatch)
        assert got >= promised


def test_under_policy_process_a_lost_machine_may_lose_answers_and_never_makes_some_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(3)
    outcomes = [run_and_lose(tmp_path / str(n), "process", rng, monkeypatch) for n in range(60)]
    assert any(got < promised for promised, got in outcomes)


def test_a_sync_in_another_thread_lets_appends_go_on(tmp_path: Path) -> None:
    pairs = [answer(n, "x" * 100) for n in range(600)]
    journal = Journal(tmp_path, run="r", shard=0, attempt=0, policy="machine", segment_bytes=5000)
    with ThreadPoolExecutor(1) as pool:
        commits = []
        for pair in pairs:
            journal.append([pair])
            commits.append(pool.submit(journal.commit))
        for commit in commits:
            commit.result()
    os.close(journal._fd)
    report = Report()
    assert read(tmp_path, report=report) == pairs
    assert not report.torn
