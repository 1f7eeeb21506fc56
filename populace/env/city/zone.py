"""Zones of an evacuation order: a circle, a polygon, or wherever a hazard comes to a level."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError

_FORMS: Final = (
    "{x=..., y=..., radius_m=...}, {polygon=[[x, y], ...]} with three corners or more, {level=...}, or {} for no order"
)


def check_zone(value: dict[str, Any], where: str) -> dict[str, Any]:
    """The order with its numbers as floats. Raises ScenarioError for what is none of the forms."""
    try:
        match value:
            case {} if not value:
                return {}
            case {"x": x, "y": y, "radius_m": radius, **rest} if not rest:
                numbers = [_number(one) for one in (x, y, radius)]
                if numbers[2] > 0:
                    return dict(zip(("x", "y", "radius_m"), numbers, strict=True))
            case {"polygon": list() | tuple() as corners, **rest} if not rest and len(corners) >= 3:
                return {"polygon": [[_number(x), _number(y)] for x, y in corners]}
            case {"level": level, **rest} if not rest:
                return {"level": _number(level)}
    except (TypeError, ValueError):
        pass
    raise ScenarioError(f"{where}: an evacuation order is {_FORMS}, not {value!r}")


def inside(zone: dict[str, Any], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points lie in a circle or polygon; what lies on its edge may be either.

    A point is inside where a ray from it crosses the polygon's edges an odd number of times.
    """
    if "radius_m" in zone:
        found: NDArray[np.bool_] = np.hypot(x - zone["x"], y - zone["y"]) <= zone["radius_m"]
        return found
    corners = np.array(zone["polygon"], np.float64)
    odd = np.zeros(len(x), np.bool_)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 != y1:
            odd ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return odd


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise TypeError
    return float(value)
