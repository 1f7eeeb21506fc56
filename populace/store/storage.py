"""Files of a run on a local disk: the few ways in which they are created, written, synced and renamed.

Journal and checkpoints touch the disk through these functions only, so that what a full disk does, and where a run
directory may lie, is decided in one place. Every failure of the system is a StorageError that names the file; no
space or no quota is its subclass DiskFull.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from populace.core.errors import StorageError
from populace.files import naming, storage_error, sync_folder

__all__ = [
    "create_file",
    "make_folder",
    "naming",
    "remove_file",
    "storage_error",
    "sync_folder",
    "unreadable",
    "write_all",
]


def unreadable(error: StorageError) -> bool:
    """Whether the disk itself failed at reading (EIO), so that the file counts as damaged."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EIO


def make_folder(folder: Path) -> None:
    """Create a folder with its parents, where it is missing. Raises StorageError."""
    with naming(folder, "created"):
        folder.mkdir(parents=True, exist_ok=True)


def create_file(path: Path) -> int:
    """Create a new file for appending and give its descriptor. Raises StorageError when it exists already."""
    with naming(path, "created"):
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of it, however the system may split it. Raises OSError; a part may have been written then."""
    if type(data) is bytes:  # a journal's records: in one piece but for a full disk or a signal
        written = os.write(descriptor, data)
        if written == len(data):
            return
        data = data[written:]
    view = memoryview(data).cast("B")
    while len(view):
        view = view[os.write(descriptor, view) :]


def remove_file(path: Path) -> None:
    """Delete a file, if it is there. Raises StorageError."""
    with naming(path, "deleted"):
        path.unlink(missing_ok=True)
