"""What surrounds the people of a city: opening hours, levers that close and stop, the hazard, orders to leave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.city.calendar import moment
from populace.env.city.choosing import Decay, Metric
from populace.env.city.going import WAYS, Mode, check_modes
from populace.env.city.hazard import Hazard
from populace.env.city.places import Float, Int32, Places
from populace.env.city.zone import check_zone, inside
from populace.env.clock import Clock
from populace.env.part import Part

_MOST_TIMES: Final = 1e6


class Surroundings(Part):
    """Places, modes and a hazard, with all that levers may set of them. `City` is the part; see there."""

    settable: Mapping[str, Any] = {
        "closed": list[str | int], "stopped": list[str], "capacity_factor": float, "evacuation": dict[str, Any],
        "hazard_factor": float, "hazard_delay_s": float, "impassable": float, "choice": Literal["nearest", "gravity"],
        "beta": float, "show": int, "notify": bool,
    }  # fmt: skip
    choice: Literal["nearest", "gravity"]
    beta: float
    show: int
    notify: bool
    hazard_factor = 1.0
    hazard_delay_s = 0.0
    impassable = float("inf")
    capacity_factor = 1.0

    def __init__(
        self,
        places: Places,
        modes: Mapping[str, Mode],
        metric: Metric,
        detour: float,
        decay: Decay,
        nearest_m: float,
        hazard: Hazard | None,
        clock: str,
        name: str | None,
    ) -> None:
        """See `City`."""
        super().__init__(name)
        self.places = places
        where = type(self).__name__
        self.modes = check_modes(modes, where)
        if metric not in ("grid", "straight") or decay not in ("exponential", "power"):
            raise ScenarioError(
                f"{where}(metric={metric!r}, decay={decay!r}): metric is 'grid' or 'straight', decay 'exponential' or "
                "'power'"
            )
        if not 1.0 <= detour < np.inf or not 0 < nearest_m < np.inf:
            raise ScenarioError(
                f"{where}(detour={detour}, nearest_m={nearest_m}): detour is 1 or more, nearest_m above zero"
            )
        self.metric: Metric = metric
        self.decay: Decay = decay
        self.detour, self.nearest_m = float(detour), float(nearest_m)
        self.hazard = hazard
        self.tick_seconds = 0.0
        self._clock_name = clock
        self._shut = np.zeros(len(places), np.bool_)
        self._zone: NDArray[np.bool_] | None = None
        self._levels: tuple[int, Float] | None = None
        self.closed: list[str | int] = []
        self.stopped: list[str] = []
        self.evacuation: dict[str, Any] = {}

    @property
    def clock(self) -> Clock | None:
        """The world's clock; None where it has none, and days begin with tick 0, a Monday."""
        found = self.world.parts.get(self._clock_name)
        return found if isinstance(found, Clock) else None

    @property
    def law(self) -> tuple[Decay, float, float]:
        """Decay, beta and nearest distance of the gravity model."""
        return self.decay, self.beta, self.nearest_m

    def set_parameter(self, name: str, value: Any) -> None:
        """Take a value of `settable`. Raises ScenarioError for a place, mode or zone that cannot be."""
        where = f"part '{self.name}', {name}"
        above = {"beta": 0.0, "capacity_factor": -1e-300, "hazard_factor": -np.inf, "hazard_delay_s": -np.inf}
        if name in above and not above[name] < value < np.inf:
            raise ScenarioError(f"{where} = {value}: has to be finite{', and above zero' if name == 'beta' else ''}")
        if name == "capacity_factor" and value > _MOST_TIMES:
            raise ScenarioError(f"{where} = {value}: is at most {_MOST_TIMES:g} times the seats that places have")
        if name == "closed":
            self._shut = self._places_named(value, where)
        elif name == "evacuation":
            value = check_zone(value, where)
            if "level" in value and self.hazard is None:
                raise ScenarioError(f"{where}: a zone by level needs a hazard: City(..., hazard=Storm(...))")
        elif name == "stopped":
            for mode in value:
                self._known_mode(mode)
        elif name == "choice" and value not in WAYS:
            raise ScenarioError(f"{where} = {value!r}: is one of {', '.join(WAYS)}")
        elif name == "show" and value < 1:
            raise ScenarioError(f"{where} = {value}: is 1 or more")
        setattr(self, name, value)
        self._zone = self._levels = None

    def _known_mode(self, mode: str) -> None:
        if mode not in self.modes:
            raise ScenarioError(
                f"part '{self.name}', stopped: there is no mode {mode!r}; modes: {', '.join(self.modes)}"
            )

    def _places_named(self, named: Iterable[str | int], where: str) -> NDArray[np.bool_]:
        shut = np.zeros(len(self.places), np.bool_)
        for one in named:
            if isinstance(one, str) and one in self.places.kinds:
                shut |= self.places.kind == self.places.code_of(one)
            elif isinstance(one, str) and one in self.places.by_name:
                shut[self.places.by_name[one]] = True
            elif isinstance(one, int) and 0 <= one < len(shut):
                shut[one] = True
            else:
                raise ScenarioError(
                    f"{where}: there is no kind, name or id {one!r}; kinds are {', '.join(self.places.kinds)}, "
                    f"ids go to {len(shut) - 1}"
                )
        return shut

    def open_at(self, places: Int32, ticks: NDArray[np.integer] | int) -> NDArray[np.bool_]:
        """Which of these places are open at some moment of a tick, one for all or one each."""
        hours, shut = self.places.hours[places], self._shut[places]
        if np.ndim(ticks) == 0:
            return np.asarray(self._patterns(int(ticks))[hours] & ~shut)
        at, which = np.unique(ticks, return_inverse=True)
        if not len(at):
            return np.zeros(0, np.bool_)
        table = np.array([self._patterns(tick) for tick in at.tolist()])
        return np.asarray(table[which.reshape(-1), hours] & ~shut)

    def _patterns(self, tick: int) -> NDArray[np.bool_]:
        _, second, weekday = moment(self.clock, tick, self.tick_seconds)
        return self.places.open_patterns(second, self.tick_seconds, weekday)

    def day(self, tick: int) -> int:
        """Days since the first, from 0, at the start of a tick."""
        return moment(self.clock, tick, self.tick_seconds)[0]

    def hazard_at(self, tick: int, x: Float, y: Float) -> Float:
        """The level at points at the start of a tick: `hazard_factor` times the field's, `hazard_delay_s` later."""
        if self.hazard is None:
            return np.zeros(len(x))
        return self.hazard_factor * self.hazard.level(tick * self.tick_seconds - self.hazard_delay_s, x, y)

    def hazard_of_places(self, tick: int) -> Float:
        """The level at each place at the start of a tick."""
        if self._levels is None or self._levels[0] != tick:
            self._levels = tick, self.hazard_at(tick, self.places.x, self.places.y)
        return self._levels[1]

    def peak(self, tick: int, hours: float, x: Float, y: Float) -> Float:
        """The highest level at points within so many hours from the start of a tick on."""
        found = self.hazard_at(tick, x, y)
        if self.hazard is not None:
            begin = tick * self.tick_seconds - self.hazard_delay_s
            times = self.hazard.times()
            for time in times[(times > begin) & (times <= begin + 3600.0 * hours)].tolist():
                np.maximum(found, self.hazard_factor * self.hazard.level(time, x, y), out=found)
        return found

    def ordered(self, places: Int32) -> NDArray[np.bool_]:
        """Which of these places are under an evacuation order.

        A zone by level is where the hazard comes to it at any time, past or to come.
        """
        if not self.evacuation:
            return np.zeros(len(places), np.bool_)
        if self._zone is None:
            x, y = self.places.x, self.places.y
            if "level" in self.evacuation:
                assert self.hazard is not None
                peak = np.full(len(x), -np.inf)
                for time in self.hazard.times().tolist():
                    np.maximum(peak, self.hazard_factor * self.hazard.level(time, x, y), out=peak)
                self._zone = peak >= self.evacuation["level"]
            else:
                self._zone = inside(self.evacuation, x, y)
        found: NDArray[np.bool_] = self._zone[places] & (places >= 0)
        return found
