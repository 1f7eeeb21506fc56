"""What the parts of a mind check their numbers by."""

from __future__ import annotations

import math


def within(what: str, value: float, low: float, high: float) -> float:
    """The value as a float. Raises ValueError, naming it, where it is not from `low` to `high`."""
    if not low <= value <= high:
        raise ValueError(f"{what}={value!r} has to be from {low:g} to {high:g}")
    return float(value)


def clip(value: float, low: float, high: float) -> float:
    """The nearest value from `low` to `high`."""
    return low if value < low else min(value, high)


def finite(what: str, value: float) -> float:
    """The value as a float. Raises ValueError, naming it, where it is no finite number."""
    if not math.isfinite(value):
        raise ValueError(f"{what}={value!r} has to be a finite number")
    return float(value)
