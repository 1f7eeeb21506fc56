"""A small text in a file that changes by compare-and-swap, among all that share the folder. Shell: files.

Reading and writing hold the system's lock on the file, for a moment. That holds among processes on one machine, and on
machines that share the folder where the file system has locks (NFS version 4 has). A bucket that is mounted as a folder
has none that hold between machines: name it by its address.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from populace.budget.sharing import Busy
from populace.settings import Settings
from populace.store.remote.mirror import is_remote
from populace.store.storage import make_folder, naming

ON_RAY: Final = "ray"
"""What `endpoint.share_limits` says for the Ray cluster."""

_MOST_BYTES: Final = 4 * 2**20
_WAIT_S: Final = 2.0
_PAUSE_S: Final = 0.002


def named_whole(settings: Settings) -> Settings:
    """The settings, where a folder of `endpoint.share_limits` is named whole: other processes stand elsewhere."""
    at = settings.endpoint.share_limits
    if at is None or at == ON_RAY or is_remote(at):
        return settings
    changes = {"share_limits": str(Path(at).expanduser().absolute())}
    return settings.model_copy(update={"endpoint": settings.endpoint.model_copy(update=changes)})


class FileRegister:
    """The text in a file, which is made where it is missing, as its folder is. See `populace.budget.shares.Register`.

    Every method raises StorageError, naming the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.place = str(path)
        make_folder(path.parent)

    def read(self) -> tuple[bytes | None, object]:
        """The text, which marks its version itself: each differs from all before."""
        with self._locked() as descriptor:
            text = os.pread(descriptor, _MOST_BYTES, 0)
        return text.rstrip() or None, text

    def write(self, text: bytes, mark: object) -> bool:
        """One write, so a process that is killed leaves the old text or the new one."""
        with self._locked() as descriptor:
            now = os.pread(descriptor, _MOST_BYTES, 0)
            if now != mark:
                return False
            os.pwrite(descriptor, text.ljust(len(now)), 0)
        return True

    @contextmanager
    def _locked(self) -> Iterator[int]:
        with naming(self._path, "opened"):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            until_s = time.monotonic() + _WAIT_S
            while not self._lock(descriptor):
                if time.monotonic() > until_s:
                    raise Busy(f"{self._path}: another process keeps it locked. See whether a run was stopped in it.")
                time.sleep(_PAUSE_S)
            with naming(self._path, "read or written"):
                yield descriptor
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> bool:
        import fcntl

        with naming(self._path, "locked"):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True
