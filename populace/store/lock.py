"""One run at a time in a run's folder. Shell: files.

The lock is the system's, on a file in the folder: it is gone with the process that held it, however that ended. It
holds among processes on one machine, and on machines that share the folder where the file system has locks.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from populace.core.errors import StorageError
from populace.store.storage import make_folder, naming

LOCK: Final = ".lock"
_TRIES: Final = 5
_WAIT_S: Final = 0.02
_HOLDER_BYTES: Final = 300


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep a run's folder for this process; folders that are made for it and stay empty go again.

    Raises StorageError, naming the process and its host, where another one works in it.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    descriptor = _locked(folder)
    try:
        with contextlib.suppress(OSError):  # on a full disk it is held all the same, and not told by whom
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / LOCK).unlink()
            for path in made:
                path.rmdir()
        os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Whether a process is at work in a run's folder; that of a remote run is locked beside it (`store.remote`).

    It counts as one where the lock is another user's and cannot be looked at: a run that ends removes it.
    """
    try:
        return is_locked(folder / LOCK) or is_locked(folder.with_name(f"{folder.name}.lock"))
    except StorageError as error:
        if isinstance(error.__cause__, PermissionError):
            return True
        raise


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock on a file; nothing is made where there is none. Raises StorageError."""
    import fcntl

    if not path.exists():
        return False
    try:
        with naming(path, "opened"):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # it may be on a disk that is only to be read
    except StorageError:
        if path.exists():
            raise
        return False  # who held it has removed it meanwhile
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _locked(folder: Path) -> int:
    path = folder / LOCK
    while True:
        make_folder(folder)
        try:
            with naming(path, "opened"):
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except StorageError:
            if folder.exists():
                raise
            continue  # who made it has removed it meanwhile
        if not lock_soon(descriptor):
            holder = os.pread(descriptor, _HOLDER_BYTES, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise StorageError(
                f"{folder}: process {holder or '(unknown)'} is at work in it. Wait for it or end it; `populace fork` "
                "begins in a folder of its own, also while this run goes on."
            )
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)  # who held it before has removed the file meanwhile


def lock_soon(descriptor: int) -> bool:
    """Lock a file. One who only looks whether it is locked holds it for a moment, so try more than once."""
    import fcntl

    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(_WAIT_S)
        else:
            return True
    return False
