"""Going on with a run whose journal is damaged: what is lost, told before anything is asked again. Shell: files.

What a salvage leaves out is named in `run.json` from then on, so that later attempts, replays and forks read the
journal in the same way, and damage that comes later is an error again. Nothing is deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from populace.core.records import Position
from populace.store.journal.check import damages
from populace.store.journal.read import Report, read_journal
from populace.store.journal.write import segment_name


class Salvage(msgspec.Struct, frozen=True):
    """What a salvage came upon: the `segments` that are not read to their ends, and `notes` that say what is lost."""

    segments: list[str]
    notes: tuple[str, ...]


def salvage_journal(
    journal: Path,
    run: str,
    tick: int,
    since: Sequence[Position],
    files: Mapping[str, int],
    salvaged: Collection[str] = (),
) -> Salvage:
    """Read all that is good of a run's journal, and say what is not: after its checkpoint before `tick`, and before it.

    `since` are the checkpoint's positions, `files` the lengths in the manifest. Raises StorageError where a file
    cannot be read, or is another run's.
    """
    ahead, whole = Report(), Report()
    for report, begin in ((ahead, since), (whole, ())):
        for _ in read_journal(journal, run=run, since=begin, report=report, salvage=True):
            pass
    kept = damages(journal, run, since, files, salvaged)
    missing = [at for at in since if not (journal / segment_name(at.shard, at.attempt, at.segment)).exists()]
    found = [one for one in (*ahead.damaged, *whole.damaged, *kept) if one.segment not in salvaged]
    first = {one.segment: one for one in reversed(found)}
    notes = [f"{journal.name}/{one.segment}: {one.why}" for one in sorted(first.values(), key=lambda one: one.segment)]
    if not notes:
        return Salvage(sorted(salvaged), ("nothing of the journal is damaged",))
    before = sum(at.records for at in missing)
    if before:
        notes.append(f"lost: {before:,} answers from before tick {tick}, where the run goes on from its checkpoint")
    if before or {one.segment for one in whole.damaged} - {one.segment for one in ahead.damaged}:
        notes.append(
            f"what is lost from before tick {tick} is not asked again: the run goes on, and a replay or a fork of it "
            "finds no answer there"
        )
    if ahead.damaged:
        notes.append(
            f"{ahead.records:,} answers after tick {tick} are still on record; those that are lost are asked again, "
            "and cost again"
        )
    return Salvage(sorted({*salvaged, *(one.segment for one in found)}), tuple(notes))
