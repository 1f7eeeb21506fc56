"""Which runs of an experiment come next, and what each may spend. Shell: files.

A run comes after the one that it is forked from. What the folder holds says what is left to do, so an experiment that
ended anywhere is gone on with by being given again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from populace.budget.amounts import NOTHING
from populace.budget.ledger import Ledger
from populace.core.errors import AskedToEnd, PopulaceError, RunFailed
from populace.experiments.design import Design, Task
from populace.settings import Assignment, Settings
from populace.store.manifest import is_complete, read_manifest

LEDGER = "ledger.sqlite"


class Ended(msgspec.Struct, frozen=True):
    """What a run came to: of its manifest, what an experiment adds up."""

    task: Task
    status: str
    asks: int
    calls: int
    replayed: int
    cost_usd: float
    wall_s: float
    error: str = ""


def ended(task: Task, manifest: Mapping[str, Any]) -> Ended:
    """What a run came to, by its manifest."""
    asks = manifest["asks"]
    return Ended(
        task, str(manifest["status"]), asks["made"], manifest["calls_billed"], asks["replayed"],
        float(manifest["cost_usd"]), float(manifest["wall_s"]), str(manifest["error"] or ""),
    )  # fmt: skip


class Schedule:
    """The runs of an experiment in its folder: done, to be done, at work."""

    def __init__(self, folder: Path, design: Design, tasks: Iterable[Task] | None = None) -> None:
        self.folder = folder
        self.design = design
        self.tasks = list(design.tasks() if tasks is None else tasks)
        self.done: dict[str, Ended] = {}
        self.failed: dict[str, Ended] = {}
        self.at_work: set[str] = set()
        for task in self.tasks:
            if is_complete(folder / task.run):
                self.done[task.run] = ended(task, read_manifest(folder / task.run))
        self.before = frozenset(self.done)
        """The runs that were complete as it began."""

    @property
    def what(self) -> str:
        """What it is, in words."""
        return f"{len(self.design.arms)} arms x {self.design.replicates} replicates"

    def design_of(self, task: Task) -> Design:  # of some schedules it goes by the run
        """The design that a run is of."""
        return self.design

    def forgives(self, error: PopulaceError) -> bool:
        """Whether a run that ends so ends alone, and the others go on."""
        return isinstance(error, RunFailed | AskedToEnd)

    def next(self) -> Task | None:
        """A run that can be begun now; None where all that are left wait for others, or none is left."""
        names = {task.run for task in self.tasks}
        for task in self.tasks:
            if self._is_open(task) and (task.parent in self.done or task.parent not in names):
                self.at_work.add(task.run)
                return task
        return None

    def _is_open(self, task: Task) -> bool:
        return not (task.run in self.done or task.run in self.failed or task.run in self.at_work)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left that could be done: what is forked from a failed run cannot."""
        return not self.at_work and not any(self._is_open(task) and task.parent not in self.lost for task in self.tasks)

    @property
    def lost(self) -> set[str]:
        """The runs that failed and those that would have been forked from them."""
        lost = set(self.failed)
        for task in self.tasks:  # each after its parent
            if task.parent in lost:
                lost.add(task.run)
        return lost

    def end(self, one: Ended) -> None:
        """A run has ended."""
        self.at_work.discard(one.task.run)
        (self.done if one.status == "complete" else self.failed)[one.task.run] = one

    def give_up(self, task: Task) -> None:
        """A run was broken off, and is not at work any more."""
        self.at_work.discard(task.run)

    @property
    def cost_usd(self) -> float:
        """What the runs cost so far."""
        return sum(one.cost_usd for one in (*self.done.values(), *self.failed.values()))

    def to_come(self) -> tuple[float, float] | None:
        """What the runs that are left will cost (US dollars) and take (seconds of runs): as those before of their arm.

        For an arm of which none has ended, as the dearest that has; None before any has ended.
        """
        by_arm: dict[str, list[Ended]] = {}
        for one in self.done.values():
            by_arm.setdefault(one.task.arm, []).append(one)
        if not by_arm:
            return None
        means = {
            arm: (sum(one.cost_usd for one in of) / len(of), sum(one.wall_s for one in of) / len(of))
            for arm, of in by_arm.items()
        }
        worst = max(usd for usd, _ in means.values()), max(s for _, s in means.values())
        left = [task for task in self.tasks if task.run not in self.done and task.run not in self.lost]
        given = [means.get(task.arm, worst) for task in left]
        return sum(usd for usd, _ in given), sum(s for _, s in given)

    def bounds(self, jobs: int) -> list[Assignment]:
        """What a run may take of the account and of the money while `jobs` go side by side."""
        return [*_shares(self.design.read_settings(), jobs), *self._money(jobs)]

    def _money(self, jobs: int) -> list[Assignment]:
        budget = self.design.read_settings().budget
        if budget.experiment_usd is None and budget.experiment_tokens is None:
            return []
        path = self.folder.resolve() / LEDGER if budget.ledger is None else budget.ledger
        found: list[Assignment] = [("budget.ledger", str(path))]
        if jobs == 1:
            return found
        booked = NOTHING
        if path.exists():
            booked = sum((one.booked for one in Ledger(path).entries() if one.experiment == self.design.name), NOTHING)
        free = max(1, jobs - len(self.at_work) + 1)
        if budget.experiment_usd is not None and budget.usd is None:
            found.append(("budget.usd", max(0.0, budget.experiment_usd - booked.usd) / free))
        if budget.experiment_tokens is not None and budget.tokens is None:
            found.append(("budget.tokens", max(0, budget.experiment_tokens - booked.tokens) // free))
        return found


def _shares(settings: Settings, jobs: int) -> list[Assignment]:
    """Equal parts of what an account allows, so that all runs together keep to it; of rates only if none share them."""
    if jobs == 1:
        return []
    shared = settings.endpoint.share_limits is not None
    found: list[Assignment] = []
    for at, endpoint in [("endpoint", settings.endpoint)] + [
        (f"model.roles.{name}.endpoint", role.endpoint) for name, role in settings.model.roles.items()
    ]:
        rates = {key: getattr(endpoint, key) for key in ("requests_per_minute", "tokens_per_minute")}
        found += [(f"{at}.{key}", rate / jobs) for key, rate in rates.items() if rate is not None and not shared]
        if endpoint.concurrency is not None:
            found.append((f"{at}.concurrency", max(1, endpoint.concurrency // jobs)))
    return found
