"""One generation of a checkpoint as one file. Shell: files.

    MAGIC | parts, one after another | contents (MessagePack) | trailer

The contents name every block of the state and the parts that it is made of: file, offset, length and BLAKE2b-128 of
each. A part may stand in the file of an earlier generation, which is how a block that did not change is not written
again. The trailer holds where the contents stand, the length of the file, and a BLAKE2b-128 over magic, contents and
these numbers; since the parts of a file and its contents fill it without a gap, every byte of it is under a digest.

A file is written under a temporary name, synced and then renamed, so a file with a final name was once whole.

Hosts of shards and of the world that reach the folder write what they hold themselves, a *piece* each, as a file of the
same form; the generation's own file names them all, by length and seal, and is written once they are there. So a
generation without one of its pieces is damaged, and pieces without it are nothing. A piece's name says in which attempt
it was written and by whom: one that comes late, from an attempt that is over, takes nobody's place.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from populace.core.errors import CheckpointDamaged, StorageError
from populace.kernel.blocks import Shape, decode_block, room_for
from populace.kernel.patches import apply_patch
from populace.kernel.row_tables import RowTable, decode_rows, decode_table
from populace.store.storage import create_file, naming, remove_file, sync_folder, write_all

MAGIC: Final = b"popckpt\x01"
CONTENTS_BYTES: Final = 64 * 2**20
STATE_BYTES: Final = 64 * 2**30
TEMPORARY: Final = ".part"
_TRAILER: Final = struct.Struct("<QQQ16s")
_NAME: Final = re.compile(r"g(\d{8,})-t(\d{8,})\.checkpoint")
_ANY_NAME: Final = re.compile(r"g\d{8,}-t\d{8,}(?:-a\d{4,}-s\d{4,})?\.checkpoint")
PIECES: Final = "g*-t*-a*-s*.checkpoint"
_encode: Final = msgspec.msgpack.Encoder().encode


class Extent(msgspec.Struct, frozen=True, array_like=True):
    """A run of bytes in a generation's file."""

    file: str
    offset: int
    length: int
    digest: bytes


class BlockEntry(msgspec.Struct, frozen=True):
    """A block: how to read it, and its parts.

    A table (kind `rows`) has the pages of its base first, then changes to it; `levels` has one number a change, 0 for
    one as it was given, one more for each merging. So has a large array, the changes as they were (`kernel.patches`).
    """

    shape: Shape
    parts: tuple[Extent, ...]
    levels: tuple[int, ...] = ()


class Author(msgspec.Struct, frozen=True, array_like=True):
    """Who wrote a piece: a shard (the world is one more than there are), in an attempt."""

    attempt: int
    shard: int


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """A piece of a generation, as whoever wrote it reports it: its file, the file's length in bytes and its seal.

    `files` are those that it refers to besides, which its author wrote for earlier generations.
    """

    author: Author
    file: str
    length: int
    seal: bytes
    files: tuple[str, ...]


