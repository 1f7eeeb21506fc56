"""A counterfactual, branched off from a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from populace.monitoring.report import Observer
from populace.runs.conduct import Ended, Say, conduct, nobody
from populace.runs.courses import fork_course
from populace.runs.place import folder_beside, new_place
from populace.runs.stop import Stop
from populace.settings import Assignment
from populace.store.remote.mirror import local_folder
from populace.store.trust import check_trust


def fork_run(
    run: str | Path,
    at_tick: int,
    assignments: Iterable[Assignment] = (),
    levers: Sequence[str | Mapping[str, Any]] = (),
    out: str | Path | None = None,
    *,
    salvage: bool = False,
    trust: bool = False,
    observers: Sequence[Observer] = (),
    ended: Ended = nobody,
    say: Say = nobody,
    stop: Stop | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Branch off from the run in a folder or at an address before a tick; see `fork_course`.

    Without `out` it goes to a new folder beside. Gives the manifest; see `conduct` for the rest. Raises what ends a run
    early, and Untrusted for a run of somebody else, unless it is to be trusted.
    """
    check_trust(local_folder(run), "fork", trust=trust, named=str(run))
    going = fork_course(run, at_tick, assignments, levers, salvage=salvage, **options)
    with new_place(out, say, lambda: folder_beside(run, "fork")) as place:
        return conduct(going, place, observers, ended, say, stop)
