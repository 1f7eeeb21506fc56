"""Which batches of calls are out, beside the journal: `s<shard>-a<attempt>.batches`, written by one shard's attempt.

A file is `MAGIC` and then frames as a journal's segment has them, each chained by checksum to the one before. Every
entry is on the disk before it counts, whatever the journal's policy: a batch that nobody remembers is paid for twice.
Where the run's folder is in an object store, an entry is there before it counts, since the disk may be lost with its
machine: the file is uploaded with each entry, and goes on in another, `s<shard>-a<attempt>-<part>.batches`, once it is
long. A file comes into being with its first entry. Shell: files, S3.
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Final

import msgspec

from populace.core.errors import StorageError
from populace.store.journal.write import ANSWER, FRAME_BYTES, HEAD, HEAD_BYTES, HEADER, U32, checksum, frame
from populace.store.remote.mirror import is_remote, own_journal, past_journal, run_of
from populace.store.remote.objects import ObjectStore
from populace.store.storage import create_file, make_folder, naming, sync_folder, write_all

MAGIC: Final = b"popbtch\x01"

_NAME: Final = re.compile(r"s(\d{4,})-a(\d{4,})(?:-(\d{4,}))?\.batches")
REMOTE_PART_BYTES: Final = 2**20
"""How long a file becomes that is uploaded with each entry."""


class _Head(msgspec.Struct):
    run: str


class KeptBatches:
    """The entries of one shard's attempt, and those of all attempts before it, at a journal's `place`.

    Nothing is read or written before it is asked for; both may be in any thread.
    """

    def __init__(self, place: str, *, run: str, shard: int, attempt: int) -> None:
        self.run = run
        self.writer = f"s{shard:04}-a{attempt:04}"
        self._place = place
        self._attempt = attempt
        self._lock = threading.Lock()
        self._begun = False
        self._chain = 0
        self._broken = ""
        self._remote: ObjectStore | None = None
        self._part = 0

    def read(self) -> list[bytes]:
        """All entries of former attempts, an earlier attempt's first.

        An entry that was cut short as its writer ended never counted. Raises StorageError for other damage, and for the
        entries of another run.
        """
        if not self._attempt:
            return []
        return [entry for attempt, *_, path in _files(past_journal(self._place)) if attempt < self._attempt
                for entry in read_batches(path, self.run)]  # fmt: skip

    def put(self, entry: bytes) -> None:
        """Write an entry and wait for the disk, and for the store. A failure is final. Raises StorageError."""
        folder = own_journal(self._place)
        with self._lock:
            if self._broken:
                raise StorageError(self._broken)
            try:
                path = folder / (f"{self.writer}-{self._part:04}.batches" if self._part else f"{self.writer}.batches")
                self._append(folder, path, entry)
                if is_remote(self._place):
                    self._upload(path)
            except StorageError as error:
                self._broken = str(error)
                raise

    def _upload(self, path: Path) -> None:
        if self._remote is None:
            self._remote = ObjectStore(run_of(self._place))
        with naming(path, "read"):
            size = path.stat().st_size
        self._remote.put(f"{path.parent.name}/{path.name}", path, size)
        if size >= REMOTE_PART_BYTES:
            self._begun, self._part = False, self._part + 1

    def _append(self, folder: Path, path: Path, entry: bytes) -> None:
        data, new = b"", not self._begun
        if new:
            make_folder(folder)
            descriptor = create_file(path)
            self._begun = True
            head, self._chain = frame(HEADER, msgspec.msgpack.encode(_Head(self.run)), checksum(MAGIC))
            data = MAGIC + head
        else:
            with naming(path, "opened"):
                descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            one, self._chain = frame(ANSWER, entry, self._chain)
            with naming(path, "written"):
                write_all(descriptor, data + one)
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        if new:
            sync_folder(folder)


def after_batches(folder: Path) -> int:
    """The lowest attempt number above those of all files in a journal's folder; 0 where there is none.

    A file of batches may be all that is left of an attempt, where its machine was lost.
    """
    return max((attempt for attempt, *_ in _files(folder)), default=-1) + 1


def _files(folder: Path) -> list[tuple[int, int, int, Path]]:
    """The files in a journal's folder: (attempt, shard, part, path), sorted."""
    with naming(folder, "listed"):
        paths = list(folder.iterdir()) if folder.exists() else []
    named = [(match, path) for path in paths if (match := _NAME.fullmatch(path.name)) is not None]
    return sorted((int(match[2]), int(match[1]), int(match[3] or 0), path) for match, path in named)


def read_batches(path: Path, run: str) -> list[bytes]:
    """The entries of one file. Raises StorageError as `KeptBatches.read` does."""
    with naming(path, "read"):
        content = path.read_bytes()
    if not content.startswith(MAGIC):
        if MAGIC.startswith(content):
            return []
        raise _damaged(path, 0)
    entries: list[bytes] = []
    at, chain = len(MAGIC), checksum(MAGIC)
    while at < len(content):
        if at + HEAD_BYTES > len(content):
            break
        head = content[at : at + HEAD.size]
        kind, length = HEAD.unpack(head)
        head_crc = checksum(head, chain)
        if U32.unpack_from(content, at + HEAD.size)[0] != head_crc:
            raise _damaged(path, at)
        if at + FRAME_BYTES + length > len(content):
            break
        payload = content[at + HEAD_BYTES : at + HEAD_BYTES + length]
        chain = checksum(payload, head_crc)
        if U32.unpack_from(content, at + HEAD_BYTES + length)[0] != chain:
            raise _damaged(path, at)
        at += FRAME_BYTES + length
        if kind == ANSWER:
            entries.append(payload)
        elif msgspec.msgpack.decode(payload, type=_Head).run != run:
            raise StorageError(f"{path}: is of another run. Move it out of the folder.")
    return entries


def _damaged(path: Path, at: int) -> StorageError:
    return StorageError(
        f"{path}: is damaged at byte {at}, so that it is not known which batches are out. Move the file away to go on "
        "without it; what is out in a batch is then paid for again."
    )
