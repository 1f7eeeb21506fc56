"""What the tests of the journal share: answers, and a journal written and read in one go."""

from __future__ import annotations

import os
from pathlib import Path

from populace.core.errors import JournalDamaged
from populace.core.records import Answer
from populace.store.journal.read import Report, read_journal
from populace.store.journal.write import Journal, Position

Pair = tuple[bytes, Answer]


def answer(n: int, text: str = "yes", tick: int = 0) -> Pair:
    return n.to_bytes(16, "little"), Answer(n, tick, 0, "answered", text, calls=1, tokens_in=n, latency_s=n / 7)


def write(folder: Path, pairs: list[Pair], batch: int = 3, close: bool = True, **options: object) -> Position:
    fields = {"run": "r", "shard": 0, "attempt": 0, **options}
    journal = Journal(folder, **fields)  # type: ignore[arg-type]
    for at in range(0, len(pairs), batch):
        journal.append(pairs[at : at + batch])
        journal.commit()
    position = journal.position
    if close:
        journal.close()
    else:
        os.close(journal._fd)
    return position


def read(folder: Path, **options: object) -> list[Pair]:
    return [(r.key, r.answer) for r in read_journal(folder, **options)]  # type: ignore[arg-type]


def read_until_damage(folder: Path, report: Report) -> tuple[list[Pair], str]:
    got: list[Pair] = []
    try:
        got.extend((record.key, record.answer) for record in read_journal(folder, report=report))
    except JournalDamaged as error:
        return got, str(error)
    return got, ""
