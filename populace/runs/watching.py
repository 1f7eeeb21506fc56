"""A run seen from outside: how far it is and what its outcomes are, as they stand on the disk."""

from __future__ import annotations

import msgspec

from populace.runs.result import Run
from populace.store.folder import read_run_file


class Sight(msgspec.Struct, frozen=True):
    """What can be seen of a run now: `status` as `Run.status` has it, `tick` of `ticks`, outcomes.

    `outcomes` holds a value for each of the ticks up to there. Of a run at work they are those of its last checkpoint.
    """

    status: str
    tick: int
    ticks: int
    outcomes: dict[str, list[float]]

    @property
    def at_work(self) -> bool:
        """Whether some process holds the run."""
        return self.status == "at work"


def sight_of(run: Run) -> Sight:
    """What can be seen of a run now. Raises SettingsError and StorageError for what cannot be read."""
    status = run.status  # before its tables: what ended meanwhile is seen whole the next time
    frame = run.outcomes
    manifest = None if status in ("at work", "killed") else run.manifest
    tick = int(frame.index[-1]) if len(frame) else int(manifest["ticks"]) if manifest else 0
    outcomes = {name: frame[name].tolist() for name in frame}
    return Sight(status, tick, read_run_file(run.folder).read_settings().ticks or tick, outcomes)
