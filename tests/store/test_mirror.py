"""A run's folder in an object store: against moto's S3 server in a process of its own, and fsspec's memory."""
# ruff: noqa: F811

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.mirrored import Running, files, pulled, remote, s3_environment, server, state_of  # noqa: F401
from support.s3_server import ENVIRONMENT, Gate, S3Server

from populace.core.errors import StorageError
from populace.store.journal.read import Report, read_journal
from populace.store.remote import mirror as mirrors
from populace.store.remote import objects
from populace.store.remote.mirror import Mirror
from populace.store.remote.objects import Object, ObjectStore

pytest.importorskip("s3fs")


def test_a_folder_goes_there_and_comes_back(remote: str, tmp_path: Path) -> None:
    run = Running(tmp_path / "run")
    mirror = Mirror(remote, tmp_path / "run")
    (tmp_path / "run" / "asks.parquet.part").write_bytes(b"unfinished")
    (tmp_path / "run" / ".hidden").write_bytes(b"hidden")
    for _ in range(4):
        run.step()
        mirror.push()
    run.answer()
    run.close()
    (tmp_path / "run" / "asks.parquet").write_bytes(os.urandom(objects.BLOCK_BYTES + 5))
    (tmp_path / "run" / "asks.parquet.part").unlink()
    (tmp_path / "run" / ".hidden").unlink()
    pushed = mirror.push()
    assert "asks.parquet" in pushed.uploaded
    assert files(pulled(remote, tmp_path / "copy")) == files(tmp_path / "run")
    assert state_of(tmp_path / "copy") == (4, 10)
    assert mirror.push().uploaded == ()
    assert Mirror(remote, tmp_path / "copy").push().uploaded == ()
    part = tmp_path / "part"
    assert sorted(Mirror(remote, part).pull("run.json", "journal/s0001-*")) == sorted(
        name for name in files(tmp_path / "run") if name == "run.json" or name.startswith("journal/s0001-")
    )


def test_only_what_changed_is_put(server: S3Server, remote: str, tmp_path: Path) -> None:
    run = Running(tmp_path / "run", segment_bytes=1500)
    mirror = Mirror(remote, tmp_path / "run")
    under = f"/{remote.removeprefix('s3://')}/"
    seen: list[str] = []
    closed: set[str] = set()
    for _ in range(8):
        run.step()
        names = mirror.push().uploaded
        assert server.puts(under) == [*seen, *names]
        assert not closed & set(names)
        seen += names
        latest_segment = {shard: max(n for n in files(run.folder) if f"/s{shard:04}" in n) for shard in range(2)}
        closed = {name for name in files(run.folder) if name.startswith("journal/")} - set(latest_segment.values())
        closed |= {name for name in files(run.folder) if name.startswith("checkpoints/")}
    assert len(closed) > 8
    before = len(server.puts(under))
    assert mirror.push() == mirrors.Pushed()
    assert len(server.puts(under)) == before
    assert seen.count("run.json") == 1
    assert sum(name.startswith("checkpoints/") for name in seen) == 8
    run.close()


def test_what_was_pruned_here_is_deleted_there(remote: str, tmp_path: Path) -> None:
    run = Running(tmp_path / "run")
    mirror = Mirror(remote, tmp_path / "run")
    stranger = "notes/mine.txt"
    mirror.store.put(stranger, tmp_path / "run" / "run.json", 5)
    gone: set[str] = set()
    for _ in range(9):
        run.step()
        gone |= set(mirror.push().deleted)
    run.close()
    mirror.push()
    assert gone
    assert all(name.startswith("checkpoints/") for name in gone)
    assert {*files(tmp_path / "run"), stranger} == set(mirror.store.list())


