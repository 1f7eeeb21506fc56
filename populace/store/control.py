"""What a run is asked to do while it is at work, in its folder: `control.json`; and what it did of that. Shell: files.

Whoever may write in the folder asks: a page, a script. The run looks at the file at each edge between two ticks, does
what it says, and writes `controlled.json`. So nobody needs to reach the process, which may be on another machine.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from populace.core.errors import StorageError
from populace.files import write_whole

CONTROL: Final = "control.json"
CONTROLLED: Final = "controlled.json"
_MOST_BYTES: Final = 4096

Wish: TypeAlias = Literal["go", "pause", "stop"]


class Wanted(msgspec.Struct, frozen=True):
    """What is asked of a run: to go on, to pause at the next edge until told otherwise, or to end there.

    `at_s` is when, in seconds of Unix time.
    """

    wish: Wish
    at_s: float = 0.0


class Done(msgspec.Struct, frozen=True):
    """What a run did of it before the tick `tick`, and when, in seconds of Unix time."""

    wish: Wish
    tick: int
    at_s: float


class Watch:
    """Reads `control.json` where it has changed since the last time: else it costs one look at the file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / CONTROL
        self._seen: tuple[int, int] | None = None

    def new(self) -> Wanted | str | None:
        """What is asked now, if it is new; a text that says why where the file cannot be read as one."""
        try:
            about = self._path.stat()
        except OSError:
            return None
        sign = (about.st_mtime_ns, about.st_ino)
        if sign == self._seen:
            return None
        self._seen = sign
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(file.read(_MOST_BYTES), type=Wanted)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            return (
                f"{CONTROL}: is not understood ({error}), and nothing is done about it. It should read like "
                '{"wish": "pause"}, with pause, go or stop.'
            )


def want(folder: Path, wish: Wish) -> None:
    """Ask it of the run in a folder. Raises StorageError."""
    write_whole(folder / CONTROL, msgspec.json.encode(Wanted(wish, time.time())) + b"\n")


def wanted(folder: Path) -> Wanted | None:
    """What the run is asked, which it may have done; None where nothing is."""
    found = Watch(folder).new()
    return found if isinstance(found, Wanted) else None


def forget(folder: Path) -> None:
    """Take back what was asked: it was of an attempt that is over. Raises nothing."""
    with contextlib.suppress(OSError):
        (folder / CONTROL).unlink(missing_ok=True)


def controlled(folder: Path) -> list[Done]:
    """What the run has done of what it was asked, in all its attempts."""
    try:
        return msgspec.json.decode((folder / CONTROLLED).read_bytes(), type=list[Done])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return []


def record(folder: Path, wish: Wish, tick: int) -> None:
    """Put on record that the run did it before a tick. A run goes on where that cannot be written."""
    done = [*controlled(folder), Done(wish, tick, time.time())]
    with contextlib.suppress(StorageError):
        write_whole(folder / CONTROLLED, msgspec.json.encode(done) + b"\n")
