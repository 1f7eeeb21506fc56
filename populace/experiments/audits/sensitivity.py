"""How much of an outcome goes by which parameters: Morris' elementary effects and Sobol's indices, by SALib.

Morris (1991), Technometrics 33, 161-174, with the mean of absolute effects of Campolongo, Cariboni and Saltelli (2007);
Sobol' (2001) with the total index of Saltelli et al. (2010). The parameters vary independently and uniformly.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.experiments.inference.libraries import library

Floats = NDArray[np.float64]
Ranges = Mapping[str, tuple[float, float]]
LEVELS = 4
"""Of the grid on which Morris' trajectories go."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What one parameter does to an outcome. Half-widths of 95 % bootstrap intervals end in `_error`.

    By Sobol: `first`, the share of the outcome's variance that goes by it alone, and `total`, with all interactions
    that it has a part in. By Morris: `effect`, the mean of its absolute elementary effects over its whole range, in the
    unit of the outcome, and `spread`, their standard deviation: large beside `effect` where it interacts or bends.
    """

    parameter: str
    low: float
    high: float
    first: float | None = None
    first_error: float | None = None
    total: float | None = None
    total_error: float | None = None
    effect: float | None = None
    effect_error: float | None = None
    spread: float | None = None


class Sensitivity(msgspec.Struct, frozen=True, kw_only=True):
    """Of all parameters; `points` is how many the outcome was worked out at, `variance` that of the outcome there."""

    method: Literal["sobol", "morris"]
    outcome: str
    points: int
    variance: float
    shares: list[Share]

    def of(self, parameter: str) -> Share:
        """What one parameter does."""
        return next(one for one in self.shares if one.parameter == parameter)


def sensitivity(
    evaluate: Callable[[dict[str, float]], float],
    ranges: Ranges,
    *,
    method: Literal["sobol", "morris"] = "sobol",
    samples: int = 64,
    seed: int = 0,
    outcome: str = "outcome",
    prepare: Callable[[list[dict[str, float]]], None] | None = None,
) -> Sensitivity:
    """The sensitivity of `evaluate(parameters)` to parameters within their ranges (low, high).

    Sobol takes `samples` * (parameters + 2) points, and `samples` is a power of 2; Morris `samples` trajectories of
    (parameters + 1) points. `prepare` is called with all points before the first is worked out. Raises ScenarioError
    for ranges that are none and for an outcome that is not finite.
    """
    check_ranges(ranges)
    if method == "sobol" and samples & (samples - 1):
        raise ScenarioError(f"samples={samples}: Sobol's sequence is balanced for powers of 2 only: 64, 128, ...")
    names = list(ranges)
    problem = {"num_vars": len(names), "names": names, "bounds": [list(map(float, ranges[name])) for name in names]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SALib uses what pandas and NumPy have deprecated
        draw = library(f"SALib.sample.{method}").sample
        how = {"calc_second_order": False} if method == "sobol" else {"num_levels": LEVELS}
        points: Floats = np.asarray(draw(problem, samples, seed=seed, **how), np.float64)
        if prepare is not None:
            prepare([dict(zip(names, point.tolist(), strict=True)) for point in points])
        values = evaluated(evaluate, names, points)
        found = _analysed(problem, method, points, values, seed)
    return Sensitivity(
        method=method, outcome=outcome, points=len(points), variance=float(values.var()),
        shares=[
            Share(parameter=name, low=float(ranges[name][0]), high=float(ranges[name][1]),
                  **{key: float(column[at]) for key, column in found.items()})
            for at, name in enumerate(names)
        ],
    )  # fmt: skip


def check_ranges(ranges: Ranges) -> None:
    """Raise ScenarioError for no range, and for one that is empty."""
    if not ranges:
        raise ScenarioError("say which parameters vary, and from where to where: openness=0.1:0.9")
    for name, (low, high) in ranges.items():
        if not low < high:
            raise ScenarioError(f"{name}={low:g}:{high:g}: the lower end comes first")


def evaluated(evaluate: Callable[[dict[str, float]], float], names: list[str], points: Floats) -> Floats:
    """The outcome at each point. Raises ScenarioError, with the point, where it is not finite."""
    values = np.zeros(len(points))
    for at, point in enumerate(points):
        given = dict(zip(names, point.tolist(), strict=True))
        values[at] = evaluate(given)
        if not np.isfinite(values[at]):
            raise ScenarioError(f"the outcome at {given} is {values[at]}: its sensitivity cannot be told")
    return values


def _analysed(problem: dict[str, Any], method: str, points: Floats, values: Floats, seed: int) -> dict[str, Floats]:
    if not values.var():
        none = np.zeros(len(problem["names"]))
        keys = ("first", "total") if method == "sobol" else ("effect", "spread")
        return dict.fromkeys((*keys, *(f"{key}_error" for key in keys if key != "spread")), none)
    analyse = library(f"SALib.analyze.{method}").analyze
    if method == "sobol":
        made = analyse(problem, values, calc_second_order=False, seed=seed)
        return {
            "first": made["S1"],
            "first_error": made["S1_conf"],
            "total": made["ST"],
            "total_error": made["ST_conf"],
        }
    made = analyse(problem, points, values, num_levels=LEVELS, seed=seed)
    return {"effect": made["mu_star"], "effect_error": made["mu_star_conf"], "spread": made["sigma"]}
