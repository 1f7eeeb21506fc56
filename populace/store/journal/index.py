"""An index over a journal: the answer to an ask by its identity. Shell: files.

The index holds columns (about 20 bytes an answer) and no text; an answer is read from its segment, and its checksum
tested again, when it is looked up. So ten million answers take 200 MB of memory and not their full length.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.errors import JournalDamaged
from populace.core.records import Answer
from populace.store.journal import write as journal
from populace.store.journal.read import Recorded
from populace.store.journal.write import FRAME_BYTES, HEAD, HEAD_BYTES, U32
from populace.store.storage import naming

_NTH_BITS: Final = 20
_OPEN_FILES: Final = 64
_answer_of: Final = msgspec.msgpack.Decoder(tuple[bytes, Answer]).decode


class JournalIndex:
    """Finds answers by (agent, tick, nth).

    Where an ask was answered in several attempts, the highest attempt counts: it is the one that read what the
    former ones had left, and that went on from there. Twice the same answer in one attempt is one answer; raises
    JournalDamaged on two different ones, which no run writes.

    >>> with JournalIndex(read_journal(folder)) as index:  # doctest: +SKIP
    ...     index.find(agent=3, tick=0, nth=0)
    """

    def __init__(self, records: Iterable[Recorded]) -> None:
        ticks, codes, attempts, places, offsets = (array("q") for _ in range(5))
        paths: dict[Path, int] = {}
        for record in records:
            answer = record.answer
            if not (0 <= answer.nth < 1 << _NTH_BITS and -(1 << 42) <= answer.agent < 1 << 42):
                raise JournalDamaged(
                    f"{record.path}: at byte {record.offset}: ask {answer.nth} of agent {answer.agent} is beyond what "
                    f"a run can hold (2**{_NTH_BITS} asks a turn, agent ids below 2**42)."
                )
            ticks.append(answer.tick)
            codes.append((answer.agent << _NTH_BITS) | answer.nth)
            attempts.append(record.attempt)
            places.append(paths.setdefault(record.path, len(paths)))
            offsets.append(record.offset)
        self._paths = list(paths)
        self._files: dict[int, int] = {}
        self._alike: tuple[tuple[int, int], dict[bytes, list[int]]] | None = None
        tick, code, attempt = _column(ticks), _column(codes), _column(attempts)
        order = np.lexsort((-attempt, code, tick))
        tick, code = tick[order], code[order]
        self._place, self._offset = _column(places)[order].astype(np.int32), _column(offsets)[order]
        repeated = np.zeros(len(order), dtype=bool)
        repeated[1:] = (tick[1:] == tick[:-1]) & (code[1:] == code[:-1])
        self._refuse_conflicts(repeated, attempt[order])
        kept = ~repeated
        self._code, self._place, self._offset = code[kept], self._place[kept], self._offset[kept]
        first, bounds = np.unique(tick[kept], return_index=True)
        stops = np.append(bounds, len(self._code))[1:]
        self._ticks = {t: (a, b) for t, a, b in zip(first.tolist(), bounds.tolist(), stops.tolist(), strict=True)}

    def __len__(self) -> int:
        return len(self._code)

    def ticks(self) -> list[int]:
        """The ticks in which something was answered, in order."""
        return list(self._ticks)

    def per_tick(self) -> dict[int, int]:
        """How many answers there are to each tick's asks."""
        return {tick: stop - start for tick, (start, stop) in self._ticks.items()}

    def find(self, agent: int, tick: int, nth: int) -> Recorded | None:
        """The answer to this ask, or None. Raises JournalDamaged when its segment changed since it was indexed."""
        start, stop = self._ticks.get(tick, (0, 0))
        code = (agent << _NTH_BITS) | nth
        row = start + int(self._code[start:stop].searchsorted(code))
        if row == stop or self._code[row] != code:
            return None
        return self._read(row)

    def find_alike(self, agent: int, tick: int, key: bytes, at: int) -> Recorded | None:
        """The answer to the ask number `at` (from 0) of those of an agent in a tick that have this content key.

        Raises JournalDamaged as `find` does.
        """
        if self._alike is None or self._alike[0] != (agent, tick):
            start, stop = self._ticks.get(tick, (0, 0))
            codes = self._code[start:stop]
            first, last = codes.searchsorted([agent << _NTH_BITS, (agent + 1) << _NTH_BITS]).tolist()
            by_key: dict[bytes, list[int]] = {}
            for row in range(start + first, start + last):
                by_key.setdefault(self._read(row).key, []).append(row)
            self._alike = (agent, tick), by_key
        rows = self._alike[1].get(key, [])
        return self._read(rows[at]) if at < len(rows) else None

    def before(self, tick: int) -> Iterator[Recorded]:
        """The answers to asks of the ticks before this one, by tick, agent and nth. Raises JournalDamaged as `find`."""
        for of, (start, stop) in self._ticks.items():
            if of < tick:
                yield from map(self._read, range(start, stop))

    def close(self) -> None:
        """Close the segments that look-ups opened; a later look-up opens them again."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _refuse_conflicts(self, repeated: NDArray[np.bool_], attempt: NDArray[np.int64]) -> None:
        for row in np.flatnonzero(repeated).tolist():
            if attempt[row] == attempt[row - 1]:
                one, two = self._read(row - 1), self._read(row)
                if (one.key, one.answer) != (two.key, two.answer):
                    raise JournalDamaged(
                        f"{one.path} at byte {one.offset} and {two.path} at byte {two.offset}: two different answers "
                        f"to ask {one.answer.nth} of agent {one.answer.agent} in tick {one.answer.tick}, both of "
                        f"attempt {one.attempt}. Two shards wrote under one attempt number: keep the one whose "
                        "answers the run's tables hold and move the other's segments away."
                    )

    def _read(self, row: int) -> Recorded:
        place, offset = int(self._place[row]), int(self._offset[row])
        path = self._paths[place]
        with naming(path, "read"):
            descriptor = self._descriptor(place)
            head = os.pread(descriptor, U32.size + HEAD_BYTES, offset - U32.size)
            if len(head) == U32.size + HEAD_BYTES:
                (chain,) = U32.unpack_from(head)
                _, length = HEAD.unpack_from(head, U32.size)
                head_crc = journal.checksum(head[U32.size : U32.size + HEAD.size], chain)
                if U32.unpack_from(head, U32.size + HEAD.size)[0] == head_crc and length <= journal.RECORD_BYTES:
                    body = os.pread(descriptor, length + U32.size, offset + HEAD_BYTES)
                    if len(body) == length + U32.size:
                        payload = body[:length]
                        if U32.unpack_from(body, length)[0] == journal.checksum(payload, head_crc):
                            key, answer = _answer_of(payload)
                            attempt = int(path.name.split("-")[1][1:])
                            return Recorded(key, answer, path, attempt, offset)
        raise JournalDamaged(
            f"{path}: damaged at byte {offset}: a frame of {FRAME_BYTES} bytes or more was read there before, and is "
            "not there now. Something else writes to the run's folder: stop it, then read the journal again."
        )

    def _descriptor(self, place: int) -> int:
        descriptor = self._files.pop(place, -1)
        if descriptor < 0:
            while len(self._files) >= _OPEN_FILES:
                os.close(self._files.pop(next(iter(self._files))))
            descriptor = os.open(self._paths[place], os.O_RDONLY | os.O_CLOEXEC)
        self._files[place] = descriptor
        return descriptor


def _column(values: array[int]) -> NDArray[np.int64]:
    return np.frombuffer(values, dtype=np.int64) if len(values) else np.empty(0, dtype=np.int64)
