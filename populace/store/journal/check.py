"""Whether a journal still holds what its run counts on, before anything rests on it. Shell: files.

What a journal has lost at its end, or a whole file, it cannot say itself. Two others can: a checkpoint, by its
positions, and the manifest, by the length of each file when the run ended.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from populace.core.errors import JournalDamaged
from populace.core.records import Position
from populace.store.journal.read import check_segment, damage
from populace.store.journal.write import segment_name, segments
from populace.store.storage import naming


def lengths(journal: Path) -> dict[str, int]:
    """The journal's files with their lengths in bytes, for the manifest. Raises StorageError."""
    if not journal.exists():
        return {}
    with naming(journal, "listed"):
        return {path.name: path.stat().st_size for files in segments(journal).values() for path in files.values()}


def check_journal(
    journal: Path, run: str, since: Sequence[Position], files: Mapping[str, int], salvaged: Collection[str] = ()
) -> None:
    """Raise JournalDamaged for the first thing wrong with what a run counts on; see `damages`."""
    for one in damages(journal, run, since, files, salvaged):
        raise one


def check_lengths(journal: Path, files: Mapping[str, int], salvaged: Collection[str] = ()) -> None:
    """Raise JournalDamaged where one of these files is missing or shorter; nothing is read."""
    for name, length in files.items():
        path = journal / name
        if name in salvaged:
            continue
        if not path.exists():
            raise damage(path, 0, f"it is missing, and the run's manifest counts on its {length:,} bytes")
        if (size := path.stat().st_size) < length:
            raise damage(path, size, f"it ends after {size:,} bytes, and the run's manifest counts on {length:,}")


def damages(
    journal: Path, run: str, since: Sequence[Position], files: Mapping[str, int], salvaged: Collection[str] = ()
) -> list[JournalDamaged]:
    """What is wrong with the journal up to a checkpoint's positions `since`, and with the manifest's `files`.

    A file of which no length is known (0) only has to be there.

    Every frame's checksums are tested there, and no answer is decoded, so it takes less than to read it. The
    segments `salvaged` are known to be damaged. Raises StorageError where the journal is another run's, or cannot be
    read.
    """
    found: list[JournalDamaged] = []
    there = segments(journal) if journal.exists() else {}
    ends: dict[str, tuple[int | None, int | None]] = {name: (length, None) for name, length in files.items()}
    for at in since:
        if not at.records:
            continue
        for number in range(at.segment):
            ends.setdefault(segment_name(at.shard, at.attempt, number), (None, None))
        name = segment_name(at.shard, at.attempt, at.segment)
        if (ends.get(name, (0, None))[0] or 0) <= at.offset:
            ends[name] = (at.offset, at.chain)
    for name in ends:
        path = journal / name
        if name not in salvaged and not path.exists():
            found.append(damage(path, 0, f"it is missing, and {_who(name, since)} counts on the answers in it"))
    for of_shard in there.values():
        chain: int | None = 0
        for number, path in of_shard.items():
            followed = any(later > number and of_shard[later].name in ends for later in of_shard)
            if path.name not in ends and not followed:
                break
            if path.name in salvaged or ends.get(path.name) == (0, None):
                chain = None
            else:
                until = (None, None) if followed else ends[path.name]
                chain = _check(path, run, chain, until, found)
    return found


def _check(
    path: Path, run: str, chain: int | None, until: tuple[int | None, int | None], found: list[JournalDamaged]
) -> int | None:
    """The segment's last checksum; None where it is damaged, which is among `found` then."""
    try:
        return check_segment(path, run, chain, *until)
    except JournalDamaged as error:
        found.append(error)
        return None


def _who(name: str, since: Sequence[Position]) -> str:
    places = {segment_name(at.shard, at.attempt, number) for at in since for number in range(at.segment + 1)}
    return "a checkpoint" if name in places else "the run's manifest"
