"""The journal: every answer of a run, on disk before its turn sees it. Shell: files.

A journal is a folder of segments, `s<shard>-a<attempt>-<segment>.journal`. Each shard writes its own, and only ever
appends; a rebuilt shard or a resumed run takes a new attempt number and so new files, and nothing on disk is changed
after it was written. The segment that a process writes to is locked by it (`store.lock`). A segment is `MAGIC` and then
frames (all little-endian):

    u8 kind | u32 length | u32 CRC of these five bytes | payload | u32 CRC of the payload

Both checksums are CRC-32, each seeded with the one before it, through the whole segment, and each segment's header
holds the last one of the segment before. So a frame that is flipped, cut, moved, repeated or left out is noticed.
CRC-32 is chosen over a keyed or longer hash because the enemy is a disk and not a person: it costs a quarter of a
microsecond an answer (BLAKE2b: three times that), and finds every burst of up to 32 bits; another error passes with
odds of 2**-32. That the length has a checksum of its own tells a cut tail (normal after a kill) from a wrong length.

What `commit` promises for the answers appended before it, by policy:

- `process`: they are in the system's page cache, and outlive this process, however it ends. A lost machine may lose
  what was not yet synced; `sync` (at every checkpoint) and the end of a segment limit that loss.
- `machine`: they are on the disk (fdatasync), and outlive the machine.
"""

from __future__ import annotations

import os
import re
import struct
import threading
import zlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias

import msgspec

from populace.core.errors import StorageError
from populace.core.records import Answer, Position
from populace.store.lock import lock_soon
from populace.store.storage import create_file, make_folder, naming, storage_error, sync_folder, write_all

Policy: TypeAlias = Literal["process", "machine"]

MAGIC: Final = b"popjrnl\x01"
RECORD_BYTES: Final = 8 * 2**20
"""The largest payload, in bytes: refused at writing, and damage at reading."""
SEGMENT_BYTES: Final = 64 * 2**20
"""How long a segment becomes before the next is begun, in bytes, unless told."""
KEY_BYTES: Final = 16

HEADER, ANSWER, MARK, ROTATED, CLOSED = 1, 2, 3, 4, 5
"""Kinds of frame: the segment's header; an answer; how much of the segment was synced by now; the segment's end,
with another one to follow or not."""

HEAD: Final = struct.Struct("<BI")
U32: Final = struct.Struct("<I")
MARK_MAGIC: Final = b"\x00synced\xff"
MARK_FIELDS: Final = struct.Struct("<8sQQ")
MARK_BYTES: Final = MARK_FIELDS.size + U32.size
HEAD_BYTES: Final = HEAD.size + U32.size
FRAME_BYTES: Final = HEAD_BYTES + U32.size

checksum = zlib.crc32
_NAME: Final = re.compile(r"s(\d{4,})-a(\d{4,})-(\d{6,})\.journal")
_encode: Final = msgspec.msgpack.Encoder().encode


class Header(msgspec.Struct, frozen=True):
    """What a segment says of itself. `chain` is the last checksum of the segment before (0 in the first)."""

    run: str
    shard: int
    attempt: int
    segment: int
    policy: Policy
    chain: int


def frame(kind: int, payload: bytes, chain: int) -> tuple[bytes, int]:
    """A frame, and the checksum that the next one continues from."""
    head = HEAD.pack(kind, len(payload))
    head_crc = checksum(head, chain)
    chain = checksum(payload, head_crc)
    return b"".join((head, U32.pack(head_crc), payload, U32.pack(chain))), chain


def mark_payload(synced: int, at: int, seed: int) -> bytes:
    """The payload of a mark whose frame is at byte `at`: everything before byte `synced` was on the disk by then.

    It has a checksum of its own, seeded with the one after the segment's header, so that a reader finds it beyond
    damage, where the chain of checksums is lost: that tells damage to what was synced from what a lost machine never
    wrote.
    """
    fields = MARK_FIELDS.pack(MARK_MAGIC, synced, at)
    return fields + U32.pack(checksum(fields, seed))


def segment_name(shard: int, attempt: int, segment: int) -> str:
    """The file name of a segment."""
    return f"s{shard:04}-a{attempt:04}-{segment:06}.journal"


