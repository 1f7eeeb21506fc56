"""An outcome, or an arm's effect on it, as a function of the society's parameters. Shell: plays runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from populace.core.errors import SettingsError
from populace.data.societies import load_society
from populace.experiments.audits.arms import PLACE, Pair, with_audit
from populace.experiments.audits.calibration import Calibration, calibrate
from populace.experiments.audits.declared import DesignedAudit
from populace.experiments.audits.sensitivity import Ranges, Sensitivity, check_ranges, sensitivity
from populace.experiments.audits.targets import Target
from populace.experiments.conducting import Watcher, conduct_all
from populace.experiments.design import Design, Task, folder_of
from populace.experiments.progress import Silent
from populace.experiments.results import Results
from populace.experiments.schedule import Schedule
from populace.experiments.values import Floats, series_of, value_of
from populace.files import write_whole
from populace.runs.stop import Stop
from populace.store.lock import held

FILE: Final = "sensitivity.json"
CALIBRATED: Final = "calibration.json"


class Points:
    """The outcome of an experiment's control, or an arm's effect on it, at points of the parameters `names`.

    Called with a point it gives the number that is compared, or with `ticks` the outcome at these, as a mean over the
    first `replicates`: the same seeds at every point, so that what differs between points is the parameters. Runs are
    forked from the experiment's and stand in its `audits/`. `prepare` plays those of many points, `jobs` side by side.
    Raises SettingsError for a parameter that is no number of the society, and where there are fewer complete
    replicates; then what ends a run early.
    """

    def __init__(
        self,
        folder: str | Path,
        names: Sequence[str],
        *,
        outcome: str = "",
        arm: str = "",
        replicates: int = 1,
        ticks: Sequence[int] = (),
        jobs: int = 1,
        watcher: Watcher | None = None,
        stop: Stop | None = None,
    ) -> None:
        self.folder = Path(folder)
        results = Results(self.folder)
        self.design = results.design
        self.of = self.design.outcome(outcome or self.design.primary)
        self.arm = self.design.arm(arm).name if arm else ""
        self.ticks = list(ticks)
        self._seen = results.complete[:replicates]
        if len(self._seen) < replicates:
            raise SettingsError(f"{folder}: has {len(self._seen)} complete replicates, and {replicates} are asked for")
        if self.arm == self.design.control:
            raise SettingsError(f"{arm!r} is the control: without --arm its outcome is taken, with one an arm's effect")
        if late := [tick for tick in self.ticks if not 0 <= tick <= self.design.ticks]:
            raise SettingsError(f"tick {late[0]} is not from 0 to {self.design.ticks}")
        self._whole = _whole(self.design, names)
        self._begins = min((one.treated_at or 0 for one in self.design.treatments), default=0)
        self._ways = jobs, watcher or Silent(), stop or Stop()

    @property
    def told(self) -> str:
        """What it is a function of, in words."""
        return f"{self.of.name}, {self.arm} less {self.design.control}" if self.arm else self.of.name

    def prepare(self, points: Iterable[dict[str, float]]) -> None:
        """Play what these points need and is not there."""
        derived, tasks = self.design, dict[str, Task]()
        for point in points:
            derived, pair = self._derived(derived, point)
            for name in dict.fromkeys(pair if self.arm else (pair.control,)):
                of = derived.arm(name)
                for replicate in self._seen:
                    parent = folder_of(derived.arm(of.base), replicate) if of.base else ""
                    run = folder_of(of, replicate)
                    tasks[run] = Task(run, name, replicate, derived.seed + replicate, parent)
        (self.folder / PLACE).mkdir(parents=True, exist_ok=True)
        conduct_all(_PointSchedule(self.folder, derived, tasks.values()), *self._ways)

    def __call__(self, point: dict[str, float]) -> Any:
        """The outcome at a point: a float, or of `ticks` an array."""
        derived, pair = self._derived(self.design, point)
        if any(not (self.folder / folder_of(derived.arm(pair.control), one) / "manifest.json").exists()
               for one in self._seen):  # fmt: skip
            self.prepare([point])
        found: Any = [
            self._read(derived, pair.treated, one) - self._read(derived, pair.control, one)
            if self.arm else self._read(derived, pair.control, one)
            for one in self._seen
        ]  # fmt: skip
        return np.mean(found, axis=0) if self.ticks else float(np.mean(found))

    def _derived(self, design: Design, point: dict[str, float]) -> tuple[Design, Pair]:
        given = {key: round(one) if key in self._whole else one for key, one in point.items()}
        name = "point " + blake2b(msgspec.json.encode(given), digest_size=8).hexdigest()
        control = f"{name}: {design.control}"
        if any(one.name == control for one in design.arms):  # the same point once more
            return design, Pair(control, f"{name}: {self.arm}")
        audit = DesignedAudit(name=name, kind="perturbation", parameters=given)
        derived, pairs = with_audit(design, audit, [self.arm] if self.arm else [], PLACE)
        return derived, pairs.get(self.arm, Pair(control, control))

    def _read(self, design: Design, arm: str, replicate: int) -> float | Floats:
        series = series_of(self.folder / folder_of(design.arm(arm), replicate), self.of)
        return series[self.ticks] if self.ticks else value_of(series, self.of, self._begins)


class _PointSchedule(Schedule):
    """The runs of many points."""

    def __init__(self, folder: Path, design: Design, tasks: Iterable[Task]) -> None:
        super().__init__(folder, design, tasks)
        self._sent = msgspec.structs.replace(design)

    @property
    def what(self) -> str:
        """What it is, in words."""
        return f"{len(self.tasks)} runs at points of its parameters"

    def design_of(self, task: Task) -> Design:
        """The design with the points' arms, which is not the folder's."""
        return self._sent


def sensitivity_of(
    folder: str | Path, ranges: Ranges, *, method: Any = "morris", samples: int = 8, **ways: Any
) -> Sensitivity:
    """How much of an outcome of the experiment in `folder` goes by which of its society's parameters.

    `ways` are those of `Points`: outcome, arm, replicates, jobs. What they come to is written to `sensitivity.json`.
    Raises SettingsError for what the society has not, and what ends a run early.
    """
    check_ranges(ranges)
    if method not in ("morris", "sobol"):
        raise SettingsError(f"--method {method}: is morris or sobol")
    at = Points(folder, list(ranges), **ways)
    with held(at.folder):
        found = sensitivity(
            at, ranges, method=method, samples=samples, seed=at.design.seed, outcome=at.told, prepare=at.prepare
        )
    write_whole(at.folder / FILE, msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    return found


def calibration_of(
    folder: str | Path, ranges: Ranges, target: Target, *, tolerance: float, draws: int = 60, **ways: Any
) -> Calibration:
    """The parameters at which an outcome of the experiment in `folder`, or an arm's effect on it, is the target.

    `ways` are those of `Points`. What it comes to is written to `calibration.json`. Raises as `sensitivity_of` does,
    and ScenarioError where too few draws come near the target for anything to be said of what is open.
    """
    check_ranges(ranges)
    at = Points(folder, list(ranges), ticks=target.ticks, **ways)
    with held(at.folder):
        found = calibrate(
            at, ranges, target.values, tolerance=tolerance, draws=draws, seed=at.design.seed, prepare=at.prepare
        )
    found = msgspec.structs.replace(found, outcome=at.told, target=target.told)
    write_whole(at.folder / CALIBRATED, msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    return found


def ranges_of(given: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Ranges as the command line has them, `NAME=low:high`. Raises SettingsError for what is none."""
    found = {}
    for text in given:
        name, _, ends = text.partition("=")
        low, _, high = ends.partition(":")
        try:
            found[name.strip().removeprefix("society.")] = float(low), float(high)
        except ValueError:
            said = "write it as NAME=low:high, for example openness=0.1:0.9"
            raise SettingsError(f"--vary {text}: {said}") from None
    return found


def _whole(design: Design, names: Sequence[str]) -> set[str]:
    """Which of the parameters are whole numbers. Raises SettingsError for one that is no number of the society."""
    society = load_society(design.societies[design.arm(design.control).society])
    plain = msgspec.to_builtins(society.with_parameters({}))
    for name in names:
        if isinstance(plain.get(name), bool) or not isinstance(plain.get(name), int | float):
            numbers = [key for key, one in plain.items() if isinstance(one, int | float) and not isinstance(one, bool)]
            raise SettingsError(
                f"{name}: is no parameter of {society.name} that is a number; there are {', '.join(numbers) or 'none'}"
            )
    return {name for name in names if isinstance(plain[name], int)}
