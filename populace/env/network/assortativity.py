"""How alike the two ends of edges are (Newman 2003, doi:10.1103/PhysRevE.67.026126)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from populace.core.errors import ScenarioError
from populace.env.network.csr import Csr


def assortativity(edges: Csr, values: ArrayLike) -> float:
    """From -1 (ends differ) over 0 (ends are as at random) to 1 (ends are the same); edges count alike.

    For numbers it is the correlation over edges of the value at the source with that at the target (equation 21);
    for text and booleans it compares the share of edges within a category to that at random (equation 2). It is
    nan where there are no edges, or where one end never varies. Raises ScenarioError for anything but one value an
    agent.
    """
    column = np.asarray(values)
    if column.shape != (edges.size,):
        raise ScenarioError(f"assortativity: values of the shape {column.shape} for {edges.size} agents")
    if not len(edges.targets):
        return float("nan")
    if column.dtype.kind in "iuf":
        return _of_numbers(column[edges.sources()].astype(np.float64), column[edges.targets].astype(np.float64))
    if column.dtype.kind in "bUT" or all(isinstance(value, str) for value in column):
        codes = np.unique(column.astype(np.str_), return_inverse=True)[1]
        return _of_categories(codes[edges.sources()], codes[edges.targets])
    raise ScenarioError(f"assortativity: values are numbers, booleans or text, not {column.dtype}")


def _of_numbers(source: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    source, target = source - source.mean(), target - target.mean()
    spread = float(np.sqrt((source**2).mean() * (target**2).mean()))
    return float((source * target).mean()) / spread if spread > 0 else float("nan")


def _of_categories(source: NDArray[np.int64], target: NDArray[np.int64]) -> float:
    kinds = int(max(source.max(), target.max())) + 1
    shares = np.bincount(source, minlength=kinds) / len(source), np.bincount(target, minlength=kinds) / len(target)
    within, at_random = float((source == target).mean()), float((shares[0] * shares[1]).sum())
    return (within - at_random) / (1 - at_random) if at_random < 1 else float("nan")