def segments(folder: Path) -> dict[tuple[int, int], dict[int, Path]]:
    """The segments in a folder: (attempt, shard) to number to file, sorted. Raises StorageError on a strange name."""
    found: dict[tuple[int, int], dict[int, Path]] = {}
    with naming(folder, "listed"):
        names = sorted(path.name for path in folder.iterdir())
    for name in names:
        if not name.endswith(".journal"):
            continue
        match = _NAME.fullmatch(name)
        if match is None or segment_name(*(int(part) for part in match.groups())) != name:
            raise StorageError(f"{folder / name}: is not a segment that populace names. Move it out of the folder.")
        shard, attempt, segment = (int(part) for part in match.groups())
        found.setdefault((attempt, shard), {})[segment] = folder / name
    return {key: dict(sorted(found[key].items())) for key in sorted(found)}


def next_attempt(folder: Path) -> int:
    """The lowest attempt number above all those in a folder; 0 where there is no journal.

    One number serves all shards: where an ask was answered in two attempts, the higher one counts, whichever shard
    hosted the agent then.
    """
    return max((attempt for attempt, _ in segments(folder)), default=-1) + 1 if folder.exists() else 0


def _refused(key: bytes, answer: Answer, size: int) -> ValueError | StorageError:
    """Why no record can hold a pair."""
    if len(key) != KEY_BYTES:
        return ValueError(f"a content key has {KEY_BYTES} bytes, this one {len(key)}")
    return StorageError(
        f"the answer to ask {answer.nth} of agent {answer.agent} in tick {answer.tick} takes "
        f"{size} bytes and a journal's record {RECORD_BYTES} at most. Lower max_tokens."
    )


