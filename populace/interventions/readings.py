"""What triggers read of the world: public fields, signals of parts, outcomes; and what of it cannot be read. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import SettingsError
from populace.env import Fields, World
from populace.interventions.conditions import Among, When
from populace.interventions.groups import Ids, kind_of, shown, wanted_of
from populace.interventions.levers import label_of

_KINDS: Final = {"b": "true or false", "i": "numbers", "u": "numbers", "f": "numbers", "U": "text", "O": "text"}


class Readings:
    """Reads the world at one edge; every outcome and signal once, when it is first asked for.

    `measure` gives an outcome by name.
    """

    def __init__(self, world: World, measure: Callable[[str], float]) -> None:
        self.world = world
        self.fields: Fields = world.parts[Fields.name]  # type: ignore[assignment]
        self._measure = measure
        self._outcomes: dict[str, float] = {}
        self._signals: dict[str, Any] = {}

    def outcome(self, name: str) -> float:
        """An outcome as the tick begins."""
        if name not in self._outcomes:
            self._outcomes[name] = self._measure(name)
        return self._outcomes[name]

    def signal(self, name: str) -> Any:
        """A signal: one value, or an array with one for each agent that ever was."""
        if name not in self._signals:
            self._signals[name] = self.world.signal(name)
        return self._signals[name]

    def value(self, name: str) -> Any:
        """A signal that is one value. Raises SettingsError for one by agent."""
        found = self.signal(name)
        if isinstance(found, np.ndarray):
            raise SettingsError(f"when.world.{name}: the signal has a value for each agent: it is for when.agents")
        return found

    def column(self, name: str, agents: Ids) -> tuple[Ids, NDArray[Any]]:
        """Those of these agents that have a public field, or all of them for a signal; and their values."""
        if "." not in name:
            own = agents[self.fields.having(name, agents)]
            return own, self.fields.of_agents(name, own)
        found = self.signal(name)
        if not isinstance(found, np.ndarray):
            raise SettingsError(f"when.agents.{name}: the signal is one value, of no agent: it is for when.world")
        return agents, found[agents]


def fits(values: NDArray[Any], condition: Any) -> NDArray[np.bool_]:
    """Which of a column's values fit a condition; NaN fits none."""
    if isinstance(condition, Mapping):
        return np.asarray((values >= condition.get("min", -np.inf)) & (values <= condition.get("max", np.inf)))
    found = np.zeros(len(values), np.bool_)
    for one in wanted_of(condition):
        if kind_of(one) == _KINDS[values.dtype.kind]:
            found |= np.asarray(values == one, np.bool_)
    return found


def fit(value: Any, condition: Any) -> bool:
    """Whether one value fits a condition."""
    return bool(fits(np.array([value], object if isinstance(value, str) else None), condition)[0])


def check_triggers(levers: Collection[Any], readings: Readings, outcomes: Collection[str]) -> None:
    """Read all that triggers go by. Raises SettingsError, naming lever and key, for what cannot be read."""
    for index, lever in enumerate(levers):
        if lever.when is not None:
            try:
                _check(lever.when, readings, outcomes)
            except SettingsError as error:
                raise SettingsError(f"lever {label_of(lever, index)!r}: {error}") from None


def _check(when: When, readings: Readings, outcomes: Collection[str]) -> None:
    world = readings.world
    having = set(world.roster.names)
    if isinstance(when.among, Among) and when.among.type is not None:
        having &= {when.among.type} if isinstance(when.among.type, str) else set(when.among.type)
    for name, condition in when.agents.items():
        if "." in name:
            _known(f"when.agents.{name}", name, "signal", world.signals)
            _alike(f"when.agents.{name}", condition, readings.column(name, world.ids())[1])
            continue
        _known(f"when.agents.{name}", name, "public field of agents", world.public_names)
        of = readings.fields.types_having(name)
        having &= set(of)
        if not having:
            raise SettingsError(f"when.agents.{name}: nobody can meet it: only type {', '.join(of)} has this field")
        _alike(f"when.agents.{name}", condition, np.empty(0, readings.fields.dtype_of(name)))
    for name, condition in when.world.items():
        _known(f"when.world.{name}", name, "signal", world.signals)
        _alike(f"when.world.{name}", condition, np.array([readings.value(name)]))
    for name, condition in when.outcomes.items():
        _known(f"when.outcomes.{name}", name, "outcome", outcomes)
        _alike(f"when.outcomes.{name}", condition, np.empty(0))


def _known(key: str, name: str, what: str, there: Collection[str]) -> None:
    if name not in there:
        raise SettingsError(f"{key}: there is no {what} '{name}'; there are: {', '.join(sorted(there)) or 'none'}")


def _alike(key: str, condition: Any, values: NDArray[Any]) -> None:
    held = _KINDS[values.dtype.kind]
    for one in wanted_of(condition):
        if kind_of(one) != held:
            raise SettingsError(f"{key}: {shown(one)} is {kind_of(one)}, and what it is compared with is {held}")
