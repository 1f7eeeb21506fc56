"""Reading a journal back: a stream of answers in bounded memory, which stops at damage. Shell: files.

How a segment may end, and what it means:

- with its end frame: it is whole, and any byte of it that is wrong is damage;
- without one, in the last segment of an attempt: the writer was killed (or is still at work). A last frame that is
  cut short, or nothing but zeros (a lost machine left the length and not the data), is a torn tail: it is reported,
  and is no error. Under policy `machine`, so is any wrong byte of which no later mark says that it was synced, since
  it may never have reached the disk; under policy `process` it is damage, since a kill cuts and does nothing else;
- without one, in a segment with a successor: damage.

That whole records are missing at the very end of an open journal cannot be seen in the journal. A checkpoint's
`Position` shows it: give it as `since`, and a journal that does not reach it is damage.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

import msgspec

from populace.core.errors import JournalDamaged, StorageError
from populace.core.records import Answer, Position
from populace.store.journal import write as journal
from populace.store.journal.write import (
    ANSWER,
    CLOSED,
    FRAME_BYTES,
    HEAD,
    HEAD_BYTES,
    HEADER,
    KEY_BYTES,
    MAGIC,
    MARK,
    MARK_BYTES,
    MARK_FIELDS,
    MARK_MAGIC,
    ROTATED,
    U32,
    Header,
)
from populace.store.storage import naming

_BUFFER_BYTES: Final = 1 << 20
_answer_of: Final = msgspec.msgpack.Decoder(tuple[bytes, Answer]).decode
_header_of: Final = msgspec.msgpack.Decoder(Header).decode


class Recorded(msgspec.Struct, frozen=True):
    """An answer as it stands in a journal: with its content key, and where. `offset` is its frame's, in bytes."""

    key: bytes
    answer: Answer
    path: Path
    attempt: int
    offset: int


class Torn(msgspec.Struct, frozen=True):
    """A tail that was never wholly written. `lost_bytes` stand in the file from `offset` on and count for nothing."""

    path: Path
    offset: int
    lost_bytes: int
    why: str


class Report(msgspec.Struct):
    """What a reading came upon, complete once the reading is.

    `ends` holds where each (shard, attempt) ends, `closed` those that were closed by their writer; `damaged` is
    only ever filled by a salvage.
    """

    records: int = 0
    torn: list[Torn] = []
    damaged: list[JournalDamaged] = []
    ends: dict[tuple[int, int], Position] = {}
    closed: set[tuple[int, int]] = set()


def read_journal(
    folder: Path,
    *,
    run: str | None = None,
    since: Iterable[Position] = (),
    before: int | None = None,
    report: Report | None = None,
    salvage: bool | Collection[str] = False,
    record_bytes: int = journal.RECORD_BYTES,
) -> Iterator[Recorded]:
    """Every answer in a journal's folder, by attempt, shard and order of writing.

    `since` skips what stands before these positions, and checks that the journal reaches them. `before` leaves out
    that attempt and later ones, which are being written. Memory is bounded by `record_bytes`, whatever a file says.
    Raises JournalDamaged at damage, with file and offset; with `salvage` (of all segments, or of those named) the rest
    of that segment is left out instead, and the damage is in the report. Raises StorageError when the journal is of
    another run than `run`, or a file cannot be read.
    """
    report = Report() if report is None else report
    positions = {(position.attempt, position.shard): position for position in since}
    found = journal.segments(folder) if folder.exists() else {}
    for key, position in positions.items():
        if position.segment not in found.get(key, {}):
            name = journal.segment_name(position.shard, position.attempt, position.segment)
            _salvage(damage(folder / name, 0, "it is missing, and a checkpoint refers to it"), report, salvage)
    for key, files in found.items():
        if before is not None and key[0] >= before:
            continue
        start = positions.get(key)
        yield from _read_attempt(files, start, run, report, salvage, record_bytes)


def _read_attempt(
    files: dict[int, Path],
    since: Position | None,
    run: str | None,
    report: Report,
    salvage: bool | Collection[str],
    record_bytes: int,
) -> Iterator[Recorded]:
    expected = 0 if since is None else since.segment
    records = 0 if since is None else since.records
    chain: int | None = 0 if since is None else None
    for number, path in files.items():
        if number < expected and since is not None:
            continue
        if number != expected:
            _salvage(damage(path, 0, f"segment {expected} before it is missing"), report, salvage)
            chain = None
        start = since if since is not None and number == since.segment else None
        last = number == max(files)
        segment = _Segment(path, run, start, chain, last, records, record_bytes)
        try:
            yield from segment.read(report)
        except JournalDamaged as damaged:
            _salvage(damaged, report, salvage)
            segment.chain_known = False
        records = segment.records
        chain = segment.chain if segment.chain_known else None
        expected = number + 1
        if segment.header is not None:
            shard, attempt = segment.header.shard, segment.header.attempt
            report.ends[shard, attempt] = Position(shard, attempt, number, segment.offset, segment.chain, records)
            if segment.ended == CLOSED:
                report.closed.add((shard, attempt))


