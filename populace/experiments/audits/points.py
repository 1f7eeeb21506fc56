"""An outcome, or an arm's effect on it, as a function of the society's parameters. Shell: plays runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from populace.core.errors import RunFailed, SettingsError
from populace.data.societies import load_society
from populace.experiments.audits.arms import PLACE, with_audit
from populace.experiments.audits.declared import DesignedAudit
from populace.experiments.audits.sensitivity import Ranges, Sensitivity, check_ranges, sensitivity
from populace.experiments.design import Design, Task, folder_of
from populace.experiments.playing import play
from populace.experiments.results import Results
from populace.experiments.schedule import Schedule
from populace.experiments.values import series_of, value_of
from populace.files import write_whole
from populace.runs.stop import Stop
from populace.store.lock import held

FILE = "sensitivity.json"


def sensitivity_of(
    folder: str | Path,
    ranges: Ranges,
    *,
    outcome: str = "",
    arm: str = "",
    method: Any = "morris",
    samples: int = 8,
    replicates: int = 1,
    stop: Stop | None = None,
) -> Sensitivity:
    """How much of an outcome of the experiment in `folder` goes by which of its society's parameters.

    It is the control's, or with an `arm` the arm's difference to it, as a mean over the first `replicates`: the same
    seeds at every point, so that what differs between points is the parameters. Runs are forked from the experiment's
    and stand in `audits/`; what they come to is written to `sensitivity.json`. Raises SettingsError for what the
    society has not, and what ends a run early.
    """
    place = Path(folder)
    design = Results(place).design
    check_ranges(ranges)
    if method not in ("morris", "sobol"):
        raise SettingsError(f"--method {method}: is morris or sobol")
    at_point = outcome_at(place, list(ranges), outcome=outcome, arm=arm, replicates=replicates, stop=stop)
    name = outcome or design.primary
    said = f"{name}, {arm} less {design.control}" if arm else name
    with held(place):
        found = sensitivity(at_point, ranges, method=method, samples=samples, seed=design.seed, outcome=said)
    write_whole(place / FILE, msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    return found


def outcome_at(
    folder: str | Path,
    names: Sequence[str],
    *,
    outcome: str = "",
    arm: str = "",
    replicates: int = 1,
    stop: Stop | None = None,
) -> Callable[[dict[str, float]], float]:
    """The outcome of an experiment's control, or an arm's effect on it, as a function of the parameters `names`.

    It plays runs in the experiment's folder, as `sensitivity_of` does, and is what `calibrate` takes. Raises
    SettingsError for a parameter that is no number of the society, and where there are fewer complete replicates.
    """
    place = Path(folder)
    results = Results(place)
    of = results.design.outcome(outcome or results.design.primary)
    seen = results.complete[:replicates]
    if len(seen) < replicates:
        raise SettingsError(f"{place}: has {len(seen)} complete replicates, and {replicates} are asked for")
    return _at_point(place, results.design, of, arm, seen, _whole(results.design, names), stop)


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
            raise SettingsError(f"--sensitivity {text}: {said}") from None
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


def _at_point(
    folder: Path, design: Design, of: Any, arm: str, seen: list[int], whole: set[str], stop: Stop | None
) -> Callable[[dict[str, float]], float]:
    begins = min((one.treated_at or 0 for one in design.treatments), default=0)
    bounds = Schedule(folder, design).bounds(1)

    def value(point: dict[str, float]) -> float:
        given = {key: round(one) if key in whole else one for key, one in point.items()}
        name = "point " + blake2b(msgspec.json.encode(given), digest_size=8).hexdigest()
        audit = DesignedAudit(name=name, kind="perturbation", parameters=given)
        derived, pairs = with_audit(design, audit, [arm] if arm else [], PLACE)
        control = f"{name}: {design.control}"
        found = []
        for replicate in seen:
            ended = {
                one: _end(folder, derived, one, replicate, of, begins, bounds, stop)
                for one in (control, *((pairs[arm].treated,) if arm else ()))
            }
            found.append(ended[pairs[arm].treated] - ended[control] if arm else ended[control])
        return float(np.mean(found))

    return value


def _end(
    folder: Path, design: Design, arm: str, replicate: int, of: Any, begins: int, bounds: Any, stop: Stop | None
) -> float:
    """What an arm's run comes to; it is played unless it stands there."""
    one = design.arm(arm)
    run = folder_of(one, replicate)
    (folder / run).parent.mkdir(parents=True, exist_ok=True)
    parent = folder_of(design.arm(one.base), replicate) if one.base else ""
    manifest = play(folder, design, Task(run, arm, replicate, design.seed + replicate, parent), bounds, stop=stop)
    if manifest["status"] != "complete":
        raise RunFailed(f"{run}: {manifest['error'] or manifest['status']}")
    return value_of(series_of(folder / run, of), of, begins)
