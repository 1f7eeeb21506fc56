"""Lines through what was measured, and what they say of a larger run. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import ArrayLike

_BOOTSTRAPS: Final = 2000


class Fit(msgspec.Struct, frozen=True):
    """y = `fixed` + `each` x, by least squares of relative errors; intervals of 95 % by the bootstrap over points.

    Relative, since what is noisy about a time is about a share of it. `points` are how many there were; of fewer than
    four, at fewer than three different x, the intervals are the estimates, since nothing is left to judge by: `judged`
    is false.
    """

    fixed: float
    each: float
    fixed_interval: tuple[float, float]
    each_interval: tuple[float, float]
    points: int
    judged: bool = True

    def at(self, x: float) -> float:
        """The line at x."""
        return self.fixed + self.each * x


def fit_line(x: ArrayLike, y: ArrayLike, seed: int = 0) -> Fit:
    """The line through points (x, y), y above 0, none of its parts below 0. Needs two different x, else ValueError."""
    xs, ys = np.asarray(x, float), np.asarray(y, float)
    if np.unique(xs).size < 2:
        raise ValueError("a line needs two different sizes at least")
    best = _line(xs, ys)
    if np.unique(xs).size < 3 and xs.size < 4:
        return Fit(*best, (best[0], best[0]), (best[1], best[1]), xs.size, judged=False)
    draw = np.random.Generator(np.random.PCG64(seed))
    drawn: list[tuple[float, float]] = []
    while len(drawn) < _BOOTSTRAPS:
        chosen = draw.integers(0, xs.size, xs.size)
        if np.unique(xs[chosen]).size > 1:
            drawn.append(_line(xs[chosen], ys[chosen]))
    low, high = np.quantile(np.array(drawn), [0.025, 0.975], axis=0)
    return Fit(*best, (float(low[0]), float(high[0])), (float(low[1]), float(high[1])), xs.size)


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Least squares of (y - line) / y over lines that neither begin nor fall below 0."""
    weights = 1.0 / y
    design = np.column_stack([weights, x * weights])
    (fixed, each), *_ = np.linalg.lstsq(design, np.ones_like(y), rcond=None)
    if fixed < 0:
        slope = x * weights
        return 0.0, float(slope.sum() / (slope @ slope))
    if each < 0:
        return float(weights.sum() / (weights @ weights)), 0.0
    return float(fixed), float(each)


class Projection(msgspec.Struct, frozen=True):
    """What a larger run would come to, by what was measured and what is assumed.

    `tick_s` is the largest of what cores, model and coordinator need; `bound_by` says which it is. Costs are US dollars
    for `ticks`.
    """

    agents: int
    cores: int
    ticks: int
    asks_per_s: float
    tick_s: float
    run_s: float
    bound_by: str
    engine_s: float
    model_s: float
    coordinator_s: float
    memory_bytes: float
    cores_usd: float
    model_usd: float


def project(
    cpu_s: Fit,
    bytes_: Fit,
    *,
    agents: int,
    cores: int,
    ticks: int,
    asks_an_agent: float,
    asks_per_s: float,
    coordinator_s: float,
    usd_per_core_hour: float = 0.0,
    usd_per_model_hour: float = 0.0,
    cores_in_use: float = 1.0,
) -> Projection:
    """A run of so many agents on so many cores, with a model that answers so many asks a second.

    `cpu_s` and `bytes_` are fits over agents of processor seconds a tick and of memory. Assumed is that the work
    spreads over the cores but for a share (`cores_in_use` of 1 is all of them), that a tick is as those measured, and
    that calls are always enough to keep the model busy.
    """
    engine_s = cpu_s.at(agents) / (cores * cores_in_use)
    model_s = asks_an_agent * agents / asks_per_s if asks_per_s else 0.0
    bounds = {"cores": engine_s, "the model": model_s, "the coordinator": coordinator_s}
    bound_by = max(bounds, key=lambda name: bounds[name])
    run_s = bounds[bound_by] * ticks
    return Projection(
        agents=agents,
        cores=cores,
        ticks=ticks,
        asks_per_s=asks_per_s,
        tick_s=bounds[bound_by],
        run_s=run_s,
        bound_by=bound_by,
        engine_s=engine_s,
        model_s=model_s,
        coordinator_s=coordinator_s,
        memory_bytes=bytes_.at(agents),
        cores_usd=run_s / 3600 * cores * usd_per_core_hour,
        model_usd=run_s / 3600 * usd_per_model_hour,
    )


def coordinator_at(shards: int, measured_s: Sequence[tuple[int, float]]) -> float:
    """Seconds a tick at so many shards, straight between the shards measured and beyond the last in proportion."""
    known = sorted(measured_s)
    last, last_s = known[-1]
    if shards > last:
        return last_s * shards / last
    return float(np.interp(shards, [of for of, _ in known], [taken for _, taken in known]))
