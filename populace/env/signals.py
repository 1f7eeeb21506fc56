"""What a part's signal gives, as triggers of levers take it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from populace.core.errors import ScenarioError
from populace.core.places import defined_at
from populace.env.guarding import guard

_NUMBERS: Final = "biuf"


def read_signal(name: str, method: Callable[[], Any], agents: int) -> Any:
    """One plain value (bool, int, float, str), or a read-only array with one for each of so many agents.

    Arrays are of int64, float64 or bool, or of objects that are str. Raises ScenarioError for anything else.
    """
    where = f"signal '{name}'"
    given = guard(where, method)
    if isinstance(given, np.generic):
        given = given.item()
    if isinstance(given, bool | int | float | str):
        return given
    where = f"{where} ({defined_at(method)})"
    if not isinstance(given, np.ndarray | list):
        raise ScenarioError(
            f"{where} gives a {type(given).__name__}: it has to give a number, true or false or a text, or an array "
            "with one of these for each agent"
        )
    column = np.asarray(given, object if isinstance(given, list) and any(type(v) is str for v in given) else None)
    if column.shape != (agents,):
        raise ScenarioError(
            f"{where}: an array of shape {column.shape} for {agents} agents: it has a value for each id"
        )
    if column.dtype.kind == "U" or (column.dtype.kind == "O" and all(type(one) is str for one in column)):
        column = column.astype(object)
    elif column.dtype.kind not in _NUMBERS:
        raise ScenarioError(f"{where}: an array of {column.dtype}: its values are numbers, true or false, or texts")
    column = column.view()
    column.flags.writeable = False
    return column
