"""Ends its own process with SIGKILL at a chosen moment, for scenario files that arm it where they are loaded.

`armed_scenario` writes such a file. A moment is set with `set_trap`: the process that passes it for the nth time takes
the trap away and dies, so that it strikes once, in whichever process comes there first. The one that set it is spared:
it may load such a file too, and go through the same moments, in this test and in others after it.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

MOMENTS = {
    "arrived": "an answer has arrived and is not yet in the journal",
    "torn": "half of a record is in the journal",
    "committed": "an answer is in the journal and its turn has not seen it",
    "freezing": "the state before a tick is being taken",
    "marked": "it was taken, and nothing of it is written",
    "cut": "the tables were cut and the checkpoint is not written",
    "saving": "all but the end of a checkpoint is written",
    "behind": "the same where answers are put on record, and the next tick is half over",
    "pieces": "all that hosts write themselves of a checkpoint is there, and its own file is not begun",
    "saved": "a checkpoint has its name and older ones are not deleted yet",
    "tables": "the run is complete, its tables have their names, and there is no manifest",
    "manifest": "the manifest says that the run is complete, and its checkpoints are still there",
}

_SCENARIO = """
import sys
sys.path.insert(0, {tests!r})
from support import killing
from {module} import society
killing.arm({folder!r})
"""

_passed: Counter[str] = Counter()
_armed: set[str] = set()


def armed_scenario(folder: Path, module: str = "societies") -> Path:
    """A society of the tests', or of the module that is named in full, whose processes look for traps in `folder`."""
    module = module if "." in module else f"support.{module}"
    folder.mkdir(exist_ok=True)
    path = folder / "armed.py"
    path.write_text(_SCENARIO.format(tests=str(Path(__file__).parents[1]), folder=str(folder), module=module))
    return path


def set_trap(folder: Path, moment: str, nth: int = 1, *, of: str = "") -> None:
    """Have the first process that passes this moment for the nth time killed: another than this, with TRAPPED=`of`."""
    assert moment in MOMENTS
    (folder / moment).write_text(f"{nth} {os.getpid()} {of}")


def arm(folder: str) -> None:
    """Watch the moments in this process."""
    if folder in _armed:
        return
    _armed.add(folder)
    from populace.store.checkpoint.file import GenerationWriter
    from populace.store.checkpoint.generations import Checkpoints
    from populace.store.folder import Store
    from populace.store.journal import write as journal
    from populace.store.journal.recording import Recording
    from populace.store.tables.tables import Tables

    passing = functools.partial(_pass, Path(folder))
    _before(Recording, "_put_down", lambda: passing("arrived"))
    _after(journal.Journal, "commit", lambda: passing("committed"))
    _before(Checkpoints, "freeze", lambda: passing("freezing"))
    _after(Tables, "mark", lambda: passing("marked"))
    _before(GenerationWriter, "finish", lambda: passing("saving"))
    _before(
        GenerationWriter,
        "finish",
        lambda: _passed["answers on record"] and passing("behind", lambda: _half_over(Path(folder))),
    )
    _before(Checkpoints, "save", lambda: passing("pieces"))
    _after(journal.Journal, "commit", lambda: _passed.update(["answers on record"]))
    _before(Checkpoints, "_prune", lambda: passing("saved"))
    _after(Tables, "close", lambda: passing("tables"))
    _before(Store, "discard", lambda: passing("manifest"))
    cut = Tables.cut

    def cutting(tables: Tables) -> None:
        marked = tables._marked is not None
        cut(tables)
        if marked:
            passing("cut")

    Tables.cut = cutting  # type: ignore[method-assign]
    write_all = journal.write_all

    def torn(descriptor: int, data: bytes) -> None:
        if (Path(folder) / "torn").exists():
            passing("torn", lambda: os.write(descriptor, data[: len(data) // 2]))
        write_all(descriptor, data)

    journal.write_all = torn  # type: ignore[assignment]


def _half_over(folder: Path) -> None:
    """Wait, in the thread that saves, for answers that the tick which follows puts on record."""
    was, until_s = _passed["answers on record"], time.monotonic() + 120.0
    while _passed["answers on record"] < was + 4:
        if time.monotonic() > until_s:
            return
        time.sleep(0.001)
    (folder / "half over").touch()


def _pass(folder: Path, moment: str, last: Callable[[], Any] = lambda: None) -> None:
    trap = folder / moment
    try:
        nth, setter, of = trap.read_text().split(" ")
    except (FileNotFoundError, ValueError):
        return
    if int(setter) == os.getpid() or (of and os.environ.get("TRAPPED") != of):
        return
    _passed[moment] += 1
    if _passed[moment] < int(nth):
        return
    try:
        trap.rename(folder / f"{moment}.done")
    except FileNotFoundError:
        return  # another process was quicker
    last()
    os.kill(os.getpid(), signal.SIGKILL)


def _before(owner: type, name: str, look: Callable[[], None]) -> None:
    real = getattr(owner, name)

    @functools.wraps(real)
    def wrapped(*args: Any, **options: Any) -> Any:
        look()
        return real(*args, **options)

    setattr(owner, name, wrapped)


def _after(owner: type, name: str, look: Callable[[], None]) -> None:
    real = getattr(owner, name)

    @functools.wraps(real)
    def wrapped(*args: Any, **options: Any) -> Any:
        given = real(*args, **options)
        look()
        return given

    setattr(owner, name, wrapped)
