"""Files: where caches stand, small files written whole, and what a disk refuses as errors that say what to do.

Every failure of the system is a StorageError that names the file; no space or no quota is its subclass DiskFull.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import platformdirs

from populace.core.errors import DiskFull, StorageError

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def storage_error(error: OSError, path: Path, doing: str) -> StorageError:
    """The error to raise for what the system said about this file; `doing` reads 'cannot be ...'."""
    why = error.strerror or str(error)
    if error.errno in _FULL:
        return DiskFull(
            f"{path}: cannot be {doing}: {why}. What was saved before is intact: free some space on the disk of "
            f"{path.parent}, then resume the run."
        )
    return StorageError(f"{path}: cannot be {doing}: {why}. Check that the folder exists, is yours and is writable.")


@contextmanager
def naming(path: Path, doing: str) -> Iterator[None]:
    """Turn an OSError inside the block into a StorageError about this file."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path, doing) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file whole or not at all: aside, synced, renamed, the name synced. Raises StorageError."""
    part = path.with_name(f"{path.name}.part")
    with naming(path, "written"):
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder (created, renamed, deleted) survive a lost machine, where the system can.

    Raises StorageError.
    """
    if os.name == "nt":
        return
    with naming(folder, "synced"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def state_folder() -> Path:
    """The folder of what populace remembers for this user: POPULACE_STATE, or where this platform keeps such.

    `XDG_STATE_HOME` counts on every platform. Nothing is created.
    """
    if chosen := os.environ.get("POPULACE_STATE"):
        return Path(chosen).expanduser()
    if base := os.environ.get("XDG_STATE_HOME"):
        return Path(base) / "populace"
    return platformdirs.user_state_path("populace", appauthor=False)


def cache_folder() -> Path:
    """The folder of populace's cache: the environment's POPULACE_CACHE, or `populace` where this platform keeps them.

    `XDG_CACHE_HOME` counts on every platform. Nothing is created.
    """
    if chosen := os.environ.get("POPULACE_CACHE"):
        return Path(chosen).expanduser()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "populace"
    return platformdirs.user_cache_path("populace", appauthor=False)
