"""Sizes that parts are made with: whole numbers, said in one way where they are none."""

from __future__ import annotations

from typing import Any

import numpy as np

from populace.core.errors import ScenarioError


def check_whole(where: str, least: int, /, **given: Any) -> None:
    """Raise ScenarioError, beginning with `where` and naming it, for what is no whole number of at least `least`.

    A float is none, NaN and 1e6 among them: it would size a table, and fail at a tick in the middle of a run.
    """
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            whole = isinstance(value, float) and value.is_integer() and value >= least
            meant = f": write {int(value)}" if whole else ""
            raise ScenarioError(f"{where}({name}={value!r}): is a whole number, at least {least}{meant}")
