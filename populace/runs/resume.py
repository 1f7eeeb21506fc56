"""A run that ended early, gone on with: as it was, or with its scenario's code mended."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from populace.data.societies import Origin
from populace.monitoring.pace import counted
from populace.monitoring.report import Observer
from populace.runs.conduct import Ended, Say, conduct, nobody
from populace.runs.courses import code_now, fork_course, outlasted, recorded_hashes, replay_course, resume_course
from populace.runs.place import folder_beside, new_place, old_place
from populace.runs.replay import replay_run
from populace.runs.stop import Stop
from populace.settings import Assignment, Settings
from populace.store.lock import is_held
from populace.store.remote.mirror import RECORD, local_folder
from populace.store.trust import check_trust


def resume_run(
    run: str | Path,
    assignments: Iterable[Assignment] = (),
    *,
    anyway: bool = False,
    salvage: bool = False,
    trust: bool = False,
    settings: Settings | None = None,
    society: Origin | None = None,
    observers: Sequence[Observer] = (),
    ended: Ended = nobody,
    say: Say = nobody,
    stop: Stop | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Go on with the run in a folder or at an address, with some settings changed; see `resume_course`.

    Gives the manifest; see `conduct` for the rest. Raises what ends a run early, and Untrusted for a run of
    somebody else, unless it is to be trusted.
    """
    with old_place(run, say) as place:
        check_trust(place.folder, "resume", trust=trust, named=place.name)
        going = resume_course(
            place.folder, assignments, anyway=anyway, salvage=salvage, settings=settings, society=society, say=say,
            **options,
        )  # fmt: skip
        return conduct(going, place, observers, ended, say, stop)


def resume_with_new_code(
    run: str | Path,
    assignments: Iterable[Assignment] = (),
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
    """Go on with a run by its scenario's code as it is now, in a new folder beside it (or `out`).

    It is a fork at the first tick to which the code gives another trace than the one on record, or after the last tick
    there is: the ticks before are verified, hash by hash, and no answer on record is paid for again. `run.json` and the
    manifest say so (`parent.new_code`). Gives the manifest; see `conduct` for the rest. Raises what ends a run early.
    """
    folder = local_folder(run, (*RECORD, "asks.parquet"))
    check_trust(folder, "resume", trust=trust, named=str(run))
    for note in () if is_held(folder) else outlasted(folder, say):  # what a run at work has on record by now is taken
        say(f"note: {note}")
    code, at_tick = code_now(folder), 0
    if recorded_hashes(folder):
        with tempfile.TemporaryDirectory(prefix="populace-replay-") as again:
            at_tick = replay_run(replay_course(folder), folder, Path(again)).ticks
    say(f"note: with the code as it is now the trace is the same for {counted(at_tick, 'tick')}; forked there")
    going = fork_course(run, at_tick, assignments, salvage=salvage, code=code, **options)
    with new_place(out, say, lambda: folder_beside(run, "fork")) as place:
        return conduct(going, place, observers, ended, say, stop)
