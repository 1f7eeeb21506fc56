"""An experiment as it stands: its arms, how far their runs are, outcomes by arm, and differences from the control.

Differences are those of `populace.experiments.inference`, paired by replicate, over the replicates that are complete in
all arms: while an experiment is at work they are what it has come to so far, and no reason to end it. Shell: files.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from populace.core.errors import PopulaceError, ScenarioError
from populace.experiments.design import FILE, Design, DesignedArm, DesignedOutcome, folder_of, is_experiment
from populace.experiments.inference.effects import Effect, adjusted, effect
from populace.experiments.results import Results
from populace.experiments.values import series_of
from populace.monitoring.progress_file import PROGRESS
from populace.monitoring.summary import PLACEBO_CAVEAT
from populace.page.history import History
from populace.page.overview import status_of
from populace.page.shelf import NotThere, Shelf
from populace.store.folder import RUN_FILE
from populace.store.manifest import MANIFEST, is_placebo

_MOST_LINES: Final = 20
_MOST_POINTS: Final = 300
_LETTERS: Final = 2000
_MOST_CHANGES: Final = 60
FEWEST: Final = 2
"""So many replicates a difference needs, to have an interval."""


def experiments_of(shelf: Shelf) -> dict[str, Path]:
    """The experiments at a place by name: the place itself, or folders in it."""
    root = shelf.root
    if is_experiment(root):
        return {root.name: root}
    found = {file.parent for file in root.glob(f"*/{FILE}") if file.parent.resolve().is_relative_to(root)}
    return {folder.name: folder for folder in sorted(found)} if not shelf.alone else {}


class Experiment:
    """One experiment that somebody looks at; what complete runs came to is read once."""

    def __init__(self, shelf: Shelf, name: str) -> None:
        found = experiments_of(shelf)
        if name not in found:
            raise NotThere(f"there is no experiment of this name in {shelf.root.name}")
        self.folder = found[name]
        self._at = "" if self.folder == shelf.root else f"{name}/"
        self._series: dict[tuple[str, str], list[float | None]] = {}
        self._histories: dict[str, History] = {}

    def sign(self) -> tuple[Any, ...]:
        """What is another once a run has come further."""
        found: list[Any] = []
        for path in (self.folder / FILE, *sorted(self.folder.glob(f"*/{MANIFEST}")), *self._told()):
            try:
                about = path.stat()
            except OSError:
                continue
            found.append((path.parent.name, about.st_size, about.st_mtime_ns))
        return (Results(self.folder).status, *found)

    def _told(self) -> list[Path]:
        return sorted(self.folder.glob(f"*/{PROGRESS}"))

    def seen(self) -> dict[str, Any]:
        """The experiment as plain data. Raises SettingsError where `experiment.json` is none."""
        results = Results(self.folder)
        design = results.design
        runs = {task.run: self._run(task.run) for task in results.tasks}
        arms = [
            {
                "name": arm.name, "about": arm.about[:_LETTERS], "base": arm.base, "at_tick": arm.at_tick,
                "changes": changes_of(arm, design),
                "runs": [runs[folder_of(arm, r)] for r in range(design.replicates)],
            }
            for arm in design.arms
        ]  # fmt: skip
        effects, why = self._effects(results)
        return {
            "ready": True, "name": design.name, "question": design.question[:_LETTERS], "control": design.control,
            "primary": design.primary, "status": results.status, "replicates": design.replicates,
            "complete": len(results.complete), "ticks": design.ticks, "agents": design.agents, "arms": arms,
            "outcomes": [self._curves(results, one, runs) for one in design.outcomes],
            "effects": [_plain(one, results) for one in effects], "why": why,
            "caveat": PLACEBO_CAVEAT if any(is_placebo(self.folder / run) for run in runs) else "",
        }  # fmt: skip

    def _run(self, run: str) -> dict[str, Any]:
        folder = self.folder / run
        if not (folder / RUN_FILE).exists():
            return {"run": None, "status": "to come", "tick": 0}
        status = status_of(folder)
        history = self._histories.setdefault(run, History(folder))
        if status != "complete" or not history.ticks:
            history.update()
        return {"run": f"{self._at}{run}", "status": status, "tick": history.ticks}

    def _curves(self, results: Results, outcome: DesignedOutcome, runs: dict[str, Any]) -> dict[str, Any]:
        """An outcome by arm: the mean over its complete runs, and runs as far as they are, of very many the first."""
        found = {arm.name: self._lines(results, arm, outcome, runs) for arm in results.design.arms}
        length = max((len(line) for whole, rest in found.values() for line in (*whole, *rest)), default=0)
        ticks = np.unique(np.linspace(0, max(length - 1, 0), min(length, _MOST_POINTS)).astype(int)).tolist()
        arms = {}
        for name, (whole, rest) in found.items():
            arms[name] = {
                "mean": _picked(_mean(whole), ticks),
                "runs": [_picked(line, ticks) for line in (*whole, *rest)[:_MOST_LINES]],
            }
        return {"name": outcome.name, "about": outcome.about[:_LETTERS], "ticks": ticks, "arms": arms}

    def _lines(
        self, results: Results, arm: DesignedArm, outcome: DesignedOutcome, runs: dict[str, Any]
    ) -> tuple[list[list[float | None]], list[list[float | None]]]:
        """The outcome in an arm's runs that are complete, and in those that are not."""
        whole, rest = [], []
        for replicate in range(results.design.replicates):
            run = folder_of(arm, replicate)
            if runs[run]["status"] == "complete":
                whole.append(self._of_complete(run, outcome))
            elif runs[run]["run"] is not None and outcome.scale is None:
                curves = self._histories[run].curves()
                if outcome.name in curves["names"]:
                    told = dict(
                        zip(curves["ticks"], curves["values"][curves["names"].index(outcome.name)], strict=True)
                    )
                    rest.append([told.get(tick) for tick in range(max(told, default=-1) + 1)])
        return whole, rest

    def _of_complete(self, run: str, outcome: DesignedOutcome) -> list[float | None]:
        key = (run, outcome.name)
        if key not in self._series:
            series = series_of(self.folder / run, outcome)
            self._series[key] = [float(value) if np.isfinite(value) else None for value in series]
        return self._series[key]

    def _effects(self, results: Results) -> tuple[list[Effect], str]:
        """Each arm against the control on each outcome, and why there is none, or not all."""
        complete, control = len(results.complete), results.design.control
        if complete < FEWEST:
            return [], f"{complete} of at least {FEWEST} replicates are complete in all arms"
        found, why = [], []
        for arm in results.design.treatments:
            for one in results.design.outcomes:
                try:
                    treated, against = results.values(one.name, arm.name), results.values(one.name, control)
                    found.append(effect(treated, against, arm=arm.name, outcome=one.name))
                except ScenarioError as error:
                    why.append(str(error))
                except PopulaceError as error:  # a library that is not here, say: it is the same for all
                    return [], str(error)
        return list(adjusted(found)) if found else [], "; ".join(why)[:_LETTERS]


