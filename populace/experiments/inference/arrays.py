"""What inference takes: arrays whose first axis is the replicate, paired between arms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError

Floats = NDArray[np.float64]
Summary = Literal["last", "mean"] | int
"""What stands for a replicate's trajectory: its last tick, the mean over its ticks, or the tick of that number."""

LEAST: Final = 2
"""Replicates without which nothing can be said of how much they differ."""

_ROUNDING: Final = 1e-12
"""Values that are apart by no more than this share of the largest are one value: what is left is rounding."""

_BY: Final[dict[str, Callable[[Floats], Floats]]] = {
    "last": lambda values: values[:, -1],
    "mean": lambda values: values.mean(axis=1),
}


def all_equal(values: Floats) -> bool:
    """Whether values are one value, but for rounding."""
    return bool(np.ptp(values) <= _ROUNDING * np.abs(values).max())


def one_each(values: Any, what: str = "values", summary: Summary = "last") -> Floats:
    """One finite float64 a replicate, shape (replicates,), of an array (replicates,) or (replicates, ticks).

    Raises ScenarioError for fewer than two replicates and for a replicate without a value, which it names.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim == 2 and table.shape[1]:
        if isinstance(summary, int):
            if not -table.shape[1] <= summary < table.shape[1]:
                raise ScenarioError(f"{what}: there is no tick {summary} of {table.shape[1]}")
            table = table[:, summary]
        else:
            table = _BY[summary](table)
    if table.ndim != 1 or len(table) < LEAST:
        raise ScenarioError(f"{what}: of shape {table.shape}; it takes two replicates or more, (replicates[, ticks])")
    _finite(table[:, None], what)
    return table


def trajectories(values: Any, what: str = "values") -> Floats:
    """Float64 of shape (replicates, ticks), all finite. Raises ScenarioError as `one_each` does."""
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or len(table) < LEAST or not table.shape[1]:
        raise ScenarioError(f"{what}: of shape {table.shape}; it takes (replicates, ticks), two replicates or more")
    _finite(table, what)
    return table


def same_shape(treated: Floats, control: Floats, what: str = "arms") -> None:
    """Raise ScenarioError unless both arms have the same shape, as pairs do."""
    if treated.shape != control.shape:
        raise ScenarioError(
            f"{what}: {treated.shape} and {control.shape}: arms are paired by replicate, so each needs as many"
        )


def chance(value: float, what: str) -> float:
    """`value` if it lies between 0 and 1. Raises ScenarioError otherwise."""
    if not 0.0 < value < 1.0:
        raise ScenarioError(f"{what}={value!r}: it lies between 0 and 1, such as 0.95")
    return value


def _finite(table: Floats, what: str) -> None:
    bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if len(bad):
        raise ScenarioError(
            f"{what}: replicate {bad[0]} has no finite value ({len(bad)} of {len(table)}). A run that failed is not "
            "left out unseen: run it again, or leave its whole pair out and say so"
        )