class _Segment:
    """One pass over one segment. `offset` and `chain` follow the last frame that was found good."""

    def __init__(
        self,
        path: Path,
        run: str | None,
        since: Position | None,
        chain_before: int | None,
        last: bool,
        records: int,
        record_bytes: int,
    ) -> None:
        self.path = path
        self.header: Header | None = None
        self.offset = 0
        self.chain = 0
        self.chain_known = True
        self.records = records
        self.ended = 0
        self._run = run
        self._since = since
        self._chain_before = chain_before
        self._last = last
        self._record_bytes = record_bytes
        self._seed = 0

    def read(self, report: Report) -> Iterator[Recorded]:
        """The segment's answers. Raises JournalDamaged."""
        with naming(self.path, "read"), self.path.open("rb", buffering=_BUFFER_BYTES) as file:
            size = os.fstat(file.fileno()).st_size
            whole = yield from self._frames(file, size, report)
            if whole and not self.ended and not self._last:
                self._damaged("it has no end, and another segment follows it")

    def _frames(self, file: BinaryIO, size: int, report: Report) -> Generator[Recorded, None, bool]:
        """The same; its value says whether the segment was read up to the end of its file."""
        if not self._open(file, size, report):
            return False
        attempt = self.header.attempt if self.header else 0
        while (offset := self.offset) < size:
            if self.ended:
                self._damaged("there are bytes after its end")
            found = self._frame(file, size, report)
            if found is None:
                return False
            kind, payload = found
            if kind == ANSWER:
                key, answer = self._decode(_answer_of, payload, offset)
                if len(key) != KEY_BYTES:
                    self._damaged(f"the content key has {len(key)} bytes, not {KEY_BYTES}", offset)
                self.records += 1
                report.records += 1
                yield Recorded(key, answer, self.path, attempt, offset)
            elif kind == MARK and len(payload) == MARK_BYTES:
                pass
            elif kind in (ROTATED, CLOSED) and not payload:
                self.ended = kind
            else:
                self._damaged(f"a frame of kind {kind} and {len(payload)} bytes has no place here", offset)
        return True

    def check(self, until: int | None, report: Report) -> None:
        """Check the frames up to byte `until`, or all, and decode no answer. Raises JournalDamaged."""
        with naming(self.path, "read"), self.path.open("rb", buffering=_BUFFER_BYTES) as file:
            size = os.fstat(file.fileno()).st_size
            if until is not None and size < until:
                self._damaged(f"it ends after {size:,} bytes, and the run counts on {until:,}", size)
            size = size if until is None else until
            if not self._open(file, size, report):
                return
            while self.offset < size and (found := self._frame(file, size, report)) is not None:
                self.ended = found[0] if found[0] in (ROTATED, CLOSED) else 0
                self.records += found[0] == ANSWER

    def _open(self, file: BinaryIO, size: int, report: Report) -> bool:
        magic = file.read(len(MAGIC))
        if magic != MAGIC:
            if len(magic) < len(MAGIC) and MAGIC.startswith(magic):
                return self._tear(size, "cut within its first bytes", report)
            if self._zeros(file, 0):
                return self._tear(size, "nothing but zeros", report)
            self._damaged(f"it begins with {magic!r}, and a journal of this version with {MAGIC!r}")
        self.offset, self.chain = len(MAGIC), journal.checksum(MAGIC)
        found = self._frame(file, size, report)
        if found is None:
            return False
        kind, payload = found
        if kind != HEADER:
            self._damaged("it has no header", len(MAGIC))
        header: Header = self._decode(_header_of, payload, len(MAGIC))
        self._seed = self.chain
        self.header = header
        if self.path.name != journal.segment_name(header.shard, header.attempt, header.segment):
            self._damaged(f"its header says shard {header.shard}, attempt {header.attempt}, segment {header.segment}")
        if self._run is not None and header.run != self._run:
            raise StorageError(f"{self.path}: is of run {header.run}, not of {self._run}. Check the run's folder.")
        if self._chain_before is not None and header.chain != self._chain_before:
            self._damaged("it does not continue the segment before it")
        if self._since is not None:
            if size < self._since.offset:
                self._damaged(f"it ends after {size} bytes, and a checkpoint refers to byte {self._since.offset}", size)
            file.seek(self._since.offset)
            self.offset, self.chain = self._since.offset, self._since.chain
        return True

    def _frame(self, file: BinaryIO, size: int, report: Report) -> tuple[int, bytes] | None:
        """The frame at `offset`; None for a torn tail, which is in the report then. Raises JournalDamaged."""
        offset, left = self.offset, size - self.offset
        head = file.read(HEAD_BYTES)
        if left < HEAD_BYTES or len(head) < HEAD_BYTES:  # its writer may cut a torn tail off while it is read
            self._tear(size, "cut within a frame's head", report)
            return None
        kind, length = HEAD.unpack_from(head)
        head_crc = journal.checksum(head[: HEAD.size], self.chain)
        if U32.unpack_from(head, HEAD.size)[0] != head_crc:
            self._wrong(file, size, "the checksum of a frame's head does not fit", report)
            return None
        if length > self._record_bytes:
            self._damaged(f"a frame claims {length} bytes, and {self._record_bytes} are allowed")
        if left < length + FRAME_BYTES:
            self._tear(size, "cut within a frame", report)
            return None
        payload = file.read(length)
        chain = journal.checksum(payload, head_crc)
        if U32.unpack(file.read(U32.size))[0] != chain:
            self._wrong(file, size, "the checksum of a frame does not fit", report)
            return None
        self.offset, self.chain = offset + length + FRAME_BYTES, chain
        return kind, payload

    def _wrong(self, file: BinaryIO, size: int, why: str, report: Report) -> None:
        """A checksum that does not fit at `offset`: a torn tail where that can come of a lost machine, or damage."""
        machine = self.header is not None and self.header.policy == "machine"
        if self._last and self._zeros(file, self.offset):
            self._tear(size, "nothing but zeros from there on", report)
        elif self._last and machine and not self._was_synced(file):
            self._tear(size, f"{why}, and it was not known to be synced", report)
        else:
            self._damaged(why)

    def _was_synced(self, file: BinaryIO) -> bool:
        """Whether a whole mark further on in the file says that the frame at `offset` was on the disk."""
        file.seek(self.offset)
        before, window = self.offset, b""
        while chunk := file.read(_BUFFER_BYTES):
            window += chunk
            at = window.find(MARK_MAGIC)
            while 0 <= at <= len(window) - MARK_BYTES:
                _, synced, place = MARK_FIELDS.unpack_from(window, at)
                mark = journal.mark_payload(synced, place, self._seed)
                if window[at : at + MARK_BYTES] == mark and place + HEAD_BYTES == before + at and synced > self.offset:
                    return True
                at = window.find(MARK_MAGIC, at + 1)
            kept = min(len(window), MARK_BYTES - 1)
            before += len(window) - kept
            window = window[len(window) - kept :]
        return False

    def _tear(self, size: int, why: str, report: Report) -> bool:
        if not self._last:
            self._damaged(f"{why}, and another segment follows it")
        report.torn.append(Torn(self.path, self.offset, size - self.offset, why))
        return False

    def _zeros(self, file: BinaryIO, offset: int) -> bool:
        file.seek(offset)
        while chunk := file.read(_BUFFER_BYTES):
            if chunk.count(0) != len(chunk):
                return False
        return True

    def _decode(self, decode: Any, payload: bytes, offset: int) -> Any:
        try:
            return decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._damaged(f"a frame with a checksum that fits cannot be read: {error}", offset)

    def _damaged(self, why: str, offset: int | None = None) -> NoReturn:
        raise damage(self.path, self.offset if offset is None else offset, why)


