"""What a mirror refuses: addresses, folders and names that are no run's, and two that would write at once."""
# ruff: noqa: F811

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.mirrored import Running, files, pulled, remote, s3_environment, server, state_of  # noqa: F401

from populace.core.errors import SettingsError, StorageError
from populace.store.remote import mirror as mirrors
from populace.store.remote import objects
from populace.store.remote.mirror import Mirror, is_remote, local_folder, staging_folder
from populace.store.remote.objects import checksums

pytest.importorskip("s3fs")


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
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True)
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
