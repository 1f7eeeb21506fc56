"""A run that ended early, gone on with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from populace.monitoring.report import Observer
from populace.runs.conduct import Ended, Say, conduct, nobody
from populace.runs.courses import resume_course
from populace.runs.place import old_place


def resume_run(
    run: str | Path,
    assignments: Iterable[str] = (),
    *,
    anyway: bool = False,
    salvage: bool = False,
    observers: Sequence[Observer] = (),
    ended: Ended = nobody,
    say: Say = nobody,
    **options: Any,
) -> dict[str, Any]:
    """Go on with the run in a folder or at an address, with some settings changed; see `resume_course`.

    Gives the manifest; see `conduct` for the rest. Raises what ends a run early.
    """
    with old_place(run) as place:
        going = resume_course(place.folder, assignments, anyway=anyway, salvage=salvage, **options)
        return conduct(going, place, observers, ended, say)
