"""Fields of wind, water or anything else that has a level at a time and a place."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from populace.core.errors import ScenarioError

Float = NDArray[np.float64]


class Hazard(Protocol):
    """A level over time and space: what `City(hazard=...)` takes."""

    def level(self, time_s: float, x: Float, y: Float) -> Float:
        """The level at `time_s` (seconds since the run's beginning) at points in metres, in the field's unit."""

    def times(self) -> Float:
        """Moments in seconds, sorted, at which levels between the first and the last are worth a look."""


class GridField:
    """Values on a grid in time and space, linear in between and as at the edge outside.

    `values` has the shape (times, rows along y, columns along x), `times_s`, `y_m` and `x_m` are increasing. A series
    that is the same all over the city is `GridField.series(times_s, values)`.
    """

    def __init__(self, times_s: ArrayLike, y_m: ArrayLike, x_m: ArrayLike, values: ArrayLike) -> None:
        """Raises ScenarioError for axes that do not increase, and values of another shape or not finite."""
        axes = [np.array(axis, np.float64) for axis in (times_s, y_m, x_m)]
        self._times, self._y, self._x = axes
        self._values = np.array(values, np.float64)
        for name, axis in zip(("times_s", "y_m", "x_m"), axes, strict=True):
            if axis.ndim != 1 or not len(axis) or not np.isfinite(axis).all() or (np.diff(axis) <= 0).any():
                raise ScenarioError(
                    f"GridField: {name} has to be finite numbers that increase, got {axis.tolist()[:8]}"
                )
        wanted = tuple(map(len, axes))
        if self._values.shape != wanted or not np.isfinite(self._values).all():
            raise ScenarioError(f"GridField: values have to be finite and of shape {wanted}, got {self._values.shape}")

    @classmethod
    def series(cls, times_s: ArrayLike, values: ArrayLike) -> GridField:
        """One value for the whole city at each of these times."""
        return cls(times_s, [0.0], [0.0], np.array(values, np.float64).reshape(-1, 1, 1))

    def times(self) -> Float:
        """The times that the values are given for."""
        return self._times

    def level(self, time_s: float, x: Float, y: Float) -> Float:
        """Trilinear interpolation."""
        at, part = _between(self._times, np.array([time_s], np.float64))
        first = self._values[at[0]]
        plane = first + part[0] * (self._values[min(at[0] + 1, len(self._values) - 1)] - first)
        row, down = _between(self._y, np.asarray(y, np.float64))
        column, along = _between(self._x, np.asarray(x, np.float64))
        below, right = np.minimum(row + 1, len(self._y) - 1), np.minimum(column + 1, len(self._x) - 1)
        upper = plane[row, column] * (1 - along) + plane[row, right] * along
        lower = plane[below, column] * (1 - along) + plane[below, right] * along
        found: Float = upper * (1 - down) + lower * down
        return found


class Storm:
    """The wind of a storm on a track: points in time with the centre, the highest wind and where that blows.

    Between its points (six-hourly, as a rule) all of them move linearly; before the first and after the last there is
    no wind. At the distance r from the centre it blows with

        V(r) = V_max * sqrt((R/r)**B * exp(1 - (R/r)**B)),

    the profile of Holland (1980), doi:10.1175/1520-0493(1980)108<1212:AAMOTW>2.0.CO;2, in cyclostrophic balance: V_max
    at r = R, none in the centre. The wind is the same all around: the storm's own motion is not added.
    """

    def __init__(
        self,
        times_s: ArrayLike,
        x_m: ArrayLike,
        y_m: ArrayLike,
        wind_m_s: ArrayLike,
        radius_m: ArrayLike,
        b: float = 1.5,
    ) -> None:
        """Columns of one length, a row a point; `b` is Holland's B, 1 to 2.5 for storms that were observed.

        Raises ScenarioError for times that do not increase, winds below 0 and radii that are not above 0.
        """
        given = {"times_s": times_s, "x_m": x_m, "y_m": y_m, "wind_m_s": wind_m_s, "radius_m": radius_m}
        self._track = {name: np.array(values, np.float64) for name, values in given.items()}
        size = len(self._track["times_s"])
        for name, values in self._track.items():
            if values.shape != (size,) or not size or not np.isfinite(values).all():
                raise ScenarioError(
                    f"Storm: {name} has to hold a finite number for each of the {size} points of times_s"
                )
        if (np.diff(self._track["times_s"]) <= 0).any():
            raise ScenarioError("Storm: times_s has to increase from point to point")
        if (self._track["wind_m_s"] < 0).any() or (self._track["radius_m"] <= 0).any() or not b > 0:
            raise ScenarioError("Storm: wind_m_s is 0 or more, radius_m and b are above 0")
        self.b = float(b)

    def times(self) -> Float:
        """A moment every half hour of the track, and its points."""
        own = self._track["times_s"]
        return np.unique(np.concatenate([own, np.arange(own[0], own[-1], 1800.0)]))

    def level(self, time_s: float, x: Float, y: Float) -> Float:
        """The wind in metres a second."""
        times = self._track["times_s"]
        if not times[0] <= time_s <= times[-1]:
            return np.zeros(len(x))
        now = {name: float(np.interp(time_s, times, values)) for name, values in self._track.items()}
        distance = np.maximum(np.hypot(x - now["x_m"], y - now["y_m"]), _CENTRE_M)
        ratio = (now["radius_m"] / distance) ** self.b
        found: Float = now["wind_m_s"] * np.sqrt(ratio * np.exp(1.0 - ratio))
        return found


_CENTRE_M: Final = 1.0


def _between(axis: Float, values: Float) -> tuple[NDArray[np.intp], Float]:
    """The place of the axis's point before each value, and how far it is on to the next, 0 to 1."""
    at = np.clip(np.searchsorted(axis, values, side="right") - 1, 0, max(len(axis) - 2, 0))
    step = np.diff(axis)[at] if len(axis) > 1 else np.ones(len(values))
    return at, np.clip((values - axis[at]) / step, 0.0, 1.0)
