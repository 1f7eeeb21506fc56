"""Plain data: what parts give out, without sharing anything with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from populace.core.errors import ScenarioError
from populace.env.guarding import guard


def plain_column(where: str, values: Any, size: int) -> list[Any]:
    """The values as a list of plain Python data that shares nothing with the part."""
    if not hasattr(values, "__len__") or isinstance(values, str | Mapping):
        raise ScenarioError(f"{where} gives {type(values).__name__}: it has to give a list with a value for each agent")
    if len(values) != size:
        raise ScenarioError(f"{where}: {len(values)} values for {size} agents")
    if isinstance(values, np.ndarray) and values.dtype.kind in "biufU":
        return list(values.tolist())
    return list(guard(where, plain, values))


def plain(values: Any) -> Any:
    """Plain Python data that shares nothing with a part. Raises TypeError for what is none."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    return msgspec.to_builtins(values, enc_hook=_unwrap, builtin_types=(bytes,))


def _unwrap(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not plain data: give None, bool, int, float, str, bytes, list or dict")


def shown_column(where: str, values: Any, size: int) -> np.ndarray[Any, Any] | list[Any]:
    """The values as an array of int64, float64 or bool, where they are such; else as `plain_column` gives them."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf" and values.shape == (size,):
        if values.dtype.kind == "b":
            return values
        return values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
    given = plain_column(where, values, size)
    kinds = set(map(type, given))
    if given and len(kinds) == 1 and kinds <= {bool, int, float}:
        try:
            return np.array(given, np.int64 if int in kinds else None)
        except OverflowError:
            return given
    return given
