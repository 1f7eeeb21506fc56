"""Whose runs may run their code here. To resume, fork or replay a run executes the code in its `run.json`.

Of every `run.json` that populace writes, a mark is kept in the user's state folder: a keyed hash over the run's name,
its code and its settings (so also the endpoints that would be given a key). The key never leaves that folder, so no
folder can vouch for itself. A run without a mark, since it came from elsewhere or was changed by hand, is `Untrusted`
until its user says otherwise. Shell: files.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
from collections.abc import Set as AbstractSet
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from populace.core.errors import Untrusted
from populace.data.societies import module_origin
from populace.files import state_folder
from populace.store.folder import RUN_FILE, RunFile, read_run_file

_SHIPPED: Final = "populace.scenarios."
_KEY_BYTES: Final = 32


def check_trust(folder: Path, what: str, *, trust: bool = False, named: str | None = None) -> None:
    """Raise Untrusted where a run's code is not this user's, unless it is to be trusted from now on.

    `what` is done to it: 'resume', 'fork' or 'replay'; a replay calls no model, so for code that ships with populace it
    needs no trust. `named` is what a person calls the folder.
    """
    file = read_run_file(folder)
    if trust:
        remember(file)
        return
    if is_known(file) or (what == "replay" and _ships(file)):
        return
    lines = 0 if file.source is None else len(file.source.splitlines())
    code = f"{lines:,} lines of code in it" if lines else f"the code of {file.origin}"
    raise Untrusted(
        f"{folder / RUN_FILE}: was not written here by you, and to {what} this run executes {code} and uses its "
        f"settings, with your rights and keys. Read that file; if you trust it: populace {what} "
        f"{shlex.quote(named or str(folder))} --trust"
    )


def is_known(file: RunFile) -> bool:
    """Whether this user wrote such a file, or said that it is to be trusted."""
    return _mark(file) in _marks()


def remember(file: RunFile) -> None:
    """Keep the mark of what is in a run's file. Where the state folder cannot be written, nothing is kept."""
    with contextlib.suppress(OSError):
        mark = _mark(file, create=True)
        if mark is None or mark in _marks():
            return
        descriptor = os.open(_folder() / "made", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, f"{mark}\n".encode())
        finally:
            os.close(descriptor)


def _folder() -> Path:
    return state_folder() / "trust"


def _marks() -> AbstractSet[str | None]:
    try:
        return set((_folder() / "made").read_text(encoding="ascii").split())
    except (OSError, UnicodeDecodeError):
        return set()


def _mark(file: RunFile, *, create: bool = False) -> str | None:
    """The keyed hash of a run's file; None where there is no key."""
    path = _folder() / "key"
    try:
        if create and not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            aside = path.with_name(f"key.{os.getpid()}")
            aside.touch(mode=0o600)
            aside.write_bytes(secrets.token_bytes(_KEY_BYTES))
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
            aside.unlink()
        key = path.read_bytes()
    except OSError:
        return None
    if len(key) != _KEY_BYTES:
        return None
    said = msgspec.json.encode((file.run, file.origin, file.source, file.settings), order="deterministic")
    return blake2b(said, key=key, digest_size=16).hexdigest()


def _ships(file: RunFile) -> bool:
    """Whether the code is that of a scenario that ships with this populace, as it ships."""
    if not file.origin.startswith(_SHIPPED):
        return False
    return file.source is None or module_origin(file.origin) == file.society
