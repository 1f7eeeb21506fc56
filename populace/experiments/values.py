"""The outcomes of a run as arrays. Shell: reads tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import SettingsError
from populace.experiments.design import DesignedOutcome
from populace.store.tables.tables import outcome_series, panel

Floats = NDArray[np.float64]


def series_of(run: Path, outcome: DesignedOutcome) -> Floats:
    """An outcome by tick: float64 of (ticks + 1,), as the world was before each tick and at the end.

    Raises SettingsError where the run has no such outcome.
    """
    if outcome.scale is not None:
        return scores_of(run, outcome)
    series = outcome_series(run)
    if outcome.name not in series:
        raise SettingsError(f"{run}: has no outcome {outcome.name!r}; it has {', '.join(series)}")
    return np.asarray(series[outcome.name], np.float64)


def scores_of(run: Path, outcome: DesignedOutcome) -> Floats:
    """The mean over agents of their score on an instrument, by tick: NaN where nobody has one."""
    assert outcome.scale is not None
    instrument = outcome.scale.made(outcome.name)
    columns = {name: panel(run, name) for name in instrument.item_names}
    ticks = min(len(column) for column in columns.values())
    found = np.full(ticks, np.nan)
    for tick in range(ticks):
        answers = {name: np.asarray(column[tick], np.float64) for name, column in columns.items()}
        scores = instrument.score(answers)[outcome.name]
        if not np.isnan(scores).all():
            found[tick] = np.nanmean(scores)
    return found


def agents_scores(run: Path, outcome: DesignedOutcome, tick: int) -> Floats:
    """Each agent's score on an instrument at a tick, (agents,): NaN for who has none."""
    assert outcome.scale is not None
    instrument = outcome.scale.made(outcome.name)
    answers = {name: np.asarray(panel(run, name)[tick], np.float64) for name in instrument.item_names}
    return np.asarray(instrument.score(answers)[outcome.name], np.float64)


def value_of(series: Floats, outcome: DesignedOutcome, treated_at: int) -> float:
    """The one number of a series that is compared: at a tick, at the end, or the mean from the treatment on."""
    if outcome.at is not None:
        return float(series[outcome.at])
    if outcome.read == "mean":
        return float(np.mean(series[treated_at + 1 :]))
    return float(series[-1])
