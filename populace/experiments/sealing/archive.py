"""A zip as it is written for a sealed study, and as one that came from elsewhere is read. Shell.

What is written is the same for the same members: names in order, one date, one mode. What is read is trusted in
nothing: names, kinds, number and lengths of members are checked before any is read, and none is read further than it
says it is long.
"""

from __future__ import annotations

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Final

from populace.core.errors import SealBroken, SettingsError
from populace.core.text import shown_line
from populace.experiments.sealing.listed import SEAL, Member, Seal, decoded
from populace.files import naming

MOST_MEMBERS: Final = 100_000
MOST_BYTES: Final = 4 * 2**30
"""How long all members of a received archive may be together, in bytes, unless told."""
_SEAL_BYTES: Final = 64 * 2**20
_NAME_BYTES: Final = 400
_ENTRY_BYTES: Final = 46 + _NAME_BYTES
_DATE: Final = (1980, 1, 1, 0, 0, 0)
_CHUNK: Final = 2**20
_ODD: Final = re.compile(r'[\x00-\x1f\x7f\\:*?"|]')
_END: Final = struct.Struct("<4s4H2LH")
_END_MAGIC: Final = b"PK\x05\x06"
_SHOWN: Final = 10


def measured(content: bytes | Path) -> Member:
    """The length and the checksum of what is to be a member."""
    if isinstance(content, bytes):
        return Member(len(content), sha256(content).hexdigest())
    digest, length = sha256(), 0
    with naming(content, "read"), content.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            length += len(chunk)
    return Member(length, digest.hexdigest())


def write_archive(path: Path, members: Mapping[str, bytes | Path]) -> None:
    """Write an archive whole or not at all; nothing is overwritten. Raises SettingsError, StorageError."""
    if path.exists():
        raise SettingsError(f"{path}: is there already. Choose another file with -o.")
    part = path.with_name(f"{path.name}.part")
    try:
        with naming(path, "written"), zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(members):
                content = members[name]
                info = zipfile.ZipInfo(name, _DATE)
                info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
                info.external_attr = (stat.S_IFREG | 0o644) << 16
                with archive.open(info, "w", force_zip64=measured(content).bytes > 2**31) as target:
                    _copy(content, target)
        with naming(path, "written"):
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _copy(content: bytes | Path, target: IO[bytes]) -> None:
    if isinstance(content, bytes):
        target.write(content)
        return
    with content.open("rb") as file:
        while chunk := file.read(_CHUNK):
            target.write(chunk)