def check_segment(path: Path, run: str, chain_before: int | None, until: int | None, chain: int | None) -> int:
    """Check a segment up to byte `until` (where the checksum must be `chain`, if given), or to its end.

    `chain_before` is the last checksum of the segment before, None where that is not known. Gives the last checksum
    there. Raises JournalDamaged, also where the segment has no end and is to be read to it.
    """
    report = Report()
    segment = _Segment(path, run, None, chain_before, True, 0, journal.RECORD_BYTES)
    segment.check(until, report)
    if report.torn:
        raise damage(path, report.torn[0].offset, f"{report.torn[0].why}, and the run counts on what follows")
    if until is None and segment.ended != ROTATED:
        raise damage(path, segment.offset, "it has no end, and another segment follows it")
    if chain is not None and segment.chain != chain:
        raise damage(path, segment.offset, "what stands before it is not what a checkpoint saw there")
    return segment.chain


def damage(path: Path, offset: int, why: str) -> JournalDamaged:
    """The error to raise for what is wrong with a segment at a byte of it."""
    run = shlex.quote(str(path.parent.parent))
    error = JournalDamaged(
        f"{path}: damaged at byte {offset}: {why}. Put a good copy of the file back. Without one, "
        f"`populace resume {run} --salvage` (or `populace fork {run} --at-tick T --salvage` of a complete run) leaves "
        "out the rest of this segment, says what is lost, and asks that again."
    )
    error.segment, error.why = path.name, f"damaged at byte {offset}: {why}"
    return error


def _salvage(damaged: JournalDamaged, report: Report, salvage: bool | Collection[str]) -> None:
    if salvage is not True and (salvage is False or damaged.segment not in salvage):
        raise damaged
    report.damaged.append(damaged)