class Contents(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a generation holds, or a piece of one, which has an `author`."""

    run: str
    tick: int
    number: int
    blocks: dict[str, BlockEntry]
    pieces: tuple[Piece, ...] = ()
    author: Author | None = None

    @property
    def files(self) -> set[str]:
        """The files that it needs besides its own."""
        named = {part.file for entry in self.blocks.values() for part in entry.parts}
        return named.union(*({one.file, *one.files} for one in self.pieces))


_contents_of: Final = msgspec.msgpack.Decoder(Contents).decode


def digest(data: bytes | bytearray | memoryview) -> bytes:
    """The checksum of a part: BLAKE2b of 16 bytes."""
    return blake2b(data, digest_size=16).digest()


def file_name(number: int, tick: int, author: Author | None = None) -> str:
    """The name of a generation's file, or of a piece of one: pieces stand before it in the order of names."""
    whose = "" if author is None else f"-a{author.attempt:04}-s{author.shard:04}"
    return f"g{number:08}-t{tick:08}{whose}.checkpoint"


def generations(folder: Path) -> dict[int, Path]:
    """The files of a folder by generation's number, the newest first. Raises StorageError."""
    if not folder.exists():
        return {}
    with naming(folder, "listed"):
        found = [(match, path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return {int(match[1]): path for match, path in sorted(found, key=lambda pair: int(pair[0][1]), reverse=True)}


class GenerationWriter:
    """Writes one generation aside; `finish` gives it its name. Leaving without `finish` leaves no trace."""

    def __init__(self, folder: Path, number: int, tick: int, author: Author | None = None) -> None:
        self.path = folder / file_name(number, tick, author)
        self._aside = folder / (self.path.name + TEMPORARY)
        self.written = 0
        remove_file(self._aside)
        self._descriptor = create_file(self._aside)
        self._write(MAGIC)

    def part(self, data: bytes | bytearray | memoryview, known: bytes | None = None) -> Extent:
        """Write a part; `known` is its digest where that is at hand."""
        part = Extent(self.path.name, self.written, len(data), known or digest(data))
        self._write(data)
        return part

    def finish(self, contents: Contents) -> bytes:
        """Write contents and trailer, sync, and rename; gives the seal. Raises StorageError, DiskFull among them."""
        data = _encode(contents)
        if len(data) > CONTENTS_BYTES:
            raise StorageError(
                f"{self.path}: its table of contents takes {len(data)} bytes, and {CONTENTS_BYTES} are allowed."
            )
        offset = self.written
        self._write(data)
        total = offset + len(data) + _TRAILER.size
        seal = _seal(data, offset, total)
        self._write(_TRAILER.pack(offset, len(data), total, seal))
        with naming(self.path, "written"):
            os.fsync(self._descriptor)
            self._aside.rename(self.path)
        sync_folder(self.path.parent)
        return seal

    def close(self) -> None:
        """Close the file, and delete it where it did not get its name."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._aside.unlink(missing_ok=True)

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        try:
            with naming(self.path, "written"):
                write_all(self._descriptor, data)
        except BaseException:
            self.close()
            raise
        self.written += len(data)


def _seal(contents: bytes, offset: int, total: int) -> bytes:
    return digest(b"".join((MAGIC, contents, struct.pack("<QQQ", offset, len(contents), total))))


def read_contents(path: Path, piece: Piece | None = None) -> Contents:
    """The contents of a generation, or of a piece of one, checked against the trailer, and that against `piece`.

    Raises CheckpointDamaged, StorageError.
    """
    with naming(path, "read"), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < len(MAGIC) + _TRAILER.size:
            raise _damage(path, f"it has {size} bytes only")
        magic = file.read(len(MAGIC))
        file.seek(size - _TRAILER.size)
        offset, length, total, seal = _TRAILER.unpack(file.read(_TRAILER.size))
        if total != size or offset + length + _TRAILER.size != size or length > CONTENTS_BYTES:
            raise _damage(path, "its last bytes do not fit its length")
        file.seek(offset)
        data = file.read(length)
    if magic != MAGIC or seal != _seal(data, offset, total):
        raise _damage(path, f"its table of contents does not fit its checksum, or it does not begin with {MAGIC!r}")
    if piece is not None and (size, seal) != (piece.length, piece.seal):
        raise _damage(path, "it is not the piece that the generation names")
    try:
        contents: Contents = _contents_of(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _damage(path, f"its table of contents cannot be read: {error}") from error
    if path.name != file_name(contents.number, contents.tick, contents.author):
        raise _damage(path, f"it is generation {contents.number} of tick {contents.tick}, under another's name")
    parts = {part for entry in contents.blocks.values() for part in entry.parts}
    own = sorted((part.offset, part.length) for part in parts if part.file == path.name)
    at = len(MAGIC)
    for start, length in own:
        if start != at:
            raise _damage(path, f"bytes {at} to {start} belong to no block")
        at = start + length
    if at != offset:
        raise _damage(path, f"bytes {at} to {offset} belong to no block")
    if sum(part.length for part in parts) > STATE_BYTES:
        raise _damage(path, f"it claims a state of more than {STATE_BYTES} bytes")
    return contents


def read_pieces(folder: Path, of: Contents) -> list[Contents]:
    """The contents of a generation's pieces. Raises CheckpointDamaged where one is missing or another's."""
    found = []
    for piece in of.pieces:
        path = folder / piece.file
        if piece.file != file_name(of.number, of.tick, piece.author) or not path.exists():
            raise _damage(path, "it is missing, and its generation names it")
        contents = read_contents(path, piece)
        if contents.run != of.run:
            raise _damage(path, f"it is of run {contents.run}, not of {of.run}")
        found.append(contents)
    return found


def read_part(folder: Path, part: Extent, make_room: Callable[[int], Any] = bytearray) -> Any:
    """A part's bytes, checked, in the buffer that `make_room` gives for its length. Raises CheckpointDamaged."""
    path = folder / part.file
    if not _ANY_NAME.fullmatch(part.file) or not path.exists():
        raise _damage(path, "it is missing, and a later generation refers to it")
    with naming(path, "read"), path.open("rb", buffering=0) as file:
        if part.offset + part.length > os.fstat(file.fileno()).st_size:
            raise _damage(path, f"it ends before byte {part.offset + part.length}")
        room = make_room(part.length)
        view = room.reshape(-1).view(np.uint8).data if isinstance(room, np.ndarray) else memoryview(room)
        file.seek(part.offset)
        at = 0
        while at < part.length:
            got = file.readinto(view[at:])
            if not got:
                raise _damage(path, f"it ends at byte {part.offset + at} while it is read")
            at += got
    if digest(view) != part.digest:
        raise _damage(path, f"bytes {part.offset} to {part.offset + part.length} do not fit their checksum")
    return room


def read_rows(folder: Path, parts: Iterable[Extent]) -> dict[int, bytes]:
    """A table, from its parts in order. Raises CheckpointDamaged."""
    rows: dict[int, bytes] = {}
    for part in parts:
        try:
            decode_rows(read_part(folder, part), rows)
        except ValueError as error:
            raise _damage(folder / part.file, str(error)) from error
    return dict(sorted(rows.items()))


def read_table(folder: Path, part: Extent) -> RowTable:
    """A part of a table as columns. Raises CheckpointDamaged."""
    try:
        return decode_table(read_part(folder, part))
    except ValueError as error:
        raise _damage(folder / part.file, str(error)) from error


def read_patched(folder: Path, name: str, entry: BlockEntry) -> Any:
    """An array, from its base and the changes to it. Raises CheckpointDamaged."""
    base, *patches = entry.parts
    part = base
    try:
        length = np.dtype(entry.shape.dtype).itemsize * math.prod(entry.shape.shape)
        array: Any = room_for(entry.shape, length)
        data = read_part(folder, base)
        array.reshape(-1).view(np.uint8)[: len(data)] = np.frombuffer(data, np.uint8)
        for part in patches:
            apply_patch(array, read_part(folder, part))
    except (ValueError, TypeError) as error:
        raise _damage(folder / part.file, f"block {name!r} cannot be read: {error}") from error
    return array


def read_entry(folder: Path, name: str, entry: BlockEntry) -> Any:
    """A block. Raises CheckpointDamaged."""
    if entry.shape.kind == "rows":
        return read_rows(folder, entry.parts)
    if entry.shape.kind == "array" and len(entry.parts) > 1:
        return read_patched(folder, name, entry)
    if len(entry.parts) != 1:
        raise CheckpointDamaged(f"{folder}: block {name!r} has {len(entry.parts)} parts, not one")
    part = entry.parts[0]
    try:
        return decode_block(entry.shape, read_part(folder, part, partial(room_for, entry.shape)))
    except (ValueError, msgspec.MsgspecError) as error:
        raise _damage(folder / part.file, f"block {name!r} cannot be read: {error}") from error


def _damage(path: Path, why: str) -> CheckpointDamaged:
    return CheckpointDamaged(f"{path}: damaged: {why}. An earlier generation in the folder may be good.")
