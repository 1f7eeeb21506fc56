"""p-values of several tests at once, by Holm (1979), Scandinavian Journal of Statistics 6, 65-70."""

from __future__ import annotations

from typing import Any

import numpy as np

from populace.core.errors import ScenarioError
from populace.experiments.inference.arrays import Floats


def holm(p_values: Any) -> Floats:
    """Adjusted p-values of tests along the last axis: the chance of any false rejection at `p <= a` is at most `a`.

    Raises ScenarioError for what is no p-value.
    """
    given = np.asarray(p_values, dtype=np.float64)
    if not given.size:
        return given
    if not ((given >= 0.0) & (given <= 1.0)).all():
        raise ScenarioError(f"p-values lie between 0 and 1: {given.ravel().tolist()[:5]}")
    order = np.argsort(given, axis=-1, kind="stable")
    tests = given.shape[-1]
    raised = np.take_along_axis(given, order, axis=-1) * np.arange(tests, 0, -1)
    raised = np.minimum(np.maximum.accumulate(raised, axis=-1), 1.0)
    adjusted = np.empty_like(raised)
    np.put_along_axis(adjusted, order, raised, axis=-1)
    return adjusted
