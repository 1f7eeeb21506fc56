"""Whose experiments may run their code here: those written by this user, as with runs (`store.trust`). Shell."""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec

from populace.core.errors import Untrusted
from populace.experiments.design import FILE, Design, read_design
from populace.store.folder import RunFile
from populace.store.trust import is_known, remember


def check_trusted(folder: Path, *, trust: bool = False) -> None:
    """Raise Untrusted where the experiment in a folder was not written by this user, unless told to `trust` it."""
    design = read_design(folder)
    if trust:
        remember_design(design)
        return
    if is_known(_as_run(design)):
        return
    lines = sum(len((origin.source or "").splitlines()) for origin in design.societies)
    raise Untrusted(
        f"{folder / FILE}: was not written here by you, and to go on with it executes {lines:,} lines of code in it "
        "and uses its settings, with your rights and keys. Read that file; if you trust it: populace resume "
        f"{shlex.quote(str(folder))} --trust"
    )


def remember_design(design: Design) -> None:
    """Keep the mark of an experiment that was written here."""
    remember(_as_run(design))


def _as_run(design: Design) -> RunFile:
    """What would be executed, in the form that marks are made of."""
    return RunFile(
        run=f"experiment {design.digest}",
        populace=design.populace,
        origin=" ".join(origin.name for origin in design.societies),
        source="\n".join(origin.source or "" for origin in design.societies),
        fingerprint="",
        settings=msgspec.to_builtins(design.settings),
    )
