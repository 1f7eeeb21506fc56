"""Whether all processes of a run have the same programs: versions, populace's own code, and what a society imports.

A run on machines that differ would not be the run that it says it is, or would end at some tick. So each process says
what it has once the society is loaded, and the driver compares. Reads files: a shell.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import msgspec

from populace.data.societies import Origin, files_read, is_file, load_society, parted

_PACKAGES: Final = ("populace", "numpy", "msgspec", "msgpack", "ray")
"""Those whose version may change what a run computes, or what its processes understand of each other."""


class Having(msgspec.Struct, frozen=True):
    """What a process has: `versions` by package, and a digest of each file by name.

    `code` are populace's own files; `beside` those of the society's folder that this process has imported, or that the
    society read as it was loaded. Only those that two processes both have can be compared.
    """

    versions: dict[str, str]
    code: dict[str, str]
    beside: dict[str, str]


def what_is_here(origin: Origin) -> Having:
    """What this process has for a society, which is loaded for it. Raises ScenarioError."""
    load_society(origin)
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "from a folder"
    own = Path(__file__).parents[1]
    code = {path.relative_to(own).as_posix(): _digest(path) for path in own.rglob("*.py")}
    return Having(versions, code, {**files_read(origin), **dict(_imported(origin))})


def differences(ours: Having, theirs: Having) -> list[str]:
    """What differs there, in words: versions, then files; empty where nothing does."""
    found = [
        f"{name} {theirs.versions.get(name, 'is missing')} ({of} here)"
        for name, of in ours.versions.items()
        if theirs.versions.get(name) != of
    ]
    for name in sorted(ours.code.keys() | theirs.code.keys()):
        if ours.code.get(name) != theirs.code.get(name):
            how = "is another" if name in ours.code and name in theirs.code else "is not in both"
            found.append(f"populace/{name} {how}")
    found += [f"{name} is another" for name, of in sorted(ours.beside.items()) if theirs.beside.get(name, of) != of]
    return found


def _imported(origin: Origin) -> Iterator[tuple[str, str]]:
    """Digests of the modules from the society's own folder, by name in it."""
    place, _ = parted(origin.name)
    if not is_file(origin.name):
        return
    folder = Path(place).resolve().parent
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not file or "site-packages" in Path(file).parts:
            continue
        path = Path(file).resolve()
        if path.is_relative_to(folder) and path.is_file() and path != Path(place).resolve():
            yield path.relative_to(folder).as_posix(), _digest(path)


def _digest(path: Path) -> str:
    return blake2b(path.read_bytes(), digest_size=16).hexdigest()