class Journal:
    """Appends the answers of one shard in one attempt. One thread appends; `commit` and `sync` may run in another.

    Raises StorageError when this shard has segments of this attempt or of a later one already: a late writer of a
    former attempt must not add to the record.

    >>> journal = Journal(Path("run/journal"), run="7f3a", shard=0, attempt=0)  # doctest: +SKIP
    >>> journal.append([(ask.key, answer)])  # doctest: +SKIP
    >>> journal.commit()  # doctest: +SKIP
    """

    def __init__(
        self,
        folder: Path,
        *,
        run: str,
        shard: int,
        attempt: int,
        policy: Policy = "process",
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        if policy not in ("process", "machine"):
            raise ValueError(f"policy must be 'process' or 'machine', not {policy!r}")
        if shard < 0 or attempt < 0 or segment_bytes < 1:
            raise ValueError(f"shard {shard}, attempt {attempt} and segment_bytes {segment_bytes} must not be negative")
        make_folder(folder)
        latest = max((a for a, s in segments(folder) if s == shard), default=-1)
        if latest >= attempt:
            raise StorageError(
                f"{folder}: shard {shard} has written as attempt {latest} already, so attempt {attempt} comes too "
                f"late. Open the journal with attempt={next_attempt(folder)}."
            )
        self.folder = folder
        self.policy: Policy = policy
        self._run = run
        self._shard = shard
        self._attempt = attempt
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._broken = ""
        self._fd = -1
        self._path = folder
        self._segment = 0
        self._at = (0, 0, 0)
        self._records_before = 0
        self._synced = self._marked = 0
        self._seed = 0
        self._writing = False
        self.written_bytes = 0
        self._open_segment(0, 0, 0)

    @property
    def position(self) -> Position:
        """Where the journal ends now; a checkpoint keeps it, after `sync`."""
        offset, chain, records = self._at
        return Position(self._shard, self._attempt, self._segment, offset, chain, records)

    def append(self, batch: Iterable[tuple[bytes, Answer]]) -> None:
        """Write (content key, answer) pairs; `commit` makes the promise.

        All of the batch is written or none: on a full disk the segment is cut back to what it held, DiskFull is
        raised, and the journal can be used again once there is space. Raises ValueError on a key that is not of 16
        bytes, and StorageError on an answer above RECORD_BYTES.
        """
        with self._lock:
            offset, chain, records = self._ready()
            head_of, u32, crc, encode = HEAD.pack, U32.pack, checksum, _encode
            parts: list[bytes] = []
            payloads: list[bytes] = []
            size = 0
            for pair in batch:
                payload = encode(pair)
                length = len(payload)
                if length > RECORD_BYTES or len(pair[0]) != KEY_BYTES:
                    raise _refused(*pair, length)
                payloads.append(payload)
                size += length + FRAME_BYTES
            if not payloads:
                return
            if offset + size > self._segment_bytes and records > self._records_before:
                self._rotate()
                offset, chain, records = self._at
            if self._synced > self._marked:
                mark, chain = frame(MARK, mark_payload(self._synced, offset, self._seed), chain)
                parts.append(mark)
                size += len(mark)
            for payload in payloads:
                head = head_of(ANSWER, len(payload))
                head_crc = crc(head, chain)
                chain = crc(payload, head_crc)
                parts += (head, u32(head_crc), payload, u32(chain))
            self._write(b"".join(parts))
            self._marked = self._synced
            self._at = (offset + size, chain, records + len(payloads))
            self._writing = False

    def commit(self) -> None:
        """Make the policy's promise for all that was appended. Raises StorageError."""
        if self.policy == "machine":
            self.sync()
        elif self._broken:
            raise StorageError(self._broken)

    def sync(self) -> None:
        """Put all that was appended on the disk, whatever the policy. Raises StorageError.

        A failed sync is final: the system may have dropped what it could not write, so a second try that succeeds
        would promise nothing.
        """
        with self._lock:
            offset, _, _ = self._ready()
            segment = self._segment
            if self._synced == offset:
                return
            descriptor = os.dup(self._fd)
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            failure = storage_error(error, self._path, "synced")
            self._broken = str(failure)
            raise failure from error
        finally:
            os.close(descriptor)
        with self._lock:
            if self._segment == segment:
                self._synced = max(self._synced, offset)

    def close(self) -> None:
        """End the journal: mark it as closed, and sync it. A second call does nothing. Raises StorageError."""
        with self._lock:
            if self._fd < 0:
                return
            try:
                if not self._broken:
                    self._end(CLOSED)
            finally:
                os.close(self._fd)
                self._fd = -1
                self._broken = self._broken or f"{self._path}: the journal is closed"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ready(self) -> tuple[int, int, int]:
        """Where to write. An append that was interrupted half way (Ctrl-C) is cut off first."""
        if self._broken:
            raise StorageError(self._broken)
        if self._writing:
            self._cut()
        return self._at

    def _write(self, data: bytes) -> None:
        self._writing = True
        try:
            write_all(self._fd, data)
        except OSError as error:
            self._cut()
            raise storage_error(error, self._path, "written") from error
        self.written_bytes += len(data)

    def _cut(self) -> None:
        try:
            os.ftruncate(self._fd, self._at[0])
        except OSError as error:
            failure = storage_error(error, self._path, "cut back to its last whole record")
            self._broken = str(failure)
            raise failure from error
        self._writing = False

    def _open_segment(self, segment: int, chain: int, records: int) -> None:
        path = self.folder / segment_name(self._shard, self._attempt, segment)
        header = Header(self._run, self._shard, self._attempt, segment, self.policy, chain)
        data, chain = frame(HEADER, _encode(header), checksum(MAGIC))
        descriptor = create_file(path)
        try:
            lock_soon(descriptor)  # whether it is still written; a file system may have no locks
            with naming(path, "written"):
                write_all(descriptor, MAGIC + data)
                if self.policy == "machine":
                    os.fdatasync(descriptor)
            sync_folder(self.folder)
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        former, at = self._fd, (len(MAGIC) + len(data), chain, records)
        # Nothing is called between these, so that no signal's handler (Ctrl-C) can leave them half changed.
        self._fd, self._path, self._segment, self._at = descriptor, path, segment, at
        self._records_before, self._seed = records, chain
        self._synced = self._marked = 0
        self._writing = False
        if former >= 0:
            os.close(former)

    def _rotate(self) -> None:
        """End the segment and begin the next. The end is on disk first, so a segment with a successor is whole."""
        before, segment = self._at, self._segment
        try:
            self._end(ROTATED)
            _, chain, records = self._at
            self._open_segment(segment + 1, chain, records)
        except BaseException:
            if self._segment == segment and not self._broken:
                self._at = before
                self._synced = min(self._synced, before[0])
                self._cut()
            raise

    def _end(self, kind: int) -> None:
        offset, chain, records = self._ready()
        data, chain = frame(kind, b"", chain)
        self._write(data)
        self._at = (offset + len(data), chain, records)
        self._writing = False
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            failure = storage_error(error, self._path, "synced")
            self._broken = str(failure)
            raise failure from error
        self._synced = self._at[0]
