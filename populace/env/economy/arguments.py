"""Arguments of acts as arrays, whether agents gave them one by one or in columns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace.env.part import Batch

Bad = NDArray[np.bool_]


def whole(batch: Batch, name: str, low: int, high: int) -> tuple[NDArray[np.int64], Bad]:
    """A whole number from `low` to `high` of each act, and where it is none: int64 (0 there) and a mask."""
    column = _column(batch, name, "iu")
    if column is not None:
        bad = (column < low) | (column > high)
        return np.where(bad, 0, column).astype(np.int64), bad
    given = [args.get(name) for args in batch.args]
    bad = np.array([type(one) is not int or not low <= one <= high for one in given], np.bool_)
    return np.array([0 if no else one for one, no in zip(given, bad.tolist(), strict=True)], np.int64), bad


def number(batch: Batch, name: str, low: float, high: float) -> tuple[NDArray[np.float64], Bad]:
    """A number from `low` to `high` of each act, and where it is none: float64 (0 there) and a mask."""
    column = _column(batch, name, "iuf")
    if column is not None:
        bad = ~((column >= low) & (column <= high))
        return np.where(bad, 0, column).astype(np.float64), bad
    given: list[Any] = [args.get(name) for args in batch.args]
    bad = np.array([not _is_number(one) or not low <= one <= high for one in given], np.bool_)
    return np.array([0.0 if no else float(one) for one, no in zip(given, bad.tolist(), strict=True)]), bad


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _column(batch: Batch, name: str, kinds: str) -> NDArray[Any] | None:
    column = batch.alike(name)
    return column if column is not None and column.dtype.kind in kinds and column.shape == (len(batch),) else None