class Received:
    """An archive from elsewhere, whose members' names, kinds, number and lengths are safe."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, most_bytes: int) -> None:
        self._path = path
        self._archive = archive
        self._members = dict[str, zipfile.ZipInfo]()
        self._look(most_bytes)

    def _look(self, most_bytes: int) -> None:
        infos = self._archive.infolist()
        if len(infos) > MOST_MEMBERS:
            raise self._refused("", f"holds {len(infos):,} members, and a study has at most {MOST_MEMBERS:,}")
        total, seen = 0, dict[str, str]()
        for info in infos:
            self._check_name(info)
            self._check_kind(info)
            total += info.file_size
            if total > most_bytes:
                raise self._refused(
                    info.filename,
                    f"with it the archive unpacks to more than {most_bytes:,} bytes. If it may: --most-bytes",
                )
            folded = info.filename.casefold()
            if folded in seen:
                raise self._refused(info.filename, f"is there twice (as {_shown(seen[folded])})")
            seen[folded] = info.filename
            self._members[info.filename] = info
        for name in seen:
            parts = name.split("/")
            for n in range(1, len(parts)):
                if "/".join(parts[:n]) in seen:
                    raise self._refused(seen[name], "stands in a folder that is a file of the archive too")
        if SEAL not in self._members:
            raise self._refused("", f"has no {SEAL}: it is no sealed study")

    def _check_name(self, info: zipfile.ZipInfo) -> None:
        name = info.filename
        if name != info.orig_filename or _ODD.search(name):
            raise self._refused(info.orig_filename, "has a character in its name that no member may have")
        if name.startswith("/"):
            raise self._refused(name, "has an absolute path")
        parts = name.split("/")
        if ".." in parts:
            raise self._refused(name, "leads out of its folder (..)")
        if "" in parts or "." in parts or len(name.encode()) > _NAME_BYTES:
            raise self._refused(name, "has a name that is not a plain file's")

    def _check_kind(self, info: zipfile.ZipInfo) -> None:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind == stat.S_IFLNK:
            raise self._refused(info.filename, "is a link")
        if kind not in (0, stat.S_IFREG) or info.is_dir():
            raise self._refused(info.filename, "is no plain file")
        if info.flag_bits & 0x1:
            raise self._refused(info.filename, "is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self._refused(info.filename, f"is compressed by method {info.compress_type}, which no study uses")

    def _refused(self, member: str, why: str) -> SealBroken:
        at = f"{_shown(member)}: " if member else ""
        return SealBroken(f"{self._path}: {at}{why}. Nothing was unpacked.")

    def seal(self) -> Seal:
        """What the archive says of itself. Raises SealBroken."""
        if self._members[SEAL].file_size > _SEAL_BYTES:
            raise self._refused(SEAL, f"is longer than {_SEAL_BYTES:,} bytes")
        return decoded(self.read(SEAL), str(self._path))

    def check(self, seal: Seal) -> None:
        """Raise SealBroken, naming the members, where the archive does not hold what was sealed."""
        known = {*seal.members, SEAL}
        found = [f"{_shown(name)}: is missing" for name in seal.members if name not in self._members]
        found += [f"{_shown(name)}: was not sealed" for name in self._members if name not in known]
        for name, sealed in seal.members.items():
            if name not in self._members:
                continue
            if (length := self._members[name].file_size) != sealed.bytes:
                found.append(f"{_shown(name)}: has {length:,} bytes and was sealed with {sealed.bytes:,}")
                continue
            digest = sha256()
            try:
                for chunk in self.chunks(name):
                    digest.update(chunk)
            except SealBroken as error:
                found.append(str(error))
                continue
            if digest.hexdigest() != sealed.sha256:
                found.append(f"{_shown(name)}: has SHA-256 {digest.hexdigest()} and was sealed with {sealed.sha256}")
        if found:
            more = f"\n... and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
            raise SealBroken(
                f"{self._path}: does not hold what was sealed. Nothing of it was executed.\n"
                + "\n".join(found[:_SHOWN])
                + more
            )

    def read(self, name: str) -> bytes:
        """A member whole. Raises SealBroken."""
        return b"".join(self.chunks(name))

    def chunks(self, name: str) -> Iterator[bytes]:
        """A member in pieces, no more of it than it says it is long. Raises SealBroken where it is damaged."""
        left = self._members[name].file_size
        try:
            with self._archive.open(self._members[name]) as file:
                while left and (chunk := file.read(min(_CHUNK, left))):
                    left -= len(chunk)
                    yield chunk
                if not left and file.read(1):
                    raise SealBroken(f"{_shown(name)}: is longer than it says")
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
            raise SealBroken(f"{_shown(name)}: is damaged ({shown_line(str(error))[:200]})") from None
        if left:
            raise SealBroken(f"{_shown(name)}: ends {left:,} bytes early")


@contextmanager
def received(path: Path, most_bytes: int = MOST_BYTES) -> Iterator[Received]:
    """Open an archive from elsewhere. Raises SealBroken for one that is not safe, and SettingsError for none."""
    if not path.is_file():
        raise SettingsError(f"{path}: is no file. Give the archive that `populace experiment seal` wrote.")
    with naming(path, "read"):
        _check_directory(path)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, UnicodeDecodeError, OSError) as error:
        raise SealBroken(f"{path}: is no zip, or a damaged one ({shown_line(str(error))[:200]}).") from None
    with archive:
        yield Received(path, archive, most_bytes)


def _check_directory(path: Path) -> None:
    """Raise SealBroken where the archive's list of members is too long to be read into memory."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END.size - 2**16))
        tail = file.read()
    at = tail.rfind(_END_MAGIC)
    if at < 0 or len(tail) - at < _END.size:
        raise SealBroken(f"{path}: is no zip, or a damaged one (it has no end).")
    fields = _END.unpack_from(tail, at)
    if fields[5] > MOST_MEMBERS * _ENTRY_BYTES and fields[5] != 2**32 - 1:
        raise SealBroken(f"{path}: its list of members is {fields[5]:,} bytes long. Nothing was unpacked.")
    if fields[5] == 2**32 - 1 or fields[4] == 2**16 - 1:
        _check_long_directory(path, tail, at)


def _check_long_directory(path: Path, tail: bytes, at: int) -> None:
    """The same where the lengths stand in the record that longer archives have."""
    found = tail.rfind(b"PK\x06\x06", 0, at)
    if found < 0 or at - found < 56:
        raise SealBroken(f"{path}: is no zip, or a damaged one (its end is not whole).")
    entries, directory = struct.unpack_from("<QQ", tail, found + 32)
    if entries > MOST_MEMBERS or directory > MOST_MEMBERS * _ENTRY_BYTES:
        raise SealBroken(f"{path}: lists {entries:,} members, and a study has at most {MOST_MEMBERS:,}.")


def _shown(name: str) -> str:
    return shown_line(name)[:120]
