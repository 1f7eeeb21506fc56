"""A new run of a society."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from populace.data.societies import Origin, find_society, load_society
from populace.monitoring.report import Observer
from populace.runs.conduct import Ended, Say, conduct, nobody
from populace.runs.courses import Going
from populace.runs.place import new_place
from populace.runs.stop import Stop
from populace.settings import Settings
from populace.store.folder import fresh_course
from populace.store.place import fresh_folder


def run_society(
    society: str | Origin,
    settings: Settings,
    out: str | Path | None = None,
    observers: Sequence[Observer] = (),
    ended: Ended = nobody,
    say: Say = nobody,
    stop: Stop | None = None,
) -> dict[str, Any]:
    """Run the society of a file, a module or a name that ships, in `out`: a folder, an address, or a new one in runs/.

    Gives the manifest; see `conduct` for the rest. Raises what ends a run early.
    """
    origin = society if isinstance(society, Origin) else find_society(society)
    with new_place(out, say, lambda: fresh_folder(load_society(origin).name)) as place:
        return conduct(Going(origin, settings, fresh_course(origin, settings)), place, observers, ended, say, stop)
