"""Checkpoints of a run: what it needs to go on from a tick's edge. Shell: files.

`Checkpoints.save` writes a generation; `latest` reads the newest that is good. Damage to any one file costs one
generation at most: odd and even generations share no file, since each refers to its own line's files only (what
changed is written once in either line). What did not change is referred to and not written again; a table of rows
(the agents) is a base and changes to it, which are merged eight at a time, and anew into a base once they outgrow it.
A large array (agents in columns, a part's state) is a base and the rows that changed in it, until these outgrow it.
So a save's cost follows activity: each changed row is written a few times altogether, whatever the population; but
arrays are read through, and one copy of each is kept, to find which rows these are; tables are laid over one another as
columns (`kernel.row_tables`).

Nothing is referred to but what this process wrote itself: the first two saves of a process are whole. Where hosts
write pieces of a generation themselves (`write_piece`), each keeps lines of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from populace.core.errors import CheckpointDamaged, StorageError
from populace.kernel.blocks import Block, Rows, Shape, encode_block
from populace.kernel.patches import Rows as Changed
from populace.kernel.patches import encode_patch, patch_bytes
from populace.kernel.row_tables import RowTable, encode_table, overlay, pages, table_of
from populace.store.checkpoint.file import (
    PIECES,
    TEMPORARY,
    Author,
    BlockEntry,
    Contents,
    Extent,
    GenerationWriter,
    Piece,
    digest,
    file_name,
    generations,
    read_contents,
    read_entry,
    read_part,
    read_pieces,
    read_table,
)
from populace.store.checkpoint.frozen import Freezer, Frozen, is_patched
from populace.store.checkpoint.pieces import join_blocks
from populace.store.storage import make_folder, naming, remove_file, unreadable

_FANOUT: Final = 8
_DEAD_SHARE: Final = 0.5
_MOST_PATCHES: Final = 64
_ROWS: Final = Shape("rows")
_LOOKS: Final = 8
"""How often a folder is looked at whose generations change while they are read."""


class Checkpoint(msgspec.Struct, frozen=True):
    """A state as it was saved. `skipped` tells why newer generations were not used, empty when there were none."""

    run: str
    tick: int
    number: int
    path: Path
    blocks: dict[str, Any]
    skipped: tuple[str, ...] = ()


class Saved(msgspec.Struct, frozen=True):
    """What a save did: `written_bytes` is the new files' length, `state_bytes` what the state takes in parts.

    The latter is that of the generation's own file, without its pieces. `seal` is the own file's.
    """

    number: int
    path: Path
    written_bytes: int
    state_bytes: int
    seal: bytes = b""


def load(path: Path, *, run: str | None = None) -> Checkpoint:
    """One generation, every byte of it checked. Raises CheckpointDamaged; StorageError when it is of another run."""
    contents = read_contents(path)
    if run is not None and contents.run != run:
        raise StorageError(f"{path}: is of run {contents.run}, not of {run}. Check the run's folder.")
    blocks, *pieces = (
        {name: read_entry(path.parent, name, entry) for name, entry in one.blocks.items()}
        for one in (contents, *read_pieces(path.parent, contents))
    )
    return Checkpoint(contents.run, contents.tick, contents.number, path, join_blocks(blocks, pieces))


def latest(folder: Path, *, run: str | None = None) -> Checkpoint | None:
    """The newest generation that is good, or None where none was ever saved.

    Falls back from a damaged one to the one before, and says so in `skipped`. Where a run that is at work has saved
    meanwhile, and deleted what is read here, it looks again, a few times. Raises CheckpointDamaged when there are
    generations and none is good, and StorageError when one is of another run than `run`.
    """
    skipped: list[str] = []
    for looks_left in reversed(range(_LOOKS)):
        skipped.clear()
        there = generations(folder)
        for path in there.values():
            try:
                found = load(path, run=run)
            except StorageError as error:
                if looks_left and generations(folder) != there:
                    break
                if not (isinstance(error, CheckpointDamaged) or unreadable(error)):
                    raise
                skipped.append(str(error))
            else:
                return msgspec.structs.replace(found, skipped=tuple(skipped))
        else:
            break
    if skipped:
        raise CheckpointDamaged(
            f"{folder}: no checkpoint there is good; the run can be replayed from its journal instead.\n"
            + "\n".join(skipped)
        )
    return None


def check(path: Path) -> Contents:
    """Check every byte of a generation without keeping it. Raises CheckpointDamaged, StorageError."""
    contents = read_contents(path)
    for one in (contents, *read_pieces(path.parent, contents)):
        for entry in one.blocks.values():
            for part in entry.parts:
                read_part(path.parent, part)
    return contents


class Checkpoints:
    """Saves the generations of one run in one folder; one process at a time.

    `keep` generations stay at least, two or more. After a save that failed, and at first, `whole` is True: the next
    save must give the whole state.
    """

    def __init__(self, folder: Path, *, run: str, keep: int = 2) -> None:
        if keep < 2:
            raise ValueError(f"keep must be 2 or more, so that there is one to fall back to, not {keep}")
        make_folder(folder)
        self.folder = folder
        self._run = run
        self._keep = keep
        self._number: int | None = None
        self._contents: dict[int, Contents] = {}
        self._found: dict[int, Contents | None] = {}
        self._part_bytes: dict[str, int] = {}
        self._deltas: dict[str, RowTable] = {}
        self._freezer = Freezer()
        self._unwritten = False
        """Something was frozen and is not saved yet."""

    @property
    def whole(self) -> bool:
        """Whether the next save must give the whole state: no name in `unchanged`, every `Rows` with `whole`."""
        return self._number is None or self._unwritten

    def freeze(self, blocks: Mapping[str, Block], *, whole: bool = False) -> dict[str, Frozen | Rows]:
        """Blocks of the next save as they are now, whatever becomes of them until it is written.

        Where what was frozen before has not been saved, the next save must be `whole`. Raises StorageError for a block
        that cannot be saved.
        """
        if whole or self._unwritten:
            self._forget()
        self._unwritten = True
        return {name: self._freezer.freeze(name, block) for name, block in blocks.items()}

    @property
    def next_number(self) -> int:
        """The number of the generation that is saved next. Raises StorageError where another process saves, too."""
        on_disk = max(generations(self.folder), default=0)
        if self._number not in (None, on_disk):
            raise StorageError(
                f"{self.folder}: generation {on_disk} was written by another process; this one wrote {self._number} "
                "last. Only one may save: end the other."
            )
        return on_disk + 1

    def save(
        self,
        tick: int,
        blocks: Mapping[str, Block | Frozen],
        *,
        unchanged: Collection[str] = (),
        pieces: Collection[Piece] = (),
    ) -> Saved:
        """Write a generation; when this returns, it is on the disk and older ones may have been deleted.

        `pieces` are those that were written for this generation, by its number; all are there before it is.

        The state is `blocks` and, as they were in the save before, the blocks named in `unchanged`. A block that is
        given and is equal to what stands already is found by its digest and not written again.

        Raises StorageError: DiskFull where the disk is full, CheckpointDamaged where something that is referred to
        was damaged meanwhile. The generations before are as they were, no file with a final name is partial, and the
        next save must be whole.
        """
        if tick < 0:
            raise ValueError(f"tick {tick} is negative")
        both = sorted(set(unchanged) & set(blocks))
        if both:
            raise ValueError(f"blocks {both} are given and named as unchanged at once")
        number = self.next_number
        try:
            self._check_pieces(number, tick, pieces)
            saved = self._save(number, tick, blocks, unchanged, pieces)
            self._prune()
        except BaseException:
            self._forget()
            raise
        return saved

    def write_piece(
        self, author: Author, number: int, tick: int, blocks: Mapping[str, Block | Frozen], *, whole: bool
    ) -> Piece:
        """Write a piece of generation `number`; when this returns, it is on the disk, and nothing was deleted.

        Unless it is `whole`, rows are those that changed since the piece before. Raises StorageError as `save` does.
        """
        if whole and not self._unwritten:
            self._forget()
        try:
            saved = self._save(number, tick, blocks, (), author=author)
        except BaseException:
            self._forget()
            raise
        needed = self._contents[number].files - {saved.path.name}
        return Piece(author, saved.path.name, saved.written_bytes, saved.seal, tuple(sorted(needed)))

    def _check_pieces(self, number: int, tick: int, pieces: Collection[Piece]) -> None:
        """Raise StorageError where a piece is not here as its author reports it."""
        for one in pieces:
            path = self.folder / one.file
            with naming(path, "read"):
                size = path.stat().st_size
            if one.file != file_name(number, tick, one.author) or size != one.length:
                raise StorageError(
                    f"{path}: is not the piece of generation {number} that shard {one.author.shard} reports, of "
                    f"{one.length} bytes. Let nothing else write there."
                )

    def _save(
        self,
        number: int,
        tick: int,
        blocks: Mapping[str, Block | Frozen],
        unchanged: Collection[str],
        pieces: Collection[Piece] = (),
        author: Author | None = None,
    ) -> Saved:
        writer = GenerationWriter(self.folder, number, tick, author)
        try:
            before = self._contents.get(number - 1)
            mine = self._contents.get(number - 2)
            line = _Line(self.folder, writer, before, mine, self._part_bytes, self._deltas, self._freezer)
            entries = {name: line.keep(name) for name in unchanged}
            entries.update((name, line.add(name, block)) for name, block in blocks.items())
            contents = Contents(self._run, tick, number, line.gather(entries), tuple(pieces), author)
            part_bytes = writer.written
            seal = writer.finish(contents)
        finally:
            writer.close()
        self._number = number
        self._contents = {n: m for n, m in self._contents.items() if n > number - max(2, self._keep)}
        self._contents[number] = contents
        self._part_bytes[writer.path.name] = part_bytes
        self._deltas = line.deltas
        self._freezer.retain(entries)
        self._unwritten = False
        state = sum(part.length for entry in contents.blocks.values() for part in entry.parts)
        written = writer.written + sum(one.length for one in pieces)
        return Saved(number, writer.path, written, state, seal)

    def _forget(self) -> None:
        self._number = None
        self._contents.clear()
        self._part_bytes.clear()
        self._deltas = {}
        self._freezer.forget()
        self._unwritten = False

    def _prune(self) -> None:
        """Delete what none of the newest `keep` good generations refers to; nothing while there are fewer.

        What this process wrote is good; what it found is good once every byte of it was checked.
        """
        kept: set[str] = set()
        good = 0
        found = generations(self.folder)
        for number, path in found.items():
            if good == self._keep:
                break
            contents = self._contents.get(number) or self._found_good(number, path)
            if contents is not None:
                good += 1
                kept.add(path.name)
                kept.update(contents.files)
        if good < self._keep:
            return
        stray = (path for pattern in (f"*.checkpoint{TEMPORARY}", PIECES) for path in self.folder.glob(pattern))
        for path in [*found.values(), *stray]:
            if path.name not in kept:
                remove_file(path)
                self._part_bytes.pop(path.name, None)

    def _found_good(self, number: int, path: Path) -> Contents | None:
        if number not in self._found:
            try:
                self._found[number] = check(path)
            except CheckpointDamaged:
                self._found[number] = None
        return self._found[number]


class _Line:
    """One save: makes the blocks' entries, from what this generation's line (every other one) has already."""

    def __init__(
        self,
        folder: Path,
        writer: GenerationWriter,
        before: Contents | None,
        mine: Contents | None,
        part_bytes: Mapping[str, int],
        deltas: Mapping[str, RowTable],
        freezer: Freezer,
    ) -> None:
        self.deltas: dict[str, RowTable] = {}
        self._freezer = freezer
        self._folder = folder
        self._writer = writer
        self._before = {} if before is None else before.blocks
        self._mine = {} if mine is None else mine.blocks
        self._part_bytes = part_bytes
        self._last = deltas
        self._known = {part.digest: part for entry in self._mine.values() for part in entry.parts}

    def keep(self, name: str) -> BlockEntry:
        """A block that did not change since the save before."""
        entry = self._before.get(name)
        if entry is None:
            raise StorageError(f"block {name!r} is named as unchanged and was not in the save before: give it whole.")
        if entry.shape.kind == "rows":
            return self._add_rows(name, Rows({}))
        if (frozen := self._freezer.again(name)) is not None:
            return self.add(name, frozen)
        return BlockEntry(entry.shape, tuple(self._copy(part) for part in entry.parts))

    def add(self, name: str, block: Block | Frozen) -> BlockEntry:
        """A block as it is given, now or when it was frozen."""
        frozen = self._freezer.freeze(name, block)
        if isinstance(frozen, Rows):
            return self._add_rows(name, frozen)
        if isinstance(frozen.held, np.ndarray) and is_patched(frozen.held):
            return self._add_array(name, frozen.held, frozen)
        shape, data = frozen.held if isinstance(frozen.held, tuple) else encode_block(name, frozen.held)
        return BlockEntry(shape, (self._put(data),))

    def gather(self, entries: dict[str, BlockEntry]) -> dict[str, BlockEntry]:
        """The same entries, without reference to a file of which less than half is in use: that is copied over."""
        live: dict[str, int] = {}
        for part in {part for entry in entries.values() for part in entry.parts}:
            live[part.file] = live.get(part.file, 0) + part.length
        sparse = {file for file, length in live.items() if length < _DEAD_SHARE * self._part_bytes.get(file, 0)}
        if not sparse:
            return entries
        moved: dict[Extent, Extent] = {}
        for entry in entries.values():
            for part in entry.parts:
                if part.file in sparse and part not in moved:
                    moved[part] = self._writer.part(read_part(self._folder, part), part.digest)
        return {
            name: msgspec.structs.replace(entry, parts=tuple(moved.get(part, part) for part in entry.parts))
            for name, entry in entries.items()
        }

    def _put(self, data: bytes | bytearray | memoryview, mark: bytes = b"") -> Extent:
        """Data as a part, once; `mark` is its digest where that is at hand."""
        mark = mark or digest(data)
        part = self._known.get(mark)
        if part is None:
            part = self._known[mark] = self._writer.part(data, mark)
        return part

    def _copy(self, part: Extent) -> Extent:
        """The part in this line's files, copied from the other line's where it is not there yet."""
        return self._known.get(part.digest) or self._put(read_part(self._folder, part))

    def _add_array(self, name: str, array: np.ndarray[Any, Any], frozen: Frozen) -> BlockEntry:
        """A large array: the rows that changed since this line's last save, or all of it."""
        shape, data = encode_block(name, array)
        rows, last = frozen.rows, frozen.last
        mine = self._mine.get(name)
        if rows is None or last is None or mine is None or mine.shape.kind != "array":
            return BlockEntry(shape, (self._put(data, self._known_mark(name, rows)),))
        rows = np.union1d(last, rows)
        if not len(rows):
            return mine
        base, *patches = mine.parts
        length = patch_bytes(array, len(rows))
        if len(patches) >= _MOST_PATCHES or length + sum(part.length for part in patches) > base.length:
            return BlockEntry(shape, (self._put(data),))
        return BlockEntry(shape, (*mine.parts, self._put(encode_patch(array, rows))))

    def _known_mark(self, name: str, rows: Changed | None) -> bytes:
        """The digest of a large array of which no row changed since the save before, if that wrote it whole."""
        before = self._before.get(name)
        same = before is not None and rows is not None and not len(rows) and len(before.parts) == 1
        return before.parts[0].digest if same and before is not None else b""

    def _add_rows(self, name: str, rows: Rows) -> BlockEntry:
        if rows.whole:
            return self._base(table_of(rows.changed))
        before = self._before.get(name)
        if before is None or before.shape != _ROWS:
            raise StorageError(f"table {name!r} was not in the save before: give all of it, as Rows(..., whole=True).")
        delta = table_of(rows.delta())
        self.deltas[name] = delta
        mine, last = self._mine.get(name), self._last.get(name)
        if mine is None or mine.shape != _ROWS or last is None:
            return self._base(self._laid_over(before.parts, delta))
        delta = overlay((last, delta), removals=True)
        if not len(delta.ids):
            return mine
        bases = len(mine.parts) - len(mine.levels)
        changes = [*zip(mine.parts[bases:], mine.levels, strict=True)]
        merged, level = delta, 0
        while len(changes) >= _FANOUT - 1 and all(at == level for _, at in changes[1 - _FANOUT :]):
            merged = self._laid_over([part for part, _ in changes[1 - _FANOUT :]], merged, removals=True)
            level += 1
            del changes[1 - _FANOUT :]
        base_bytes = sum(part.length for part in mine.parts[:bases])
        data = encode_table(merged)
        if len(data) + sum(part.length for part, _ in changes) > base_bytes:
            return self._base(self._laid_over(mine.parts, delta))
        parts = (*mine.parts[:bases], *(part for part, _ in changes), self._put(data))
        return BlockEntry(_ROWS, parts, (*(at for _, at in changes), level))

    def _laid_over(self, parts: Sequence[Extent], delta: RowTable, *, removals: bool = False) -> RowTable:
        """What stands in these parts, in their order, with a change over it."""
        return overlay([*(read_table(self._folder, part) for part in parts), delta], removals=removals)

    def _base(self, table: RowTable) -> BlockEntry:
        return BlockEntry(_ROWS, tuple(self._put(page) for page in pages(table)))
