"""Effects where agents are randomised within a run: agents of one run share its course, so runs are the clusters.

Liang and Zeger (1986), Biometrika 73, 13-22, by statsmodels, with a t of as many degrees of freedom as there are runs
less one (Cameron and Miller 2015, Journal of Human Resources 50, 317-372).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from populace.core.errors import ScenarioError
from populace.experiments.inference.arrays import chance
from populace.experiments.inference.intervals import Interval
from populace.experiments.inference.libraries import library


@dataclass(frozen=True)
class ClusteredEffect:
    """The difference of treated and other agents of the same runs, in the outcome's unit.

    `spillover` is not in it: where the treated reach the others (mail, markets, feeds), the others are no control, and
    `difference` is what treatment does beside them. `naive` is the interval that takes agents for independent.
    """

    difference: float
    interval: Interval
    naive: Interval
    p: float
    agents: int
    runs: int


def within_runs(outcome: Any, treated: Any, run: Any, level: float = 0.95) -> ClusteredEffect:
    """The effect of a treatment dealt to agents within runs: arrays (agents of all runs,), `treated` 0 or 1.

    Runs have levels of their own (fixed effects), and standard errors are clustered by run. Raises ScenarioError for
    fewer than two runs, and where no run has agents of both kinds.
    """
    values = np.asarray(outcome, dtype=np.float64)
    dealt = np.asarray(treated, dtype=np.float64)
    _, runs = np.unique(np.asarray(run), return_inverse=True)
    chance(level, "level")
    if not values.shape == dealt.shape == runs.shape or values.ndim != 1 or not np.isfinite(values).all():
        raise ScenarioError("outcome, treated and run are of one length, (agents of all runs,), and finite")
    if not np.isin(dealt, (0.0, 1.0)).all():
        raise ScenarioError("treated is 0 or 1 for each agent")
    many = int(runs.max()) + 1
    if many < 2:
        raise ScenarioError("one run only: agents of one run share its course, so two runs or more are needed")
    sizes = np.bincount(runs)
    within = [column - (np.bincount(runs, column) / sizes)[runs] for column in (values, dealt)]
    if not within[1].any():
        raise ScenarioError("no run has both treated and other agents: compare arms, paired by replicate")
    api = library("statsmodels.api")
    fitted = api.OLS(within[0], within[1][:, None]).fit(
        cov_type="cluster", cov_kwds={"groups": runs, "use_correction": True}, use_t=True
    )
    low, high = fitted.conf_int(1.0 - level)[0]
    plain = api.OLS(within[0], within[1][:, None]).fit()
    apart = plain.conf_int(1.0 - level)[0]
    return ClusteredEffect(
        difference=float(fitted.params[0]),
        interval=Interval(float(low), float(high), level, "clustered by run"),
        naive=Interval(float(apart[0]), float(apart[1]), level, "agents taken for independent"),
        p=float(fitted.pvalues[0]),
        agents=len(values),
        runs=many,
    )
