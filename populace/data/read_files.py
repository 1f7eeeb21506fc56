"""Which files a society's code reads while it is loaded: a prompt, a table. A shell: Python's audit events.

What a library opens past Python (a path given to pandas, pyarrow or polars for Parquet, a database) is not seen: give
such a library an open file instead, `pandas.read_parquet(open(path, "rb"))`.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

_CODE: Final = frozenset({".py", ".pyc", ".pyi", ".so", ".pyd"})
_HERE: Final = threading.local()
_LISTENS: Final[list[bool]] = []


@contextmanager
def noted(folder: Path) -> Iterator[dict[str, str]]:
    """Note the files in a folder, however deep, that this thread reads meanwhile: see `digests`; filled at the end."""
    if not _LISTENS:
        sys.addaudithook(_heard)
        _LISTENS.append(True)
    outer, opened = getattr(_HERE, "opened", None), set[str]()
    _HERE.opened = opened
    found: dict[str, str] = {}
    try:
        yield found
    finally:
        _HERE.opened = outer
        inside = os.path.realpath(folder) + os.sep
        names = {path[len(inside) :] for path in map(os.path.realpath, opened) if path.startswith(inside)}
        found.update(digests(folder, {name: "" for name in names if Path(name).suffix not in _CODE}))


def digests(folder: Path, names: Mapping[str, Any]) -> dict[str, str]:
    """BLAKE2b-128 of files by their names in a folder, in hexadecimal digits; of those that can be read, in order."""
    found = {}
    for name in sorted(names):
        try:
            found[name] = blake2b((folder / name).read_bytes(), digest_size=16).hexdigest()
        except OSError:
            continue
    return found


def _heard(event: str, details: tuple[Any, ...]) -> None:
    if event != "open" or (opened := getattr(_HERE, "opened", None)) is None:
        return
    path, mode = details[0], details[1]
    if isinstance(path, str | bytes | os.PathLike) and not (isinstance(mode, str) and set(mode) & set("wax+")):
        opened.add(os.fsdecode(path))
