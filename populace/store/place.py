"""Where a run may write: a new run takes a folder of its own, and what is not a run's is not overwritten or deleted.

Shell: files.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

from populace.core.errors import SettingsError
from populace.core.tables import TABLES
from populace.files import naming
from populace.store.checkpoint.reach import NAME as REACH

_RUNS: Final = ("run.json", "manifest.json")
_BEFORE: Final = (".lock", "run.json.part")
"""All that a process leaves which is killed before it has begun a run."""
_NAMES: Final = frozenset(
    {
        *_RUNS,
        "endpoints.json",
        "metrics.prom",
        "progress.jsonl",
        "control.json",
        "controlled.json",
        "journal",
        "checkpoints",
        "kept",
        "parts",
        "probes",
        *(f"{name}.parquet" for name in TABLES),
    }
)
_PARTS: Final = re.compile(rf"(?:{'|'.join(TABLES)})(?:-\d{{6,}}\.parquet|\.parquet\.part)")
_CHECKPOINTS: Final = re.compile(
    rf"g\d{{8,}}-t\d{{8,}}(?:-a\d{{4,}}-s\d{{4,}})?\.checkpoint(?:\.part)?|{REACH.pattern}"
)
_SEGMENTS: Final = re.compile(r"s\d{4,}-a\d{4,}-\d{6,}\.journal")
_SHOWN: Final = 5


def check_new(folder: Path, *, empty: bool = True) -> None:
    """Raise SettingsError where a new run must not be begun: in a run's folder, or in one with files of others.

    Unless it is to be `empty`, a folder may hold what a run never touches.
    """
    with naming(folder, "listed"):
        there = sorted(path.name for path in folder.iterdir() if path.name not in _BEFORE) if folder.exists() else []
    if any(name in there for name in _RUNS):
        raise SettingsError(
            f"{folder}: holds a run already. Choose another folder with --out, or go on with that run: "
            f"populace resume {shlex.quote(str(folder))}"
        )
    foreign = there if empty else [name for name in there if name in _NAMES]
    if foreign:
        shown = ", ".join(foreign[:_SHOWN]) + (", ..." if len(foreign) > _SHOWN else "")
        raise SettingsError(
            f"{folder}: is not empty and not a run's folder ({shown}), and a run overwrites nothing that is not its "
            "own. Choose a new folder with --out."
        )


def fresh_folder(name: str, beside: Path = Path("runs")) -> Path:
    """A new folder for a run of this name, `<name>-<number>` in the folder `beside`, and nowhere else."""
    plain = re.sub(r"[^\w.\-]+", "-", name).strip(".-_")[:80] or "run"
    number = 1
    while (folder := beside / f"{plain}-{number}").exists():
        number += 1
    return folder


def remove_own(folder: Path) -> None:
    """Remove what a run wrote into its folder of parts or checkpoints, and the folder where nothing else is in it.

    Raises StorageError.
    """
    with naming(folder, "removed"):
        if not folder.exists():
            return
        own = _PARTS if folder.name == "parts" else _CHECKPOINTS
        for path in folder.iterdir():
            if own.fullmatch(path.name):
                path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


def remove_unbegun(folder: Path) -> None:
    """Remove what a run that never began its first tick wrote into its folder; what is not its own stays.

    Its journal holds no answer. Raises StorageError.
    """
    with naming(folder, "removed"):
        for name in (*_RUNS, "progress.jsonl", "control.json", "controlled.json"):
            (folder / name).unlink(missing_ok=True)
        journal = folder / "journal"
        if journal.exists():
            for path in journal.iterdir():
                if _SEGMENTS.fullmatch(path.name):
                    path.unlink()
            if not any(journal.iterdir()):
                journal.rmdir()
    for taken in ("parts", "checkpoints"):  # what a fork took over from its parent
        remove_own(folder / taken)


def is_part(path: Path) -> bool:
    """Whether a file has the name of a part of a table, whole or being written."""
    return _PARTS.fullmatch(path.name) is not None
