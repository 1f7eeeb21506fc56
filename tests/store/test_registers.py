"""Small texts that change by compare-and-swap: in a file, and in an object store (moto's S3 server)."""
# ruff: noqa: F811

from __future__ import annotations

import fcntl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.mirrored import remote, s3_environment, server  # noqa: F401 - fixtures
from support.s3_server import ENVIRONMENT, S3Server

import populace.store.register as files
from populace.budget.shares import Register
from populace.budget.sharing import Busy
from populace.core.errors import SettingsError, StorageError
from populace.settings import load_settings
from populace.store.register import FileRegister, named_whole
from populace.store.remote.objects import ObjectStore
from populace.store.remote.register import ObjectRegister, check_conditions, open_store


def count_up(register: Register, times: int) -> None:
    """Add one to the number in the text, so many times."""
    while times:
        text, mark = register.read()
        times -= register.write(b"%d" % (int(text or 0) + 1), mark)


def swaps(register: Register) -> None:
    assert register.read()[0] is None
    _, none = register.read()
    assert register.write(b"a longer text", none)
    assert not register.write(b"another", none)
    text, first = register.read()
    assert text == b"a longer text"
    assert register.write(b"short", first)
    assert not register.write(b"late", first)
    assert register.read()[0] == b"short"


def test_a_file_changes_by_compare_and_swap(tmp_path):
    swaps(FileRegister(tmp_path / "new" / "one.json"))


def test_no_change_of_a_file_is_lost_among_many(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: count_up(FileRegister(tmp_path / "one"), 25), range(4)))
    assert FileRegister(tmp_path / "one").read()[0] == b"100"


def test_control_without_the_lock_changes_of_a_file_are_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(FileRegister, "write", lambda one, text, _mark: one._path.write_bytes(text) > 0)
    monkeypatch.setattr(FileRegister, "_lock", lambda _one, _descriptor: True)
    first, second = FileRegister(tmp_path / "one"), FileRegister(tmp_path / "one")
    marks = [first.read()[1], second.read()[1]]
    assert first.write(b"1", marks[0])
    assert second.write(b"1", marks[1]), "the first one's is gone"


def test_a_file_that_another_process_keeps_locked_is_busy(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_WAIT_S", 0.05)
    register = FileRegister(tmp_path / "one")
    register.read()
    with (tmp_path / "one").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Busy, match="another process keeps it locked"):
            register.read()
    assert register.read()[0] is None


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        FileRegister(tmp_path / "file" / "one")


def test_an_object_changes_by_compare_and_swap(remote: str):
    store = open_store(remote)
    swaps(ObjectRegister(store, "one.json"))
    assert list(store.list()) == ["one.json"], "what was tried is gone"


def test_no_change_of_an_object_is_lost_among_many(remote: str):
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: count_up(ObjectRegister(ObjectStore(remote), "one"), 5), range(3)))
    assert ObjectRegister(ObjectStore(remote), "one").read()[0] == b"15"


def test_an_object_that_was_deleted_meanwhile_is_not_written_over(remote: str):
    store = ObjectStore(remote)
    register = ObjectRegister(store, "one")
    assert register.write(b"1", "")
    _, mark = register.read()
    store.delete(["one"])
    assert not register.write(b"2", mark)
    assert register.read() == (None, "")


class Heedless(ObjectStore):
    """A store that does not know conditions: it takes every PUT."""

    def _call_s3(self, method: str, name: str, **how: Any) -> Any:
        how = {key: value for key, value in how.items() if key not in ("IfMatch", "IfNoneMatch")}
        return super()._call_s3(method, name, **how)


def test_a_store_that_does_not_heed_conditions_is_refused_by_name(remote: str):
    with pytest.raises(SettingsError, match="does not heed If-Match and If-None-Match"):
        check_conditions(Heedless(remote))
    assert not ObjectStore(remote).list()


@pytest.mark.parametrize("address", ["memory://limits/all", "gs://bucket/limits", "file:///tmp/limits"])
def test_other_stores_are_refused_by_name(address: str):
    with pytest.raises(SettingsError, match="knows no conditional writes"):
        open_store(address)


def test_a_bucket_that_is_not_there_is_named_and_no_secret_is(server: S3Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
    with pytest.raises(StorageError, match="s3://nobucket/limits") as caught:
        open_store("s3://nobucket/limits")
    assert ENVIRONMENT["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)


def test_a_folder_is_named_whole_for_other_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)

    def named(at: str | None) -> str | None:
        return named_whole(load_settings(endpoint__share_limits=at)).endpoint.share_limits

    assert named("limits") == str(tmp_path / "limits")
    assert [named(at) for at in (None, "ray", "s3://bucket/limits")] == [None, "ray", "s3://bucket/limits"]
