"""A run's folder in an object store: against moto's S3 server in a process of its own, and fsspec's memory."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.s3_server import ENVIRONMENT, Gate, S3Server

from populace.core.errors import SettingsError, StorageError
from populace.core.records import Answer
from populace.kernel.blocks import Rows
from populace.store.checkpoint.generations import Checkpoints, latest
from populace.store.journal.read import Report, read_journal
from populace.store.journal.write import Journal, Position
from populace.store.remote import mirror as mirrors
from populace.store.remote import objects
from populace.store.remote.mirror import Mirror, is_remote, local_folder, staging_folder
from populace.store.remote.objects import Object, ObjectStore, checksums

pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3") / "log")
    server.make_bucket("bucket")
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("POPULACE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def remote(server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
    return f"s3://bucket/{request.node.name.replace('[', '-').rstrip(']')}"


class Running:
    """What a run does to its folder: answers to the journal, a checkpoint at ticks' edges that refers to them."""

    def __init__(self, folder: Path, attempt: int = 0, segment_bytes: int = 2000, shards: int = 2) -> None:
        self.folder = folder
        (folder / "run.json").parent.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text('{"run": "r"}')
        journal = folder / "journal"
        self.journals = [
            Journal(journal, run="r", shard=shard, attempt=attempt, segment_bytes=segment_bytes)
            for shard in range(shards)
        ]
        self.checkpoints = Checkpoints(folder / "checkpoints", run="r")
        self.tick = 0
        self._random = random.Random(attempt)

    def answer(self, count: int = 5) -> None:
        for shard, journal in enumerate(self.journals):
            pairs = []
            for n in range(count):
                text = "".join(self._random.choices("abcdef", k=60))
                pairs.append((self._random.randbytes(16), Answer(n, self.tick, shard, "answered", text)))
            journal.append(pairs)
            journal.commit()

    def save(self) -> None:
        for journal in self.journals:
            journal.sync()
        positions = [[p.shard, p.attempt, p.segment, p.offset, p.chain, p.records] for p in self._positions()]
        rows = {n: self._random.randbytes(40) for n in range(30)} if self.checkpoints.whole else {self.tick % 30: b"x"}
        agents = Rows(rows, whole=self.checkpoints.whole)
        self.tick += 1
        blocks: dict[str, Any] = {"positions": positions, "agents": agents, "world": np.arange(50) + self.tick // 3}
        self.checkpoints.save(self.tick, blocks)

    def _positions(self) -> list[Position]:
        return [journal.position for journal in self.journals]

    def step(self) -> None:
        self.answer()
        self.save()

    def close(self) -> None:
        for journal in self.journals:
            journal.close()


def state_of(folder: Path) -> tuple[int, int] | None:
    """The tick of the newest checkpoint, every generation whole, and how many answers stand after it; None for none.

    Raises where the checkpoint refers to what is not there.
    """
    found = latest(folder / "checkpoints", run="r")
    if found is None:
        return None
    assert found.skipped == ()
    since = [Position(*fields) for fields in found.blocks["positions"]]
    report = Report()
    after = list(read_journal(folder / "journal", run="r", since=since, report=report))
    assert report.ends.keys() >= {(position.shard, position.attempt) for position in since}
    return found.tick, len(after)


def pulled(remote: str, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    Mirror(remote, folder).pull()
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


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


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("s3://me:hunter2@bucket/run", "credentials do not belong"),
        ("s3://bucket", "bucket and a folder"),
        ("s3://bucket/", "bucket and a folder"),
        ("s3:///run", "bucket and a folder"),
        ("s3://bucket/a/../b", "no folder's address"),
        ("s3://bucket//b", "no folder's address"),
        ("s3://bucket/run?key=hunter2", "no '\\?'"),
        ("nonsense://bucket/run", "nonsense"),
    ],
)
def test_addresses_that_cannot_be_used_are_refused(address: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        Mirror(address)
    assert "hunter2" not in str(caught.value)


def test_an_endpoint_with_credentials_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:hunter2@127.0.0.1:9")
    with pytest.raises(SettingsError, match="AWS_ENDPOINT_URL holds credentials") as caught:
        Mirror("s3://bucket/run")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("missing", ["s3fs", "fsspec"])
def test_without_s3fs_the_extra_is_named(missing: str) -> None:
    code = (
        f"import sys; sys.modules['{missing}'] = None\n"
        "from populace.store.remote.mirror import Mirror\n"
        "from populace.core.errors import SettingsError\n"
        "try: Mirror('s3://bucket/run')\n"
        "except SettingsError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "pip install 'populace[s3]'" in done.stdout


def test_what_is_remote_and_where_it_is_staged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert [is_remote(place) for place in ("s3://b/r", "memory://r", "runs/a", Path("/x"), "C:\\runs", "C:/runs")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip
    one = staging_folder("s3://bucket/runs/first")
    assert one == staging_folder("s3://bucket/runs/first/") == staging_folder("s3a://bucket/runs/first")
    assert one.parent == tmp_path / "cache" / "runs"
    assert one != staging_folder("s3://bucket/runs-first") != staging_folder("s3://bucket/runs/second")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    assert one != staging_folder("s3://bucket/runs/first")
    assert local_folder(tmp_path) == tmp_path


def test_two_runs_at_once_in_one_folder_are_refused(tmp_path: Path) -> None:
    one, two = Mirror("memory://two-at-once"), Mirror("memory://two-at-once")
    with one.held():
        with pytest.raises(StorageError, match=f"process {os.getpid()} .*working in it"), two.held():
            pass
        assert local_folder("memory://two-at-once") == one.local
    with two.held():
        pass


def test_on_two_machines_the_first_to_notice_ends(remote: str, tmp_path: Path) -> None:
    here, there = Running(tmp_path / "here"), Running(tmp_path / "there")
    one, two = Mirror(remote, here.folder), Mirror(remote, there.folder)
    here.step()
    one.push()
    there.answer(7)
    there.step()
    with pytest.raises(StorageError, match="another run or process"):
        two.push()
    here.close()
    there.close()


def test_a_new_run_wants_an_empty_place(tmp_path: Path) -> None:
    mirror = Mirror("memory://begin")
    mirror.begin()
    run = Running(mirror.local)
    run.close()
    with pytest.raises(SettingsError, match="not all uploaded"):
        Mirror("memory://begin").begin()
    mirror.finish()
    with pytest.raises(SettingsError, match="populace resume memory://begin"):
        Mirror("memory://begin").begin()
    mirror.store.delete(list(mirror.store.list()))
    Mirror("memory://begin").begin()
    assert not mirror.local.exists()


def test_answers_that_were_not_uploaded_stay(tmp_path: Path) -> None:
    mirror = Mirror("memory://ahead", tmp_path / "run")
    run = Running(mirror.local)
    run.step()
    mirror.push()
    run.answer()
    run.close()
    before = files(mirror.local)
    Mirror("memory://ahead", tmp_path / "run").pull()
    assert files(mirror.local) == before


def test_what_differs_is_set_aside(remote: str, tmp_path: Path) -> None:
    here, there = Running(tmp_path / "here", attempt=0), Running(tmp_path / "there", attempt=0)
    there.answer()  # other answers under the same name
    there.step()
    here.answer(9)
    for run in (here, there):
        run.close()
    for run in (here, there):
        assert (run.folder / "journal").is_dir()
    Mirror(remote, there.folder).push()
    name = "journal/s0000-a0000-000000.journal"
    mine = (here.folder / name).read_bytes()
    Mirror(remote, here.folder).pull()
    assert (here.folder / name).read_bytes() == (there.folder / name).read_bytes()
    assert (here.folder / f"{name}.1.aside").read_bytes() == mine
    assert Mirror(remote, here.folder).push().uploaded == ()
    assert state_of(here.folder) == (1, 0)


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    run = Running(tmp_path / "here")
    run.close()
    other = tmp_path / "run.json"
    other.write_text('{"run": "another"}')
    mirror = Mirror("memory://others", run.folder)
    mirror.store.put("run.json", other, other.stat().st_size)
    before = files(run.folder)
    with pytest.raises(StorageError, match="holds run r, and memory://others holds run another"):
        mirror.pull()
    assert files(run.folder) == before


def test_a_shard_pushes_its_own_journal_only(tmp_path: Path) -> None:
    run = Running(tmp_path / "run", shards=2)
    run.step()
    run.close()
    shard = Mirror("memory://shard", run.folder, include=("journal/s0001-*",))
    assert {name[:13] for name in shard.push().uploaded} == {"journal/s0001"}
    driver = Mirror("memory://shard", run.folder)
    assert not any(name.startswith("journal/") for name in driver.push(without=mirrors.JOURNALS).uploaded)


def test_names_that_lead_out_of_the_folder_are_refused(remote: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    mirror = Mirror(remote, tmp_path / "run")
    mirror.store._fs.pipe_file(f"{mirror.store._root}/journal/../../../evil", b"x")
    with pytest.raises(StorageError, match="no name of a run's file"):
        mirror.pull()
    assert not (tmp_path / "evil").exists()


def test_checksums_fit_etags_of_one_part_and_of_many(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * (objects.BLOCK_BYTES + 1))
    import hashlib

    md5 = lambda data: hashlib.md5(data, usedforsecurity=False)  # noqa: E731
    whole = path.read_bytes()
    parts = md5(md5(whole[:-1]).digest() + md5(whole[-1:]).digest()).hexdigest()
    found = checksums(path, len(whole))
    assert found.fits(md5(whole).hexdigest())
    assert found.fits(f"{parts}-2")
    assert found.fits(f"{parts[::-1]}-2") is False
    assert found.fits(f"{parts}-3") is None
    assert found.fits("") is None
