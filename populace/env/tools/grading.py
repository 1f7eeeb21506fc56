"""How reliably tasks are done: pass^k."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pass_hat(passed: NDArray[np.integer], tried: NDArray[np.integer], k: int) -> float:
    """pass^k: the chance that `k` tries of a task, drawn from those made, all pass; the mean over tasks.

    `passed` and `tried` count tries by task, int of shape (tasks,). Tasks tried fewer than `k` times are left out; NaN
    where all are. C(passed, k) / C(tried, k) is an unbiased estimate of p**k (Yao et al. 2024, arXiv:2406.12045).
    """
    if k < 1:
        raise ValueError(f"pass_hat(k={k}): k is at least 1")
    enough = np.asarray(tried) >= k
    right, all_tries = np.asarray(passed, float)[enough], np.asarray(tried, float)[enough]
    chance = np.ones(len(right))
    for one in range(k):
        chance *= np.maximum(right - one, 0.0) / (all_tries - one)
    return float(chance.mean()) if len(chance) else float("nan")