def changes_of(arm: DesignedArm, design: Design) -> list[dict[str, str]]:
    """What an arm changes of the control, as `kind` and `text`: levers, parameters, settings (a model, say), texts.

    A parameter or setting that the control has otherwise stands with what it is there.
    """
    control = design.arm(design.control)
    usual = {"parameter": {**design.settings.get("society", {}), **control.parameters}, "setting": control.settings}
    found = [("lever", _json(lever)) for lever in arm.levers]
    for kind, own in (("parameter", arm.parameters), ("setting", arm.settings)):
        for name, value in own.items():
            was = usual[kind].get(name, _of(design.settings, name) if kind == "setting" else None)
            if arm.name == control.name or was != value:
                told = "" if arm.name == control.name or was is None else f" (the control: {_json(was)})"
                found.append((kind, f"{name} = {_json(value)}{told}"))
    found += [("text", line) for line in _reworded(arm, control, design)]
    return [{"kind": kind, "text": text[:_LETTERS]} for kind, text in found[:_MOST_CHANGES]]


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _of(settings: dict[str, Any], name: str) -> Any:
    """What settings of all runs say under a dotted name; None where they do not."""
    found: Any = settings
    for step in name.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _reworded(arm: DesignedArm, control: DesignedArm, design: Design) -> list[str]:
    """Lines that an arm's society has and the control's has not ("+"), and the other way round ("-")."""
    one, other = design.societies[control.society], design.societies[arm.society]
    if one == other:
        return []
    lines = difflib.unified_diff((one.source or "").splitlines(), (other.source or "").splitlines(), n=0, lineterm="")
    found = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---") and line[1:].strip()]
    return found or [f"another society: {other.name}"]


def _plain(one: Effect, results: Results) -> dict[str, Any]:
    direction = results.design.outcome(one.outcome).direction.get(one.arm, "")
    numbers = {
        "difference": one.difference, "low": one.t.low, "high": one.t.high, "treated": one.mean_treated,
        "control": one.mean_control, "p": one.p_t, "p_adjusted": one.p_adjusted, "hedges_g": one.hedges_g,
    }  # fmt: skip
    finite = {name: float(value) if np.isfinite(value) else None for name, value in numbers.items()}
    return {"arm": one.arm, "outcome": one.outcome, "replicates": one.replicates, "predicted": direction, **finite}


def _mean(lines: list[list[float | None]]) -> list[float | None]:
    length = max((len(line) for line in lines), default=0)
    found: list[float | None] = []
    for tick in range(length):
        values = [value for line in lines if tick < len(line) and (value := line[tick]) is not None]
        found.append(float(np.mean(values)) if values else None)
    return found


def _picked(line: list[float | None], ticks: list[int]) -> list[float | None]:
    return [line[tick] if tick < len(line) else None for tick in ticks]
