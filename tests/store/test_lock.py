"""Whether a process is at work in a folder, asked by who may not write there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess

import pytest
from support.full_disk import small_disk

from populace.core.errors import StorageError
from populace.store.lock import LOCK, held, is_held, is_locked


def test_a_file_on_a_disk_that_is_only_to_be_read_is_looked_at():
    """What a killed run left behind, kept somewhere: its lock, and its journals."""
    with small_disk(2**16) as folder:
        (folder / LOCK).touch()
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True, capture_output=True)
        assert not is_held(folder)
        descriptor = os.open(folder / LOCK, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert is_held(folder)
        os.close(descriptor)


def test_a_lock_of_another_user_that_cannot_be_looked_at_counts_as_held(tmp_path, monkeypatch):
    """A stand-in for the system, which lets root open all files."""
    (tmp_path / LOCK).touch()

    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    assert is_held(tmp_path)
    with pytest.raises(StorageError, match="Permission denied"):
        is_locked(tmp_path / LOCK)


def test_a_folder_on_a_full_disk_is_held_and_it_is_not_told_by_whom():
    """What comes next says that the disk is full."""
    with small_disk(2**16) as folder:
        (folder / LOCK).touch()
        with (folder / "fill").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(2**12))
        with held(folder):
            assert is_held(folder)
            assert not (folder / LOCK).read_bytes()
            with pytest.raises(StorageError, match=r"process \(unknown\) is at work"), held(folder):
                pass
        assert not is_held(folder)
