"""The audits of an experiment's claims as one schedule: each by itself as long as it takes, all side by side. Shell.

An audit of a claim is a line of replicates, since whether there is another one goes by what those before it came to.
Lines stand beside each other: what one waits for, others don't.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from populace.core.errors import AskedToEnd, PopulaceError, RunFailed, ScenarioError, SettingsError
from populace.experiments.audits.arms import Pair
from populace.experiments.audits.claims import found_in, status_of
from populace.experiments.audits.declared import DesignedAudit
from populace.experiments.audits.record import AuditFound, Found
from populace.experiments.design import Design, DesignedOutcome, Task, folder_of
from populace.experiments.schedule import Ended, Schedule
from populace.experiments.values import Floats, series_of, value_of
from populace.store.manifest import read_manifest

ENOUGH = 3
"""Replicates that are all as they were, after which what goes by no word is not tried further."""


class Claims(msgspec.Struct, frozen=True):
    """What all lines have in common: `seen` are the replicates, `unread` says that what answers reads no prompt."""

    folder: Path
    of: DesignedOutcome
    seen: list[int]
    level: float
    margin: float
    begins: int
    unread: bool

    def difference(self, design: Design, pair: Pair, replicate: int) -> float:
        """What the outcome of a pair differs by in a replicate."""
        treated, control = (
            value_of(self.series(design, arm, replicate), self.of, self.begins) for arm in (pair.treated, pair.control)
        )
        return treated - control

    def series(self, design: Design, arm: str, replicate: int) -> Floats:
        """The outcome of a run by tick."""
        return series_of(self.folder / folder_of(design.arm(arm), replicate), self.of)

    def same(self, design: Design, pair: Pair, arm: str, replicate: int) -> bool:
        """Whether outcomes are those of the experiment's own arms."""
        couples = ((pair.control, design.control), (pair.treated, arm))
        return all(
            np.array_equal(self.series(design, one, replicate), self.series(design, other, replicate), equal_nan=True)
            for one, other in couples
        )


class Line:
    """One audit of one claim. `found` is what it came to, once it is over."""

    def __init__(
        self, claims: Claims, design: Design, audit: DesignedAudit, arm: str, pair: Pair | None, claimed: Any
    ) -> None:
        self.design = design
        self.audit = audit
        self.name = audit.name
        self.arm = arm
        self.pair = pair
        self.found: AuditFound | None = None
        self.paid: dict[str, tuple[int, float, str]] = {}
        self._claims = claims
        self._claimed = claimed
        self._differences: list[float] = []
        self._asks = self._anew = 0
        self._same = True

    def tasks(self, at: int) -> list[Task]:
        """The runs that its `at`-th replicate needs, each after the one that it is forked from."""
        if self.pair is None or at >= len(self._claims.seen):
            return []
        design, replicate, found = self.design, self._claims.seen[at], list[Task]()
        for name in dict.fromkeys(self.pair):
            if name != design.control:
                of = design.arm(name)
                parent = folder_of(design.arm(of.base), replicate) if of.base else ""
                found.append(Task(folder_of(of, replicate), name, replicate, design.seed + replicate, parent))
        return found

    def ahead(self) -> list[Task]:
        """All the runs that it may still need."""
        done = len(self._differences)
        return [] if self.found else [task for at in range(done, len(self._claims.seen)) for task in self.tasks(at)]

    def wants(self, done: dict[str, Ended]) -> Task | None:
        """The next run that it waits for; None once it is over."""
        while self.found is None:
            needed = self.tasks(len(self._differences))
            wanted = next((task for task in needed if task.run not in done), None)
            if wanted is not None:
                return wanted
            try:
                self._take(needed)
            except (ScenarioError, SettingsError) as error:
                self.fail(str(error))
        return None

    def fail(self, why: str) -> None:
        """It could not be played."""
        one = self.audit
        said = why.partition("\n")[0][:300]
        self.found = AuditFound(name=one.name, kind=one.kind, about=one.about, status="not done", why=said)

    def _take(self, ran: Sequence[Task]) -> None:
        """Take in a replicate whose runs have ended, and see whether it is decided."""
        assert self.pair is not None
        claims, replicate = self._claims, self._claims.seen[len(self._differences)]
        for task in ran:
            of = read_manifest(claims.folder / task.run)
            self._asks += of["asks"]["made"]
            self._anew += of["asks"]["made"] - of["asks"]["replayed"]
            self.paid[task.run] = int(of["calls_billed"]), float(of["cost_usd"]), str(of["model"])
        self._same = self._same and claims.same(self.design, self.pair, self.arm, replicate)
        self._differences.append(claims.difference(self.design, self.pair, replicate))
        found = found_in(np.array(self._differences), claims.of.bounds, margin=claims.margin, level=claims.level)
        enough = claims.unread and self._same and len(self._differences) >= ENOUGH
        if found.verdict != "open" or enough or len(self._differences) == len(claims.seen):
            self.found = self._made(found)

    def _made(self, found: Found) -> AuditFound:
        audit = self.audit
        status, why = status_of(found, audit.kind, self._claimed), ""
        if audit.kind == "perturbation":
            if self._same and (self._claims.unread or not self._anew or status == "open"):
                status, why = "idle", "every run is as it was: what answers does not go by it"
            elif self._claimed is None:
                status, why = "open", "nothing is claimed: no direction was declared, and none was found"
        return AuditFound(
            name=audit.name, kind=audit.kind, about=audit.about, status=status, why=why, effect=found, asks=self._asks,
            asked_anew=self._anew, calls=sum(one[0] for one in self.paid.values()),
            cost_usd=sum(one[1] for one in self.paid.values()),
        )  # fmt: skip


class AuditSchedule(Schedule):
    """The runs of all lines: which can be begun now, and which may come."""

    def __init__(self, folder: Path, design: Design, lines: Sequence[Line]) -> None:
        self.lines = lines
        self._own: dict[str, Line] = {}
        super().__init__(folder, design, [task for line in lines for task in line.ahead()])
        self._settle()

    @property
    def what(self) -> str:
        """What it is, in words."""
        return (
            f"{len({line.audit.name for line in self.lines})} audits of {len({one.arm for one in self.lines})} claims"
        )

    def design_of(self, task: Task) -> Design:
        """The design with the audit's arms."""
        return self._own[task.run].design

    def forgives(self, error: PopulaceError) -> bool:
        """Whether the others go on where a run ends so."""
        return isinstance(error, RunFailed | AskedToEnd | ScenarioError | SettingsError)

    def next(self) -> Task | None:
        """A run that can be begun now."""
        for line in self.lines:
            task = line.wants(self.done)
            if task is not None and task.run not in self.at_work:
                self.at_work.add(task.run)
                self._own[task.run] = line
                return task
        return None

    @property
    def is_over(self) -> bool:
        """Whether every line is."""
        return not self.at_work and all(line.wants(self.done) is None for line in self.lines)

    def end(self, one: Ended) -> None:
        """A run has ended."""
        super().end(one)
        if one.status != "complete":
            for line in self.lines:
                if line.found is None and any(task.run == one.task.run for task in line.ahead()):
                    line.fail(f"{one.task.run}: {one.error or one.status}")
        self._settle()

    def _settle(self) -> None:
        """Take in what has ended, and leave out of what may come what is not needed any more."""
        for line in self.lines:
            line.wants(self.done)
        ahead = {task.run: task for line in self.lines for task in line.ahead()}
        played = {one.task.run: one.task for one in (*self.done.values(), *self.failed.values())}
        self.tasks = list((played | ahead).values())
