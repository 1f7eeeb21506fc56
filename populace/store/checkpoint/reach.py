"""Whether another process reaches the folder that this one means, by a file with a nonce and an answer. Shell: files.

A path says nothing: another machine may have a folder of its own at the same one. So whoever writes generations leaves
a file there that nobody can guess (`ask`); who finds it leaves another beside it (`answer`), and only once that is seen
from here (`answered`) does the folder count as shared, for reading and writing. Whatever fails in between means no.
"""

from __future__ import annotations

import os
import re
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from populace.core.errors import StorageError
from populace.store.storage import create_file, make_folder, naming, remove_file, sync_folder, write_all

_NONCE_BYTES: Final = 16
NAME: Final = re.compile(r"\.reach-[0-9a-f]{16}(?:-\d+)?")


class Probe(msgspec.Struct, frozen=True):
    """A folder, a file that was left in it, and what stands in that."""

    folder: str
    name: str
    nonce: bytes


def ask(folder: Path) -> Probe:
    """Leave a file with a nonce. Raises StorageError."""
    probe = Probe(str(folder), f".reach-{os.urandom(8).hex()}", os.urandom(_NONCE_BYTES))
    make_folder(folder)
    _leave(folder / probe.name, probe.nonce)
    return probe


def answer(probe: Probe, who: int) -> bool:
    """Whether the file is here too, and can be answered; `who` answers."""
    folder = Path(probe.folder)
    try:
        with naming(folder, "read"):
            found = (folder / probe.name).read_bytes()
        if found != probe.nonce:
            return False
        _leave(folder / f"{probe.name}-{who}", _reply(probe, who))
    except StorageError:
        return False
    return True


def answered(probe: Probe, who: int) -> bool:
    """Whether the answer has come to where it was asked from."""
    folder = Path(probe.folder)
    try:
        with naming(folder, "read"):
            return (folder / f"{probe.name}-{who}").read_bytes() == _reply(probe, who)
    except StorageError:
        return False


def withdraw(probe: Probe) -> None:
    """Remove the file and all answers to it, as far as that can be done."""
    folder = Path(probe.folder)
    for path in (folder / probe.name, *folder.glob(f"{probe.name}-*")):
        try:
            remove_file(path)
        except StorageError:
            continue


def _reply(probe: Probe, who: int) -> bytes:
    return blake2b(b"%d" % who, key=probe.nonce, digest_size=_NONCE_BYTES).digest()


def _leave(path: Path, data: bytes) -> None:
    descriptor = create_file(path)
    try:
        with naming(path, "written"):
            write_all(descriptor, data)
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)
