"""Randomisation tests of paired differences: under no effect each difference could as well have had the other sign.

Fisher (1935), The Design of Experiments, section 21; Phipson and Smyth (2010), Permutation p-values should never be
zero, Statistical Applications in Genetics and Molecular Biology 9, 39.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from populace.experiments.inference.arrays import Floats, one_each

EXACT_UP_TO: Final = 20
"""Differences that are not zero up to which all patterns of signs are gone through: 2^19 by symmetry."""
PATTERNS: Final = 20_000
"""Patterns of signs that are drawn where there are too many for all."""


def sign_flip_p(differences: Any, seed: int = 0) -> float:
    """The two-sided p-value of no effect: the share of patterns of signs whose sum is as far from 0 as the one found.

    Exact up to 20 differences that are not zero, else from 20,000 patterns drawn, the one found among them. Zeros have
    no sign and change nothing; of nothing but zeros it is 1.
    """
    values = one_each(differences, "differences")
    values = values[values != 0.0]
    if not len(values):
        return 1.0
    found = abs(values.sum())
    sums = _all_sums(values) if len(values) <= EXACT_UP_TO else _drawn_sums(values, seed)
    near = found - 1e-12 * np.abs(values).sum()
    extreme = int((np.abs(sums) >= near).sum())
    return extreme / len(sums) if len(values) <= EXACT_UP_TO else (extreme + 1) / (len(sums) + 1)


def _all_sums(values: Floats) -> Floats:
    sums: Floats = values[:1]
    for value in values[1:]:
        sums = np.concatenate((sums + value, sums - value))
    return sums


def _drawn_sums(values: Floats, seed: int) -> Floats:
    random = np.random.Generator(np.random.Philox(seed))
    signs = random.integers(0, 2, size=(PATTERNS, len(values))).astype(np.float64) * 2.0 - 1.0
    sums: Floats = signs @ values
    return sums
