"""Which values of parameters give a target, and what the target leaves open: Latin hypercube draws and rejection.

Approximate Bayesian computation by rejection (Beaumont, Zhang and Balding 2002, Genetics 162, 2025-2035), with uniform
draws within the ranges: what lies within the tolerance of the target is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np

from populace.core.errors import ScenarioError
from populace.experiments.audits.sensitivity import Ranges, check_ranges
from populace.experiments.inference.libraries import library

WIDE: Final = 0.5
"""A parameter whose kept values span more than this share of its range is not identified."""
TIED: Final = 0.8
"""Two parameters whose kept values have at least this rank correlation are known together only."""
FEWEST: Final = 4


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter: its value at the best draw, and the least and largest that give the target within the tolerance."""

    parameter: str
    best: float
    low: float
    high: float
    identified: bool


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `distance` is the root mean square distance of the best draw to the target, in its unit.

    `kept` of the `draws` lie within the `tolerance`; `tied` has pairs of which only a combination is known. `outcome`
    and `target` say in words what was to be what.
    """

    parameters: list[Fitted]
    distance: float
    tolerance: float
    draws: int
    kept: int
    tied: list[tuple[str, str]]
    outcome: str = ""
    target: str = ""

    def of(self, parameter: str) -> Fitted:
        """What was found of one parameter."""
        return next(one for one in self.parameters if one.parameter == parameter)

    def __str__(self) -> str:
        lines = [f"{self.outcome}, to be {self.target}:"] if self.outcome else []
        lines += [f"{self.kept} of {self.draws} draws lie within {self.tolerance:g} (the best at {self.distance:.3g})."]
        for one in self.parameters:
            said = "" if one.identified else ": not identified by this target"
            lines.append(f"{one.parameter} = {one.best:.4g}, from {one.low:.4g} to {one.high:.4g}{said}.")
        lines += [f"Of {a} and {b} only a combination is known." for a, b in self.tied]
        return "\n".join(lines)


def calibrate(
    evaluate: Callable[[dict[str, float]], Any],
    ranges: Ranges,
    target: Any,
    *,
    tolerance: float,
    draws: int = 200,
    seed: int = 0,
    prepare: Callable[[list[dict[str, float]]], None] | None = None,
) -> Calibration:
    """The parameters within `ranges` (low, high) at which `evaluate(parameters)` gives `target`, a number or a series.

    The `tolerance` is how far from the target still counts as it, in its unit: the target's own error, and what the
    seeds of the society move. `prepare` is called with all draws before the first is worked out. Raises ScenarioError
    where fewer than four draws come so near, since then nothing can be said of what is open, and for values that are
    not finite or not of the target's length.
    """
    check_ranges(ranges)
    names, wanted = list(ranges), np.atleast_1d(np.asarray(target, np.float64))
    ends = np.array([ranges[name] for name in names], np.float64)
    unit = library("scipy.stats").qmc.LatinHypercube(len(names), rng=np.random.default_rng(seed)).random(draws)
    points = ends[:, 0] + unit * (ends[:, 1] - ends[:, 0])
    if prepare is not None:
        prepare([dict(zip(names, point.tolist(), strict=True)) for point in points])
    distances = np.zeros(draws)
    for at, point in enumerate(points):
        given = dict(zip(names, point.tolist(), strict=True))
        made = np.atleast_1d(np.asarray(evaluate(given), np.float64))
        if made.shape != wanted.shape or not np.isfinite(made).all():
            raise ScenarioError(f"at {given}: {made.tolist()[:5]} is no {len(wanted)} finite numbers, as the target is")
        distances[at] = np.sqrt(np.mean((made - wanted) ** 2))
    near, best = points[distances <= tolerance], int(distances.argmin())
    if len(near) < FEWEST:
        nearest = ", ".join(f"{name} = {value:.3g}" for name, value in zip(names, points[best], strict=True))
        raise ScenarioError(
            f"{len(near)} of {draws} draws lie within {tolerance:g} of the target, {FEWEST} are needed; the nearest "
            f"is {distances[best]:.3g} off, at {nearest}. Take more draws, other ranges or a larger tolerance, or say "
            "that the society cannot give this target."
        )
    span = (near.max(axis=0) - near.min(axis=0)) / (ends[:, 1] - ends[:, 0])
    ranks = library("scipy.stats").rankdata(near, axis=0)
    tied = [
        (names[i], names[j])
        for i in range(len(names))
        for j in range(i + 1, len(names))
        if abs(np.corrcoef(ranks[:, i], ranks[:, j])[0, 1]) >= TIED
    ]
    return Calibration(
        parameters=[
            Fitted(parameter=name, best=float(points[best, at]), low=float(near[:, at].min()),
                   high=float(near[:, at].max()), identified=bool(span[at] <= WIDE))
            for at, name in enumerate(names)
        ],
        distance=float(distances[best]), tolerance=tolerance, draws=draws, kept=len(near), tied=tied,
    )  # fmt: skip
