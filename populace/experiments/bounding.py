"""What effects lie between where arms fail differently: bounds from agents' own values. Shell: reads tables.

Bounds need a value an agent, and who has none. An outcome that is the score of an instrument has both. So has one that
is the mean over agents of a public field: an agent whose last ask until then abstained stands where it stood before,
and its value counts as missing. Of other outcomes nothing is known by agent, and no bounds can be had.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from populace.core.errors import ScenarioError, SettingsError
from populace.experiments.design import DesignedOutcome, DesignedScale, folder_of
from populace.experiments.inference.bounds import Bounds, lee, worst_case
from populace.experiments.values import Floats, agents_scores, series_of
from populace.store.folder import read_run_file
from populace.store.tables.tables import panel, public_fields, read_table

if TYPE_CHECKING:
    from populace.experiments.results import Results

Range = tuple[float, float] | None


@dataclass(frozen=True)
class Bounded:
    """The bounds of one arm's effect on one outcome. `of` is the field or the scale whose agents' values they are from.

    `worst` is None where the outcome has no range that is known beforehand. Where there are none at all `why` says so.
    """

    arm: str
    outcome: str
    of: str = ""
    worst: Bounds | None = None
    trimmed: Bounds | None = None
    why: str = ""


def bounds_of(results: Results, arms: list[str], level: float = 0.95) -> tuple[Bounded, ...]:
    """The bounds of these arms' effects on every outcome."""
    return tuple(_bounded(results, arm, outcome, level) for arm in arms for outcome in results.design.outcomes)


def _bounded(results: Results, arm: str, outcome: DesignedOutcome, level: float) -> Bounded:
    design = results.design
    if outcome.read == "mean" and outcome.at is None:
        return Bounded(arm, outcome.name, why="it is a mean over ticks, and bounds are of one tick")
    tick = design.ticks if outcome.at is None else outcome.at
    runs = {
        name: [results.folder / folder_of(design.arm(name), one) for one in results.complete]
        for name in (arm, design.control)
    }
    try:
        of, limits = _source([*runs[arm], *runs[design.control]], outcome, tick)
        if not of:
            return Bounded(
                arm, outcome.name, why="it is no mean over agents of a public field, so it has no missing ones"
            )
        treated, control = (_stacked([_values(run, outcome, of, tick) for run in runs[name]]) for name in runs)
        worst = None if limits is None else worst_case(treated, control, *limits, level)
        return Bounded(arm, outcome.name, of, worst, lee(treated, control, level))
    except (ScenarioError, SettingsError) as error:
        return Bounded(arm, outcome.name, why=str(error))


def _source(runs: list[Path], outcome: DesignedOutcome, tick: int) -> tuple[str, Range]:
    """The scale, or the field of which the outcome is the mean over agents in every run, and its range."""
    if outcome.scale is not None:
        return outcome.name, range_of(outcome.scale)
    means = [float(series_of(run, outcome)[tick]) for run in runs]
    for field in public_fields(read_table(runs[0], "agents").column_names):
        columns = [panel(run, field)[tick] for run in runs]
        if columns[0].dtype.kind not in "biuf":
            continue
        if np.allclose([float(np.mean(one.astype(np.float64))) for one in columns], means, rtol=1e-9, atol=1e-12):
            return field, (0.0, 1.0) if columns[0].dtype.kind == "b" else None
    return "", None


def _values(run: Path, outcome: DesignedOutcome, of: str, tick: int) -> Floats:
    """An agent's value at the tick, (agents,): NaN for one who has none, or whose last ask before it abstained."""
    if outcome.scale is not None:
        return agents_scores(run, outcome, tick)
    values: Floats = panel(run, of)[tick].astype(np.float64)
    if not read_run_file(run).read_settings().record.asks:
        raise SettingsError("the runs keep no table of asks (record.asks), so who abstained is not known")
    table = read_table(run, "asks").select(["tick", "agent", "nth", "settled"]).to_pydict()
    last: dict[int, bool] = {}
    for when, agent, settled in zip(table["tick"], table["agent"], table["settled"], strict=True):
        if when < tick and 0 <= agent < len(values):
            last[agent] = settled == "abstained"
    values[[agent for agent, failed in last.items() if failed]] = np.nan
    return values


def _stacked(rows: list[Floats]) -> Floats:
    if len({len(one) for one in rows}) > 1:
        raise SettingsError("runs do not have the same agents, so their values make no table")
    return np.array(rows)


def range_of(scale: DesignedScale) -> tuple[float, float]:
    """The least and the largest score that a scale can have."""
    recode = dict(scale.recode)
    lows, highs = [], []
    for name in scale.key:
        low, high = scale.items[name]
        ends = [recode.get(one, one) for one in (low, high)] + [to for at, to in recode.items() if low <= at <= high]
        lows.append(min(ends))
        highs.append(max(ends))
    size = 1 if scale.how == "sum" else len(lows)
    return sum(lows) / size, sum(highs) / size