def test_a_crash_between_any_two_files_leaves_a_state_to_go_on_from(
    remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every prefix of a push's uploads and deletions is a folder whose newest checkpoint is whole."""
    run = Running(tmp_path / "run")
    mirror = Mirror(remote, tmp_path / "run")
    seen: list[int] = []

    def look(here: ObjectStore) -> None:
        if here is not mirror.store:
            return
        state = state_of(pulled(remote, tmp_path / "copy"))
        seen.append(0 if state is None else state[0])

    put, delete = ObjectStore.put, ObjectStore.delete

    def put_and_look(self: ObjectStore, name: str, path: Path, size: int) -> Object:
        done = put(self, name, path, size)
        look(self)
        return done

    def delete_and_look(self: ObjectStore, names: Any) -> None:
        delete(self, names)
        look(self)

    monkeypatch.setattr(ObjectStore, "put", put_and_look)
    monkeypatch.setattr(ObjectStore, "delete", delete_and_look)
    for _ in range(6):
        run.step()
        mirror.push()
    assert set(seen) == set(range(7))
    assert seen == sorted(seen)
    run.close()


def test_without_the_order_a_crash_would_leave_a_checkpoint_that_refers_to_nothing(
    remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test before: checkpoints first, and the same look fails."""
    monkeypatch.setattr(mirrors, "_stage", lambda name: 0 if name.startswith("checkpoints/") else 1)
    run = Running(tmp_path / "run")
    mirror = Mirror(remote, tmp_path / "run")
    put = ObjectStore.put
    bad = 0

    def put_and_look(self: ObjectStore, name: str, path: Path, size: int) -> Object:
        nonlocal bad
        done = put(self, name, path, size)
        try:
            state_of(pulled(remote, tmp_path / "copy"))
        except StorageError:
            bad += 1
        return done

    monkeypatch.setattr(ObjectStore, "put", put_and_look)
    run.step()
    mirror.push()
    run.close()
    assert bad


KILLED = """
import os, sys
from pathlib import Path
from populace.store.remote.mirror import Mirror
from populace.store.remote.objects import ObjectStore
put, left = ObjectStore.put, int(sys.argv[3])
def put_or_die(self, *args):
    global left
    if not left:
        os.kill(os.getpid(), 9)
    left -= 1
    return put(self, *args)
ObjectStore.put = put_or_die
Mirror(sys.argv[1], Path(sys.argv[2])).push()
"""


def test_killed_within_a_push_the_next_one_ends_it(remote: str, tmp_path: Path) -> None:
    run = Running(tmp_path / "run", segment_bytes=10**6)
    run.step()
    Mirror(remote, tmp_path / "run").push()
    run.step()
    run.answer()
    (run.folder / "manifest.json").write_text("{}")
    for uploads, tick, answers in ((2, 1, 20), (1, 2, 10)):
        command = [sys.executable, "-c", KILLED, remote, str(tmp_path / "run"), str(uploads)]
        assert subprocess.run(command, timeout=60, check=False).returncode == -9
        assert state_of(pulled(remote, tmp_path / "copy")) == (tick, answers)
    run.close()
    Mirror(remote, tmp_path / "run").push()
    assert files(pulled(remote, tmp_path / "copy")) == files(tmp_path / "run")


def test_a_segment_that_grows_while_it_is_uploaded_is_cut_at_a_record(remote: str, tmp_path: Path) -> None:
    run = Running(tmp_path / "run", segment_bytes=10**6)
    mirror = Mirror(remote, tmp_path / "run")
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            run.answer(1)
            time.sleep(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(2):
            mirror.push()
            report = Report()
            copy = pulled(remote, tmp_path / "copy")
            assert len(list(read_journal(copy / "journal", run="r", report=report))) == report.records
            assert sum(torn.lost_bytes for torn in report.torn) < 500
    finally:
        stop.set()
        writer.join()
    run.close()
    mirror.push()
    assert files(pulled(remote, tmp_path / "copy")) == files(run.folder)


def test_an_outage_is_waited_for_or_ends_with_nothing_lost(
    server: S3Server, remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(server.port)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", gate.url)
    run = Running(tmp_path / "run")
    mirror = Mirror(remote, tmp_path / "run")
    run.step()
    mirror.push()
    gate.cut()
    run.step()
    with pytest.raises(StorageError, match="can be reached") as caught:
        mirror.push(patience_s=0.5)
    assert remote in str(caught.value)
    back = threading.Timer(1.5, gate.open)
    back.start()
    assert "journal/s0000-a0000-000000.journal" in mirror.push(patience_s=60.0).uploaded
    back.join()
    assert state_of(pulled(remote, tmp_path / "copy")) == (2, 0)
    run.close()
    gate.cut()


def test_what_arrives_garbled_is_sent_again_or_refused(
    remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"exactly this")
    store = ObjectStore(remote)
    pipe = store._fs.pipe_file
    bad = [b"exactly thus", b"exactly"]
    monkeypatch.setattr(store._fs, "pipe_file", lambda path, data: pipe(path, bad.pop(0) if bad else data))
    assert store.put("name", tmp_path / "file", 12).size == 12
    assert bad == []
    store.get("name", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"exactly this"
    monkeypatch.setattr(store._fs, "pipe_file", lambda path, data: pipe(path, b"exactly thus"))
    store.patience_s = 0.3
    with pytest.raises(StorageError, match="what arrived differs"):
        store.put("name", tmp_path / "file", 12)


def test_etags_that_are_no_md5s_are_seen_through(remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with encryption by KMS: the object is read back once; after that sizes are compared."""
    (tmp_path / "file").write_bytes(b"exactly this")
    store = ObjectStore(remote)
    monkeypatch.setattr(objects, "_object", lambda about: Object(about["size"], 32 * "0"))
    read: list[str] = []
    back = store._read_back
    monkeypatch.setattr(store, "_read_back", lambda target: read.append(target) or back(target))
    for name in ("one", "two"):
        assert store.put(name, tmp_path / "file", 12) == Object(12, 32 * "0")
    assert len(read) == 1
    store.get("two", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"exactly this"


def test_a_wrong_bucket_or_no_right_is_said_at_once(
    server: S3Server, remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Running(tmp_path / "run")
    run.close()
    with pytest.raises(StorageError, match=r"s3://nobucket/run.*bucket exists"):
        Mirror("s3://nobucket/run", tmp_path / "run").push()
    server.demand_rights(after=0)
    try:
        with pytest.raises(StorageError, match=r"cannot be listed.*AWS_ACCESS_KEY_ID") as caught:
            Mirror(remote, tmp_path / "run").push()
    finally:
        server.demand_rights(after=10**9)
    assert ENVIRONMENT["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(StorageError, match="Unable to locate credentials"):
        Mirror(remote, tmp_path / "run").push()
