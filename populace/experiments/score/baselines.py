"""What a simulation has to beat: the marginal answer, and a regression on the columns that agents are told. Pure.

Both learn from other people's answers (cross-validation, or the people who were not simulated), which a simulation by a
language model does not: that it knows no answers is its claim, and being worse than a table of shares its test.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from populace.core.errors import ScenarioError
from populace.experiments.inference.arrays import Floats

FOLDS: Final = 10


def folds(people: int, seed: int = 0, many: int = FOLDS) -> list[Any]:
    """Index arrays of the people of each fold, random and of nearly equal size."""
    if people < many:
        raise ScenarioError(f"{people} people cannot be dealt into {many} folds")
    order = np.random.Generator(np.random.Philox(seed)).permutation(people)
    return [np.sort(order[at::many]) for at in range(many)]


def marginal(human: Floats, options: Floats, seed: int = 0) -> Floats:
    """For each person the answer with the least mean absolute error among people of the other folds."""
    said = np.empty_like(human)
    for fold in folds(len(human), seed):
        others = np.delete(human, fold)
        said[fold] = options[np.argmin([np.abs(others - option).mean() for option in options])]
    return said


def regression(human: Floats, columns: Floats, options: Floats, seed: int = 0) -> Floats:
    """For each person the answer that least squares on `columns` (people, columns) of the other folds comes nearest to.

    Least squares on 0 and 1 is the linear probability model: the side is chosen at one half.
    """
    table = np.column_stack((np.ones(len(human)), columns))
    said = np.empty_like(human)
    for fold in folds(len(human), seed):
        weights, *_ = np.linalg.lstsq(np.delete(table, fold, axis=0), np.delete(human, fold), rcond=None)
        predicted = table[fold] @ weights
        said[fold] = options[np.argmin(np.abs(predicted[:, None] - options), axis=1)]
    return said
